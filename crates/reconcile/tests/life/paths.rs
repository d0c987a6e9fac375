//! The main stories.

use jiff::Timestamp;
use lockstep_app::Blame;
use lockstep_app::app::{App, AppKey};
use lockstep_app::policy::{DeletionPolicy, NewCommitPolicy};
use lockstep_manifest::Manifest;
use lockstep_reconcile::view::Word;
use lockstep_reconcile::{Gist, Look, OrderRefused};
use serde_json::json;

use crate::apps::{app, config_map, crd, deployment, id, key, leaving, sync, wave, widget};
use crate::world::World;

/// An app that was brought to these manifests and has come to rest, its writes forgotten.
pub(crate) fn at_rest(app: App, manifests: Vec<Manifest>) -> (World, AppKey) {
    let mut world = World::new(7);
    let key = app.key.clone();
    world.push(&key, manifests);
    world.specify(app);
    world.settle(30);
    if world.view(&key).word == Word::Held {
        let seen = world.view(&key).plan_digest.expect("a plan is shown");
        world
            .order(&key, sync(Some(&seen.0)))
            .expect("it is the plan that was seen");
        world.settle(30);
    }
    assert_eq!(
        (world.view(&key).word, world.view(&key).why),
        (Word::Synced, None)
    );
    world.writes.clear();
    (world, key)
}

pub(crate) fn push(world: &mut World, key: &AppKey, manifests: Vec<Manifest>) {
    world.push(key, manifests);
    world.poke(Look::Source);
    world.settle(30);
}

pub(crate) fn code(world: &mut World, key: &AppKey) -> (Word, String) {
    let view = world.view(key);
    (view.word, view.why.map(|why| why.code).unwrap_or_default())
}

fn held(name: &str) -> App {
    let mut app = app(name);
    app.policy.new_commit = NewCommitPolicy::Approve;
    app.policy.deletion = DeletionPolicy::Approve;
    app
}

pub(crate) fn text(world: &World, name: &str) -> String {
    let live = world.server.live(&id(name));
    live.map(|live| live.text(&["data", "a"]).to_owned())
        .unwrap_or_default()
}

#[test]
fn a_first_sync_creates_everything_and_ends_synced() {
    let mut world = World::new(1);
    let shop = key("shop");
    world.push(&shop, vec![config_map("a", "1"), deployment("web", "1")]);
    world.specify(app("shop"));
    world.settle(15);
    assert_eq!(
        world.writes,
        [
            "shop claims",
            "shop + ConfigMap shop/a: in git, not in the cluster",
            "shop + apps/Deployment shop/web: in git, not in the cluster",
            "shop claims",
        ]
    );
    let view = world.view(&shop);
    assert_eq!((view.word, view.why), (Word::Synced, None));
    assert_eq!((view.history.len(), view.live), (1, view.wanted));
}

#[test]
fn a_new_commit_claims_then_changes_then_deletes() {
    let (mut world, shop) = at_rest(
        app("shop"),
        vec![config_map("a", "1"), config_map("b", "1")],
    );
    push(&mut world, &shop, vec![config_map("a", "2")]);
    assert_eq!(
        world.writes,
        [
            "shop claims",
            "shop ~ ConfigMap shop/a: changed in git",
            "shop claims",
            "shop - ConfigMap shop/b: no longer in git",
            "shop claims",
        ]
    );
    assert_eq!(world.view(&shop).word, Word::Synced);
    assert_eq!(world.server.marked(&shop), [id("ConfigMap shop/a")]);
}

#[test]
fn two_syncs_that_end_within_one_second_are_told_apart() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    push(&mut world, &shop, vec![config_map("a", "2")]);
    let first = Gist::of(&world.view(&shop));
    world.push(&shop, vec![config_map("a", "3")]);
    world.poke(Look::Source);
    world.settle(0);
    let second = Gist::of(&world.view(&shop));
    assert_eq!(first.state, second.state);
    assert_ne!(first.operation, second.operation);
}

#[test]
fn a_commit_that_changes_nothing_here_becomes_live_without_a_write() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    push(&mut world, &shop, vec![config_map("a", "1")]);
    let mut hook = config_map("h", "1");
    hook.set_annotation("argocd.argoproj.io/hook", "PreSync");
    push(&mut world, &shop, vec![config_map("a", "1"), hook]);
    assert_eq!(world.writes, [] as [&str; 0]);
    let view = world.view(&shop);
    assert_eq!(
        view.live.map(|commit| commit.revision),
        Some(world.targets[&shop].clone())
    );
}

