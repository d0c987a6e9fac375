//! What no order of deliveries, no crash and no loss may break.
//!
//! A story is a list of things that happen to the world, each at a moment that the seed chooses. That the record names
//! everything that exists, that nothing is deleted by another uid than the record's, and that nothing is written while
//! the source is frozen or before the claim is checked by the world itself at every turn.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use lockstep_app::Blame;
use lockstep_app::app::AppKey;
use lockstep_app::policy::{DeletionPolicy, NewCommitPolicy};
use lockstep_manifest::{GroupKind, Manifest, ObjectId};
use lockstep_reconcile::view::{AppView, Word};
use lockstep_reconcile::{Gist, Look, Phase, says_the_same, status, tells_the_same};
use proptest::prelude::*;
use serde_json::json;

use crate::apps::{
    app, config_map, crd, deployment, id, key, leaving, namespace, sync, wave, widget,
};
use crate::bases::{base, push_base};
use crate::world::World;

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Stir {
    /// A commit with these objects of the universe, in this variant. One in an odd variant names a base as well.
    Push(Vec<bool>, u8),
    /// The base moves to this variant, or cannot be read any more.
    Base(Option<u8>),
    Edit(usize),
    Delete(usize),
    /// Deletion of it takes until somebody lets go.
    Slow(usize),
    LetGo(usize),
    Foreign(usize),
    Git(bool),
    Watch(usize, bool),
    RecordFault(bool),
    Refuse(usize, bool),
    Accept,
    Wait(i64),
    OldNews(usize),
    Kill,
    Sync,
}

const SIZE: usize = 9;

fn universe(variant: u8) -> [Manifest; SIZE] {
    let v = variant.to_string();
    [
        config_map("shop/a", &v),
        config_map("shop/b", &v),
        wave(config_map("shop/c", &v), 1),
        deployment("shop/web", &v),
        wave(deployment("shop/late", &v), 2),
        namespace("till"),
        config_map("till/a", &v),
        crd("Widget"),
        widget("shop/w"),
    ]
}

fn chosen(chosen: &[bool], variant: u8) -> Vec<Manifest> {
    let mut chosen = chosen.to_vec();
    chosen[5] |= chosen[6]; // content without its namespace is another story
    chosen[7] |= chosen[8];
    let all = universe(variant).into_iter().zip(chosen);
    all.filter(|(_, is_in)| *is_in)
        .map(|(object, _)| object)
        .collect()
}

fn of_base(variant: u8) -> Manifest {
    config_map("shop/base", &format!("base-{variant}"))
}

fn name(which: usize) -> ObjectId {
    universe(0)[which % SIZE].id()
}

fn kind(which: usize) -> GroupKind {
    name(which).group_kind()
}

fn stir() -> impl Strategy<Value = Stir> {
    let bits = prop::collection::vec(any::<bool>(), SIZE);
    prop_oneof![
        4 => (bits, 0..4_u8).prop_map(|(bits, variant)| Stir::Push(bits, variant)),
        3 => prop::option::weighted(0.7, 0..4_u8).prop_map(Stir::Base),
        4 => (0..SIZE).prop_map(Stir::Edit),
        3 => (0..SIZE).prop_map(Stir::Delete),
        1 => (0..SIZE).prop_map(Stir::Slow),
        1 => (0..SIZE).prop_map(Stir::LetGo),
        1 => (0..SIZE).prop_map(Stir::Foreign),
        2 => any::<bool>().prop_map(Stir::Git),
        2 => (0..SIZE, any::<bool>()).prop_map(|(which, works)| Stir::Watch(which, works)),
        1 => any::<bool>().prop_map(Stir::RecordFault),
        1 => (0..SIZE, any::<bool>()).prop_map(|(which, user)| Stir::Refuse(which, user)),
        1 => Just(Stir::Accept),
        2 => prop::sample::select(vec![1_i64, 3, 20, 700]).prop_map(Stir::Wait),
        3 => (0..1000_usize).prop_map(Stir::OldNews),
        3 => Just(Stir::Kill),
        1 => Just(Stir::Sync),
    ]
}

/// What happens, and how many turns the world takes after each.
fn story() -> impl Strategy<Value = Vec<(Stir, usize)>> {
    prop::collection::vec((stir(), prop_oneof![0..6_usize, 0..60_usize]), 0..24)
}

