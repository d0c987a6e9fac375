//! Commits that name other repositories: their commits count as the app's own.

use lockstep_app::app::{App, AppKey, Base, Revision};
use lockstep_app::policy::NewCommitPolicy;
use lockstep_manifest::Manifest;
use lockstep_reconcile::Look;
use lockstep_reconcile::view::Word;
use serde_json::json;

use crate::apps::{app, config_map, id, key, sync};
use crate::paths::{code, text};
use crate::world::World;

pub(crate) fn base() -> Base {
    Base {
        remote: "https://git.example/platform/bases".parse().expect("one"),
        target: "v1".to_owned(),
    }
}

/// Puts a commit into the other repository, and lets the base be there.
pub(crate) fn push_base(world: &mut World, manifests: Vec<Manifest>) -> Revision {
    let elsewhere = key("nobody");
    let at = world.push(&elsewhere, manifests);
    world.targets.remove(&elsewhere);
    world.bases.insert(base(), at.clone());
    at
}

/// An app with a ConfigMap of its own and one of a base, at rest.
fn with_base(app: App) -> (World, AppKey) {
    let mut world = World::new(5);
    let shop = app.key.clone();
    push_base(&mut world, vec![config_map("b", "1")]);
    let commit = world.push(&shop, vec![config_map("a", "1")]);
    world.names.insert(commit, vec![base()]);
    world.specify(app);
    world.settle(30);
    approve(&mut world, &shop);
    assert_eq!(code(&mut world, &shop), (Word::Synced, String::new()));
    assert_eq!(text(&world, "ConfigMap shop/b"), "1");
    world.writes.clear();
    (world, shop)
}

fn approve(world: &mut World, key: &AppKey) {
    if world.view(key).word == Word::Held {
        let seen = world.view(key).plan_digest.expect("a plan is shown");
        world
            .order(key, sync(Some(&seen.0)))
            .expect("it is the plan that was seen");
        world.settle(30);
    }
}

fn look(world: &mut World) {
    world.poke(Look::Source);
    world.settle(30);
}

fn held(name: &str) -> App {
    let mut app = app(name);
    app.policy.new_commit = NewCommitPolicy::Approve;
    app
}

#[test]
fn a_base_that_moves_is_a_new_commit_of_the_app() {
    let (mut world, shop) = with_base(app("shop"));
    let at = push_base(&mut world, vec![config_map("b", "2")]);
    look(&mut world);
    assert_eq!(text(&world, "ConfigMap shop/b"), "2");
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    assert_eq!(world.life(&shop).bases()[&base()], Some(at));
    world.writes.clear();
    world.restart();
    world.settle(30);
    assert_eq!(world.writes, [] as [&str; 0], "a restart finds it done");
}

#[test]
fn a_base_that_moves_waits_where_new_commits_wait_and_the_old_one_is_kept() {
    let (mut world, shop) = with_base(held("shop"));
    push_base(&mut world, vec![config_map("b", "2")]);
    look(&mut world);
    for restarts in 0..2 {
        assert_eq!(
            code(&mut world, &shop),
            (Word::Held, "held.approval".to_owned()),
            "after {restarts} restarts"
        );
        world
            .server
            .edit(&id("ConfigMap shop/b"), "/data/a", json!("hand"));
        world.settle(30);
        assert_eq!(
            text(&world, "ConfigMap shop/b"),
            "1",
            "what was let through is put back after {restarts} restarts"
        );
        world.restart();
        world.settle(30);
    }
    approve(&mut world, &shop);
    assert_eq!(text(&world, "ConfigMap shop/b"), "2");
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
}

#[test]
fn a_base_that_moves_while_its_commit_is_synced_waits_for_a_sync_of_its_own() {
    let (mut world, shop) = with_base(held("shop"));
    push_base(&mut world, vec![config_map("b", "2")]);
    look(&mut world);
    let seen = world.view(&shop).plan_digest.expect("a plan is shown");
    world
        .order(&shop, sync(Some(&seen.0)))
        .expect("it is the plan that was seen");
    push_base(&mut world, vec![config_map("b", "3")]);
    look(&mut world);
    assert_eq!(text(&world, "ConfigMap shop/b"), "2");
    assert_eq!(
        code(&mut world, &shop),
        (Word::Held, "held.approval".to_owned())
    );
}

#[test]
fn a_base_that_moves_and_changes_nothing_asks_nobody() {
    let (mut world, shop) = with_base(held("shop"));
    push_base(&mut world, vec![config_map("b", "1")]);
    look(&mut world);
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    world.restart();
    world.settle(30);
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    assert!(
        world.writes.iter().all(|write| write == "shop claims"),
        "{:?}",
        world.writes
    );
}

#[test]
fn a_base_that_cannot_be_read_freezes_the_app_until_it_can() {
    let (mut world, shop) = with_base(app("shop"));
    let at = world.bases.remove(&base()).expect("it was there");
    look(&mut world);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(600);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Unknown, "repo.unreachable".to_owned())
    );
    assert!(world.life(&shop).is_frozen());
    assert_eq!(world.writes, [] as [&str; 0]);
    world.bases.insert(base(), at);
    world.settle(600);
    assert_eq!(
        (world.view(&shop).word, text(&world, "ConfigMap shop/a")),
        (Word::Synced, "1".to_owned())
    );
}

#[test]
fn a_new_commit_whose_base_is_not_there_prunes_and_applies_nothing() {
    let (mut world, shop) = with_base(app("shop"));
    let missing = Base {
        target: "v2".to_owned(),
        ..base()
    };
    let commit = world.push(&shop, vec![config_map("c", "1")]);
    world.names.insert(commit, vec![missing]);
    look(&mut world);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(900);
    assert!(world.life(&shop).is_frozen());
    assert_eq!(world.writes, [] as [&str; 0]);
    // A commit that does without it is taken at once.
    world.push(&shop, vec![config_map("c", "1")]);
    look(&mut world);
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    assert_eq!(world.server.marked(&shop), [id("ConfigMap shop/c")]);
    assert!(world.life(&shop).bases().is_empty());
}

#[test]
fn a_base_of_the_past_that_is_gone_keeps_nobody_from_a_commit_without_it() {
    let (mut world, shop) = with_base(app("shop"));
    world.bases.clear();
    world.push(&shop, vec![config_map("a", "2")]);
    look(&mut world);
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    assert_eq!(world.server.marked(&shop), [id("ConfigMap shop/a")]);
}

#[test]
fn a_base_that_moves_mends_a_commit_that_did_not_render() {
    let (mut world, shop) = with_base(app("shop"));
    let commit = world.push(&shop, vec![config_map("a", "2")]);
    world.names.insert(commit.clone(), vec![base()]);
    world.broken.insert(commit.clone());
    look(&mut world);
    assert_eq!(
        code(&mut world, &shop),
        (Word::Failing, "render.invalid".to_owned())
    );
    world.broken.remove(&commit);
    push_base(&mut world, vec![config_map("b", "2")]);
    look(&mut world);
    assert_eq!(code(&mut world, &shop).0, Word::Synced);
    assert_eq!(
        (
            text(&world, "ConfigMap shop/a"),
            text(&world, "ConfigMap shop/b")
        ),
        ("2".to_owned(), "2".to_owned())
    );
}
