//! What people ask for.

use lockstep_app::app::RequestedSync;
use lockstep_app::policy::{DeletionPolicy, NewCommitPolicy};
use lockstep_reconcile::view::{OperationPhase, Word};
use lockstep_reconcile::{Look, Order, RollbackOrder, RollbackTo, Until, status};
use serde_json::json;

use crate::apps::{app, config_map, id};
use crate::paths::{at_rest, push, text};
use crate::world::World;

fn dry(order: Order) -> Order {
    Order {
        dry_run: true,
        ..order
    }
}

/// The last operation: how it ended, and what it says of each object.
fn said(world: &mut World, key: &lockstep_app::AppKey) -> (OperationPhase, bool, Vec<String>) {
    let operation = world.view(key).operation.expect("something was asked for");
    let lines = operation.results.iter();
    let lines = lines.map(|one| format!("{} {}: {}", one.status, one.id, one.message));
    (operation.phase, operation.dry_run, lines.collect())
}

#[test]
fn a_dry_run_says_what_would_become_of_each_object_and_writes_nothing() {
    let mut shop = app("shop");
    shop.policy.deletion = DeletionPolicy::Approve;
    let all = vec![
        config_map("a", "1"),
        config_map("b", "1"),
        config_map("c", "1"),
    ];
    let (mut world, shop) = at_rest(shop, all);
    push(
        &mut world,
        &shop,
        vec![config_map("a", "1"), config_map("b", "1")],
    );
    let deployed = world.view(&shop).history.len();
    world.writes.clear();
    let order = Order {
        prune: Some(false),
        ..Order::by("ann")
    };
    world.order(&shop, dry(order)).expect("it is only tried");
    world.settle(5);
    let left =
        "PruneSkipped ConfigMap shop/c: would be left standing, since pruning is not asked for";
    assert_eq!(
        said(&mut world, &shop),
        (OperationPhase::Succeeded, true, vec![left.to_owned()])
    );
    world
        .order(&shop, dry(Order::by("ann")))
        .expect("it is only tried");
    world.settle(5);
    assert_eq!(
        said(&mut world, &shop).2,
        ["Pruned ConfigMap shop/c: would be deleted"]
    );
    assert_eq!(world.writes, [] as [&str; 0]);
    assert_eq!(world.view(&shop).history.len(), deployed);
}

#[test]
fn a_dry_run_of_what_matches_git_has_nothing_to_say() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let verified = world.view(&shop).operation.expect("a sync ran").verified;
    world
        .order(&shop, dry(Order::by("ann")))
        .expect("it is only tried");
    let operation = world.view(&shop).operation.expect("it was tried");
    assert_eq!(operation.message, "nothing to do");
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(30);
    push(&mut world, &shop, vec![config_map("a", "2")]);
    let after = world.view(&shop).operation.expect("a sync ran");
    assert!(!after.dry_run);
    assert!(verified.is_some() && after.verified.is_some());
}

fn by_kubectl() -> RequestedSync {
    RequestedSync {
        by: "ann".to_owned(),
        plan: None,
        prune: false,
        revision: None,
        dry_run: false,
        resources: Vec::new(),
        skip_hooks: false,
        force: false,
        retry: None,
    }
}

#[test]
fn an_order_of_the_spec_that_is_refused_has_failed_and_says_why() {
    let mut asked = app("shop");
    asked.policy.new_commit = NewCommitPolicy::Approve;
    let quiet = asked.clone();
    asked.requested = Some(by_kubectl());
    let mut world = World::new(1);
    let shop = asked.key.clone();
    world.push(&shop, vec![config_map("a", "1")]);
    world.git_is_down = true;
    world.specify(asked.clone());
    world.settle(1);
    let operation = world.view(&shop).operation.expect("it is told");
    assert_eq!(operation.phase, OperationPhase::Failed);
    assert!(
        operation.message.contains("git does not answer"),
        "{}",
        operation.message
    );
    // It is asked once more when git is there again.
    world.git_is_down = false;
    world.specify(quiet);
    world.settle(60);
    world.specify(asked);
    world.settle(5);
    let operation = world.view(&shop).operation.expect("a sync ran");
    assert_eq!(operation.phase, OperationPhase::Succeeded);
    assert_eq!(text(&world, "ConfigMap shop/a"), "1");
}

#[test]
fn the_status_says_whether_a_sync_might_delete() {
    let mut shop = app("shop");
    shop.policy.deletion = DeletionPolicy::Approve;
    let all = vec![config_map("a", "1"), config_map("b", "1")];
    let (mut world, shop) = at_rest(shop, all);
    push(&mut world, &shop, vec![config_map("a", "1")]);
    let mut prunes = |prune| {
        let order = Order {
            prune: Some(prune),
            ..Order::by("ann")
        };
        world.order(&shop, order).expect("nothing forbids it");
        world.settle(5);
        status(&world.view(&shop))["operationState"]["operation"]["sync"]["prune"].clone()
    };
    assert_eq!([prunes(false), prunes(true)], [json!(false), json!(true)]);
}

#[test]
fn an_order_of_the_spec_for_a_commit_that_does_not_render_has_failed() {
    let mut asked = app("shop");
    asked.requested = Some(by_kubectl());
    let mut world = World::new(1);
    let shop = asked.key.clone();
    let revision = world.push(&shop, vec![config_map("a", "1")]);
    world.broken.insert(revision.clone());
    world.specify(asked);
    world.settle(5);
    let operation = world.view(&shop).operation.expect("it is told");
    assert_eq!(operation.phase, OperationPhase::Failed);
    assert_eq!(operation.revision, Some(revision));
}

#[test]
fn a_sync_to_the_target_is_refused_while_that_does_not_render_and_one_to_the_kept_commit_is_not() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let kept = world.view(&shop).live.expect("it is deployed").revision;
    let revision = world.push(&shop, vec![config_map("a", "2")]);
    world.broken.insert(revision);
    world.poke(Look::Source);
    world.settle(5);
    assert!(world.order(&shop, Order::by("ann")).is_err());
    let back = Order {
        revision: Some(kept),
        ..Order::by("ann")
    };
    world.order(&shop, back).expect("it is what is deployed");
}

#[test]
fn a_dry_run_of_a_rollback_leaves_the_app_where_it_is() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    push(&mut world, &shop, vec![config_map("a", "2")]);
    world.writes.clear();
    let back = Order {
        rollback: Some(RollbackOrder {
            to: RollbackTo::Previous,
            reason: "errors".to_owned(),
            until: Until::NewerCommit,
        }),
        ..Order::by("ann")
    };
    world.order(&shop, dry(back)).expect("it is only tried");
    world.settle(30);
    let (phase, dry_run, lines) = said(&mut world, &shop);
    assert_eq!((phase, dry_run), (OperationPhase::Succeeded, true));
    assert_eq!(lines, ["Synced ConfigMap shop/a: would be changed"]);
    assert_eq!(world.writes, [] as [&str; 0]);
    assert_eq!(text(&world, "ConfigMap shop/a"), "2");
    assert_eq!(world.view(&shop).rollback, None);
    assert_eq!(world.view(&shop).word, Word::Synced);
}