fn happen(world: &mut World, key: &AppKey, stir: Stir) {
    match stir {
        Stir::Push(bits, variant) => {
            let commit = world.push(key, chosen(&bits, variant));
            if variant % 2 == 1 {
                world.names.insert(commit, vec![base()]);
            }
            world.poke(Look::Source);
        }
        Stir::Base(None) => {
            world.bases.clear();
            world.poke(Look::Source);
        }
        Stir::Base(Some(variant)) => {
            push_base(world, vec![of_base(variant)]);
            world.poke(Look::Source);
        }
        Stir::Edit(which) => {
            let path = if name(which).kind == "ConfigMap" {
                "/data/a"
            } else {
                "/spec/image"
            };
            let value = world.pick(5);
            if matches!(&*name(which).kind, "ConfigMap" | "Deployment") {
                world
                    .server
                    .edit(&name(which), path, json!(format!("edit {value}")));
            }
        }
        Stir::Delete(which) => world.server.delete(&name(which)),
        Stir::Slow(which) => {
            if let Some(object) = world.server.objects.get_mut(&name(which)) {
                object.stays = true;
            }
        }
        Stir::LetGo(which) => world.server.release(&name(which)),
        Stir::Foreign(which) => {
            world
                .server
                .edit(&name(which), "/metadata/labels/theirs", json!("x"));
        }
        Stir::Git(works) => {
            world.git_is_down = !works;
            world.poke(Look::Source);
        }
        Stir::Watch(which, works) => world.watch(&kind(which), works),
        Stir::RecordFault(written) => world.record_faults.push_back(written),
        Stir::Refuse(which, user) => {
            let blame = if user {
                Blame::User
            } else {
                Blame::Environment
            };
            world.refuses.insert(name(which), blame);
        }
        Stir::Accept => world.refuses.clear(),
        Stir::Wait(seconds) => world.now += SignedDuration::from_secs(seconds),
        Stir::OldNews(which) => world.repeat_old_news(which),
        Stir::Kill => world.restart(),
        Stir::Sync => {
            let seen = world.view(key).plan_digest;
            // Refused is an answer, too.
            let _answer = world.order(key, sync(seen.as_ref().map(|digest| digest.0.as_str())));
        }
    }
}

fn tell(world: &mut World, key: &AppKey, story: Vec<(Stir, usize)>) {
    let mut before = world.view(key);
    for (stir, turns) in story {
        happen(world, key, stir);
        for _ in 0..turns {
            world.turn();
        }
        let now = world.view(key);
        assert_told(&before, &now);
        before = now;
    }
}

/// What is not worth a status makes the same one, and what is hurried by a status stands in it.
fn assert_told(before: &AppView, now: &AppView) {
    let [old, new] = [before, now].map(status);
    assert_eq!(Gist::of(now), Gist::read(&new));
    if tells_the_same(before, now) {
        assert!(says_the_same(&old, &new), "{old:#}\n{new:#}");
    }
}

/// Everything that was broken works again.
fn mend(world: &mut World) {
    world.git_is_down = false;
    world.refuses.clear();
    world.record_faults.clear();
    push_base(world, vec![of_base(7)]);
    for which in 0..SIZE {
        world.watch(&kind(which), true);
        world.server.release(&name(which));
    }
    world.poke(Look::Source);
}

/// A person lets go what no policy does: what git cannot bring back.
fn let_go(world: &mut World, key: &AppKey) {
    let view = world.view(key);
    if view
        .why
        .is_some_and(|why| why.code == "held.prune_protected")
    {
        let seen = view.plan_digest.expect("what is held is shown");
        world
            .order(key, sync(Some(&seen.0)))
            .expect("nobody else syncs");
        world.settle(3600);
    }
}