#[test]
fn a_commit_in_a_held_environment_waits_for_the_sync_of_the_plan_that_was_seen() {
    let (mut world, shop) = at_rest(
        held("shop"),
        vec![config_map("a", "1"), config_map("b", "1")],
    );
    push(&mut world, &shop, vec![config_map("a", "2")]);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Held, "held.approval".to_owned())
    );
    assert_eq!(world.writes, [] as [&str; 0]);

    // Drift of what is live is put back all the same.
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(5);
    assert_eq!(text(&world, "ConfigMap shop/a"), "1");
    assert_eq!(
        world.writes,
        ["shop ~ ConfigMap shop/a: changed in the cluster"]
    );

    let wrong = world.order(&shop, sync(Some("0123456789abcdef")));
    let shown = world.view(&shop).plan_digest;
    assert_eq!(wrong, Err(OrderRefused::PlanChanged(shown.clone())));
    world.settle(30);
    assert_eq!(text(&world, "ConfigMap shop/a"), "1");

    world
        .order(&shop, sync(shown.as_ref().map(|digest| &*digest.0)))
        .expect("it is what was seen");
    world.settle(30);
    assert_eq!(text(&world, "ConfigMap shop/a"), "2");
    assert_eq!(world.server.marked(&shop), [id("ConfigMap shop/a")]);
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn what_a_person_let_through_stays_let_through_after_a_restart() {
    let (mut world, shop) = at_rest(held("shop"), vec![config_map("a", "1")]);
    // A commit of which nothing is applied: all it adds is a hook that never runs.
    let mut hook = config_map("h", "1");
    hook.set_annotation("argocd.argoproj.io/hook", "Skip");
    push(&mut world, &shop, vec![config_map("a", "1"), hook]);
    assert_eq!(code(&mut world, &shop).1, "held.approval");
    let seen = world.view(&shop).plan_digest.expect("a plan is shown");
    world
        .order(&shop, sync(Some(&seen.0)))
        .expect("it is the plan that was seen");
    world.settle(30);
    assert_eq!(code(&mut world, &shop), (Word::Synced, String::new()));
    world.restart();
    world.settle(30);
    assert_eq!(code(&mut world, &shop), (Word::Synced, String::new()));
}

#[test]
fn a_failing_object_holds_up_its_wave_until_a_commit_mends_it() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    world.refuses.insert(id("ConfigMap shop/b"), Blame::User);
    let next = |b: &str| {
        vec![
            config_map("a", "2"),
            config_map("b", b),
            wave(config_map("c", "2"), 1),
        ]
    };
    push(&mut world, &shop, next("bad"));
    assert_eq!(
        code(&mut world, &shop),
        (Word::Failing, "apply.refused".to_owned())
    );
    assert_eq!(text(&world, "ConfigMap shop/a"), "2");
    assert_eq!(text(&world, "ConfigMap shop/c"), "");
    let tries = world
        .writes
        .iter()
        .filter(|write| write.contains("shop/b"))
        .count();
    world.settle(3600);
    assert_eq!(
        world
            .writes
            .iter()
            .filter(|write| write.contains("shop/b"))
            .count(),
        tries
    );

    world.refuses.clear();
    push(&mut world, &shop, next("good"));
    assert_eq!(world.view(&shop).word, Word::Synced);
    assert_eq!(text(&world, "ConfigMap shop/c"), "2");
}

#[test]
fn what_the_environment_refuses_is_tried_again_until_it_takes_it() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    world
        .refuses
        .insert(id("ConfigMap shop/a"), Blame::Environment);
    push(&mut world, &shop, vec![config_map("a", "2")]);
    world.settle(120);
    assert_eq!(world.view(&shop).word, Word::Failing);
    world.refuses.clear();
    world.settle(200);
    assert_eq!(
        (world.view(&shop).word, text(&world, "ConfigMap shop/a")),
        (Word::Synced, "2".to_owned())
    );
}

#[test]
fn a_record_that_somebody_else_wrote_is_read_before_anything_is_touched() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let (version, mut record) = world.server.records[&shop].clone();
    record.previous = Some(version.to_string());
    world
        .server
        .claim(&shop, &record)
        .expect("the version is right");
    push(&mut world, &shop, vec![config_map("a", "2")]);
    assert_eq!(
        world.writes,
        [
            "shop claims",
            "shop claims",
            "shop ~ ConfigMap shop/a: changed in git",
            "shop claims"
        ]
    );
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn a_source_that_cannot_be_read_freezes_the_app() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    world.git_is_down = true;
    world.poke(Look::Source);
    world.settle(30);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(600);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Unknown, "repo.unreachable".to_owned())
    );
    assert_eq!(world.writes, [] as [&str; 0]);
    world.git_is_down = false;
    world.settle(400);
    assert_eq!(
        (world.view(&shop).word, text(&world, "ConfigMap shop/a")),
        (Word::Synced, "1".to_owned())
    );
}

