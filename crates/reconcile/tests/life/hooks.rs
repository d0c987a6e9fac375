//! Hooks, and processes that end or are overtaken while these run.

use lockstep_app::app::AppKey;
use lockstep_manifest::Manifest;
use lockstep_reconcile::Look;
use lockstep_reconcile::view::{OperationPhase, Word};

use crate::apps::{app, as_hook, config_map, hook, id, key};
use crate::paths::at_rest;
use crate::world::World;

/// A hook that has ended as soon as it is there.
fn report(phase: &str, delete: &str) -> Manifest {
    as_hook(config_map("shop/report", "1"), phase, delete)
}

fn push(world: &mut World, key: &AppKey, manifests: Vec<Manifest>) {
    world.push(key, manifests);
    world.poke(Look::Source);
}

/// Goes on until this is so.
fn until(world: &mut World, holds: impl Fn(&World) -> bool) {
    for _ in 0..1000 {
        if holds(world) {
            return;
        }
        world.turn();
    }
    panic!("it never comes to that: {:#?}", world.writes);
}

fn ran(world: &World, hook: &str) -> usize {
    let hook = id(hook);
    world.ran.iter().filter(|(_, of)| *of == hook).count()
}

#[test]
fn a_hook_that_another_process_was_about_to_make_runs_though_git_has_moved_on() {
    let mut world = World::new(3);
    let shop = key("shop");
    let migrate = hook("shop/migrate", "PreSync", "");
    world.push(&shop, vec![config_map("shop/a", "1"), migrate]);
    world.specify(app("shop"));
    until(&mut world, |world| world.server.records.contains_key(&shop));
    push(&mut world, &shop, vec![config_map("shop/a", "2")]);
    world.restart();
    world.settle(60);
    assert_eq!(world.view(&shop).word, Word::Synced);
    assert_eq!(ran(&world, "batch/Job shop/migrate"), 1);
}

#[test]
fn hooks_that_another_process_began_keep_nobody_from_a_commit_when_theirs_is_gone() {
    let mut world = World::new(3);
    let shop = key("shop");
    let migrate = hook("shop/migrate", "PreSync", "");
    let first = world.push(&shop, vec![config_map("shop/a", "1"), migrate]);
    world.specify(app("shop"));
    until(&mut world, |world| world.server.records.contains_key(&shop));
    world.broken.insert(first);
    push(&mut world, &shop, vec![config_map("shop/a", "2")]);
    world.restart();
    world.settle(60);
    assert_eq!(world.view(&shop).word, Word::Synced);
    assert_eq!(ran(&world, "batch/Job shop/migrate"), 0);
}

#[test]
fn an_application_is_guarded_by_its_deletion_hooks_though_it_changes_meanwhile() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let shop = key("shop");
        let bye = hook("shop/bye", "PreDelete", "");
        world.push(&shop, vec![config_map("shop/a", "1"), bye]);
        world.specify(app("shop"));
        world.settle(60);
        let guard = ["pre-delete-finalizer.argocd.argoproj.io"];
        assert_eq!(world.finalizers(&shop), guard);
        // Whoever takes it off, and the store with it, has it put up again.
        world.bundles.clear();
        world.specify(app("shop"));
        world.settle(60);
        assert_eq!(
            (world.finalizers(&shop), world.bundles.len()),
            (&guard.map(str::to_owned)[..], 1)
        );
        push(&mut world, &shop, vec![config_map("shop/a", "2")]);
        world.settle(60);
        assert_eq!(world.finalizers(&shop), [] as [&str; 0]);
    }
}

#[test]
fn a_hook_that_was_made_again_when_the_process_was_killed_goes_with_its_app() {
    let all = |value| {
        vec![
            config_map("shop/a", value),
            report("PostSync", "BeforeHookCreation"),
        ]
    };
    let (mut world, shop) = at_rest(app("shop"), all("1"));
    let of = id("ConfigMap shop/report");
    let before = world.server.objects[&of].uid.clone();
    push(&mut world, &shop, all("2"));
    until(&mut world, |world| {
        let now = world.server.objects.get(&of);
        now.is_some_and(|now| now.uid != before)
    });
    world.restart();
    world.leave(&shop);
    world.settle(60);
    assert_eq!(world.server.marked(&shop), []);
    assert_eq!(world.farewells, [shop]);
}

#[test]
fn a_hook_may_be_gone_before_its_deletion_is_answered() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let shop = key("shop");
        world.server.finalizers = true;
        let all = vec![
            config_map("shop/a", "1"),
            report("PreSync", "HookSucceeded"),
        ];
        world.push(&shop, all);
        world.specify(app("shop"));
        world.settle(3600);
        let operation = world.view(&shop).operation.expect("it was synced");
        assert_eq!(
            operation.phase,
            OperationPhase::Succeeded,
            "{}",
            operation.message
        );
    }
}