/// Git and cluster say the same, the plan is empty, and the word is Synced.
pub(crate) fn assert_converged(world: &mut World, key: &AppKey, wanted: &[Manifest]) {
    let view = world.view(key);
    assert_eq!((view.word, view.why.clone()), (Word::Synced, None));
    assert_eq!(world.life(key).phase(), &Phase::Resting);
    assert_eq!(view.plan, None);
    let marked: BTreeSet<ObjectId> = world.server.marked(key).into_iter().collect();
    assert_eq!(marked, wanted.iter().map(Manifest::id).collect());
    let mut again = world.server.clone();
    for object in &world.life(key).desired().expect("it was rendered").objects {
        let before = again.live(&object.id);
        assert_eq!(
            again.apply(&object.manifest).ok(),
            before,
            "{} is not as git wants it",
            object.id
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn when_faults_stop_cluster_and_git_say_the_same_and_a_restart_then_writes_nothing(
        seed in any::<u64>(), story in story(), bits in prop::collection::vec(any::<bool>(), SIZE),
    ) {
        let mut world = World::new(seed);
        world.beside = if seed % 2 == 0 { 3 } else { 0 };
        let shop = key("shop");
        world.push(&shop, chosen(&[true; SIZE], 0));
        world.specify(app("shop"));
        tell(&mut world, &shop, story);

        mend(&mut world);
        let mut bits = bits;
        bits[0] = true;
        let mut last = chosen(&bits, 7);
        let commit = world.push(&shop, last.clone());
        world.names.insert(commit, vec![base()]);
        last.push(of_base(7));
        world.poke(Look::Source);
        world.settle(3600);
        let_go(&mut world, &shop);
        assert_converged(&mut world, &shop, &last);

        let writes = world.writes.len();
        world.restart();
        world.settle(3600);
        world.poke(Look::Source);
        world.settle(3600);
        world.poke(Look::Cluster);
        world.settle(3600);
        prop_assert_eq!(&world.writes[writes..], &[] as &[String], "a restart wrote");
        assert_converged(&mut world, &shop, &last);
    }

    #[test]
    fn an_app_that_leaves_takes_everything_along_whatever_happens_meanwhile(
        seed in any::<u64>(), story in story(), meanwhile in story(),
    ) {
        let mut world = World::new(seed);
        world.beside = if seed % 2 == 0 { 3 } else { 0 };
        let shop = key("shop");
        world.push(&shop, chosen(&[true; SIZE], 0));
        world.specify(app("shop"));
        tell(&mut world, &shop, story);
        world.specify(leaving(app("shop")));
        tell(&mut world, &shop, meanwhile);
        mend(&mut world);
        world.settle(3600);
        prop_assert!(world.farewells.contains(&shop), "it never left: {:?}", world.life(&shop).phase());
        let left: Vec<ObjectId> = world.server.marked(&shop);
        prop_assert!(left.iter().all(|id| id.kind == "CustomResourceDefinition"), "left: {left:?}");
    }

    #[test]
    fn nothing_of_a_commit_is_applied_before_a_person_let_that_commit_through(
        seed in any::<u64>(), story in story(),
    ) {
        let mut world = World::new(seed);
        world.beside = if seed % 2 == 0 { 3 } else { 0 };
        let shop = key("shop");
        let mut held = app("shop");
        held.policy.new_commit = NewCommitPolicy::Approve;
        held.policy.deletion = DeletionPolicy::Approve;
        world.specify(held);
        // Every commit says another text, so that one can tell where a text comes from.
        let mut let_through = BTreeSet::new();
        for (number, (stir, turns)) in story.into_iter().enumerate() {
            let number = u8::try_from(number).expect("a story is short") + 10;
            match stir {
                Stir::Push(bits, _) => happen(&mut world, &shop, Stir::Push(bits, number)),
                Stir::Base(Some(_)) => happen(&mut world, &shop, Stir::Base(Some(number))),
                Stir::Sync => {
                    let seen = world.view(&shop).plan_digest;
                    let answer = world.order(&shop, sync(seen.as_ref().map(|digest| digest.0.as_str())));
                    if answer.is_ok() && let Some(slot) = world.life(&shop).enforced() {
                        let_through.insert(slot.commit.revision.clone());
                        let_through.extend(slot.bases.values().cloned());
                    }
                }
                other => happen(&mut world, &shop, other),
            }
            for _ in 0..turns {
                world.turn();
                let texts: BTreeSet<String> = let_through
                    .iter()
                    .flat_map(|revision| &world.commits[revision])
                    .map(|object| object.text(&["data", "a"]).to_owned())
                    .collect();
                for marked in world.server.marked(&shop) {
                    let live = world.server.live(&marked).expect("it is marked");
                    let text = live.text(&["data", "a"]);
                    prop_assert!(
                        text.is_empty() || text.starts_with("edit") || texts.contains(text),
                        "{marked} says {text}, and only {texts:?} were let through"
                    );
                }
            }
        }
    }

    #[test]
    fn of_two_apps_that_want_one_object_one_has_it_and_the_other_waits(
        seed in any::<u64>(), turns in 0..200_usize, kills in prop::collection::vec(0..60_usize, 0..4),
    ) {
        let mut world = World::new(seed);
        world.beside = if seed % 2 == 0 { 3 } else { 0 };
        let (shop, till) = (key("shop"), key("till"));
        world.push(&shop, vec![config_map("shop/a", "shop"), config_map("shop/s", "shop")]);
        world.push(&till, vec![config_map("shop/b", "till"), config_map("shop/s", "till")]);
        world.specify(app("shop"));
        world.specify(app("till"));
        for turns in kills.into_iter().chain([turns]) {
            for _ in 0..turns {
                world.turn();
            }
            world.restart();
        }
        world.settle(3600);
        let words = [world.view(&shop).word, world.view(&till).word];
        prop_assert!(matches!(words, [Word::Synced, Word::Held] | [Word::Held, Word::Synced]), "{words:?}");

        // Whoever has it lets it go: it changes hands without being deleted.
        let before = world.server.objects[&id("ConfigMap shop/s")].uid.clone();
        let (owner, other) = if words[0] == Word::Synced { (&shop, &till) } else { (&till, &shop) };
        let writes = world.writes.len();
        world.settle(3600);
        prop_assert_eq!(&world.writes[writes..], &[] as &[String], "they fight");
        world.push(owner, vec![config_map("shop/x", "1")]);
        world.poke(Look::Source);
        world.settle(3600);
        prop_assert_eq!(&world.server.objects[&id("ConfigMap shop/s")].uid, &before);
        prop_assert!(world.server.marked(other).contains(&id("ConfigMap shop/s")));
        prop_assert_eq!([world.view(owner).word, world.view(other).word], [Word::Synced, Word::Synced]);
    }
}