#[test]
fn a_commit_that_renders_nothing_is_held_and_no_blind_sync_lets_it_through() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    push(&mut world, &shop, Vec::new());
    assert_eq!(
        code(&mut world, &shop),
        (Word::Held, "held.empty_render".to_owned())
    );
    let answer = world.order(&shop, sync(None));
    assert!(
        matches!(&answer, Err(OrderRefused::Fault(fault)) if fault.code == "held.empty_render"),
        "{answer:?}"
    );
    world.settle(30);
    assert_eq!(world.writes, [] as [&str; 0]);
    let seen = world.view(&shop).plan_digest.expect("a plan is shown");
    world
        .order(&shop, sync(Some(&seen.0)))
        .expect("it is the plan that was seen");
    world.settle(30);
    assert_eq!(world.server.marked(&shop), []);
}

#[test]
fn a_commit_that_does_not_render_leaves_the_one_before_in_force_also_after_a_restart() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let revision = world.push(&shop, vec![config_map("a", "2")]);
    world.broken.insert(revision);
    world.poke(Look::Source);
    world.settle(30);
    world.restart();
    world.settle(30);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Failing, "render.invalid".to_owned())
    );
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(30);
    assert_eq!(text(&world, "ConfigMap shop/a"), "1");
}

#[test]
fn a_definition_and_its_object_come_in_one_sync() {
    let (world, shop) = at_rest(app("shop"), vec![widget("w"), crd("Widget")]);
    let marked = world.server.marked(&shop);
    assert_eq!(marked.len(), 2);
}

#[test]
fn a_wave_that_never_gets_healthy_is_given_up_and_goes_on_by_itself_once_it_is() {
    let mut world = World::new(3);
    let shop = key("shop");
    world.never_ready.insert("db".to_owned());
    world.push(
        &shop,
        vec![deployment("db", "1"), wave(config_map("a", "1"), 1)],
    );
    world.specify(app("shop"));
    world.settle(900);
    assert_eq!(text(&world, "ConfigMap shop/a"), "");
    world.server.is_ready(&id("apps/Deployment shop/db"), true);
    world.settle(30);
    assert_eq!(text(&world, "ConfigMap shop/a"), "1");
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn a_new_commit_does_not_wait_for_a_hopeless_rollout() {
    let mut world = World::new(3);
    let shop = key("shop");
    world.never_ready.insert("db".to_owned());
    world.push(
        &shop,
        vec![deployment("db", "1"), wave(config_map("a", "1"), 1)],
    );
    world.specify(app("shop"));
    world.settle(30);
    push(&mut world, &shop, vec![config_map("a", "2")]);
    assert_eq!(
        (world.view(&shop).word, text(&world, "ConfigMap shop/a")),
        (Word::Synced, "2".to_owned())
    );
}

#[test]
fn the_missing_namespace_is_made_once_after_the_claim() {
    let mut world = World::new(5);
    let shop = key("shop");
    let mut makes = app("shop");
    makes.namespace = "new".to_owned();
    makes.create_namespace = true;
    world.push(&shop, vec![config_map("a", "1")]);
    world.specify(makes);
    world.settle(30);
    assert_eq!(
        world.writes,
        [
            "shop claims",
            "shop + Namespace new: asked for by CreateNamespace=true",
            "shop + ConfigMap new/a: in git, not in the cluster",
            "shop claims",
        ]
    );
}

#[test]
fn a_namespace_that_is_being_deleted_is_waited_for_without_hammering_it() {
    let mut world = World::new(5);
    let shop = key("shop");
    let mut makes = app("shop");
    makes.namespace = "new".to_owned();
    makes.create_namespace = true;
    world.push(&shop, vec![config_map("a", "1")]);
    world.server.make(&crate::apps::namespace("new"));
    let new = id("Namespace new");
    world
        .server
        .objects
        .get_mut(&new)
        .expect("it was made")
        .stays = true;
    world.server.delete(&new);
    world.specify(makes);
    world.settle(600);
    assert!(world.writes.len() < 30, "{:#?}", world.writes);
    world.server.release(&new);
    world.settle(600);
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn what_the_watch_says_late_does_not_have_an_object_deleted_twice() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let (shop, slow) = (key("shop"), id("ConfigMap shop/b"));
        world.push(&shop, vec![config_map("a", "1"), config_map("b", "1")]);
        world.specify(app("shop"));
        world.settle(30);
        world
            .server
            .objects
            .get_mut(&slow)
            .expect("it is there")
            .stays = true;
        world.push(&shop, vec![config_map("a", "1")]);
        world.poke(Look::Source);
        let gone = "shop - ConfigMap shop/b: no longer in git".to_owned();
        while !world.writes.contains(&gone) {
            world.turn();
        }
        // It happens before the deletion; the watch may say so after the deletion was answered.
        world
            .server
            .edit(&slow, "/metadata/labels/theirs", json!("x"));
        world.settle(60);
        assert_eq!(
            world.writes.iter().filter(|write| **write == gone).count(),
            1
        );
        world.server.release(&slow);
        world.settle(60);
        assert_eq!(world.view(&shop).word, Word::Synced);
    }
}

#[test]
fn an_app_without_the_finalizer_leaves_everything_standing() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let mut going = leaving(app("shop"));
    going.finalizers.clear();
    world.specify(going);
    world.settle(60);
    assert_eq!((world.writes.len(), world.farewells.len()), (0, 0));
    assert_eq!(world.server.marked(&shop), [id("ConfigMap shop/a")]);
}

#[test]
fn an_app_that_leaves_goes_wave_by_wave_and_waits_for_what_is_slow() {
    let (mut world, shop) = at_rest(
        app("shop"),
        vec![config_map("a", "1"), wave(config_map("b", "1"), 1)],
    );
    world
        .server
        .objects
        .get_mut(&id("ConfigMap shop/b"))
        .expect("it stands")
        .stays = true;
    world.specify(leaving(app("shop")));
    world.settle(60);
    assert_eq!(
        world.writes,
        ["shop - ConfigMap shop/b: its app is being deleted"]
    );
    assert_eq!(world.farewells, []);
    world.server.release(&id("ConfigMap shop/b"));
    world.settle(60);
    assert_eq!(
        world.writes.last().map(String::as_str),
        Some("shop - ConfigMap shop/a: its app is being deleted")
    );
    assert_eq!(
        (world.farewells, world.server.marked(&shop)),
        (vec![shop], vec![])
    );
}

#[test]
fn what_a_persons_sync_could_not_delete_goes_when_its_app_leaves() {
    let (mut world, shop) = at_rest(
        held("shop"),
        vec![config_map("a", "1"), config_map("b", "1")],
    );
    push(&mut world, &shop, vec![config_map("a", "1")]);
    let gone = id("ConfigMap shop/b");
    world.refuses.insert(gone.clone(), Blame::Environment);
    let seen = world.view(&shop).plan_digest.expect("a person is asked");
    world
        .order(&shop, sync(Some(&seen.0)))
        .expect("it is what was seen");
    world.settle(3600);
    assert_eq!(
        world.view(&shop).word,
        Word::Failing,
        "once is all it tries"
    );

    world.refuses.clear();
    world.specify(leaving(app("shop")));
    world.settle(60);
    assert_eq!(world.farewells, [shop]);
    assert!(!world.server.objects.contains_key(&gone));
}

#[test]
fn an_app_that_leaves_does_not_wait_for_an_object_that_went_with_its_kind() {
    let (mut world, shop) = at_rest(app("shop"), vec![crd("Widget"), widget("shop/w")]);
    let slow = id("example.org/Widget shop/w");
    let standing = world.server.objects.get_mut(&slow);
    standing.expect("it stands").stays = true;
    world.specify(leaving(app("shop")));
    world.settle(60);
    assert_eq!(world.view(&shop).why.expect("it waits").code, "leaving");

    // Somebody deletes the definition, and the watch does not come to say what went with it.
    world.watch(&slow.group_kind(), false);
    let definition = "apiextensions.k8s.io/CustomResourceDefinition widgets.example.org";
    world.server.delete(&id(definition));
    world.settle(60);
    world.watch(&slow.group_kind(), true);
    world.settle(60);
    assert_eq!(world.farewells, [shop]);
}

#[test]
fn an_object_whose_mark_was_taken_off_is_kept_and_said() {
    let (mut world, shop) = at_rest(
        app("shop"),
        vec![config_map("a", "1"), config_map("b", "1")],
    );
    world.unseen.insert(id("ConfigMap shop/b").group_kind()); // so that it is not put back first
    let label = "/metadata/labels/applyset.kubernetes.io~1part-of";
    world
        .server
        .edit(&id("ConfigMap shop/b"), label, json!("somebody"));
    push(&mut world, &shop, vec![config_map("a", "1")]);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Held, "prune.not_ours".to_owned())
    );
    assert!(world.server.objects.contains_key(&id("ConfigMap shop/b")));
}

#[test]
fn a_paused_app_writes_nothing() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    world.specify(App {
        skip: true,
        ..app("shop")
    });
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(600);
    assert_eq!(world.writes, [] as [&str; 0]);
    assert_eq!(code(&mut world, &shop).1, "held.paused");
}

#[test]
fn without_the_lease_nothing_is_asked_of_git_or_cluster() {
    let mut world = World::new(1);
    let shop = key("shop");
    world.leading = false;
    world.push(&shop, vec![config_map("a", "1")]);
    world.specify(app("shop"));
    world.settle(600);
    assert_eq!(
        (world.writes.len(), world.now > Timestamp::UNIX_EPOCH),
        (0, true)
    );
    assert!(world.life(&shop).target().is_none());
}
