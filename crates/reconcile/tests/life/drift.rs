//! Drift: put back, left standing, fought over.

use std::time::Duration;

use jiff::SignedDuration;
use lockstep_app::app::Ignore;
use lockstep_app::policy::DriftPolicy;
use lockstep_reconcile::view::Word;
use serde_json::json;

use crate::apps::{app, config_map, id, key};
use crate::paths::{at_rest, text};
use crate::world::World;

#[test]
fn a_fight_over_an_object_backs_off_as_argo_cd_does() {
    let (mut world, _) = at_rest(app("shop"), vec![config_map("a", "1")]);
    let mut healed = Vec::new();
    let begin = world.now;
    for round in 0..6 {
        world.server.edit(
            &id("ConfigMap shop/a"),
            "/data/a",
            json!(format!("hand {round}")),
        );
        let before = world.now;
        while text(&world, "ConfigMap shop/a") != "1" {
            world.settle_until(world.now + SignedDuration::from_millis(500));
            assert!(
                world.now < begin + SignedDuration::from_hours(1),
                "it is never put back"
            );
        }
        healed.push(
            (world.now - before)
                .total(jiff::Unit::Second)
                .expect("a short time"),
        );
    }
    for (waited, wanted) in healed.iter().zip([0.0, 2.0, 6.0, 18.0, 54.0, 162.0]) {
        assert!((waited - wanted).abs() <= 0.5, "it waited {healed:?}");
    }
}

#[test]
fn drift_stands_for_as_long_as_the_policy_says_also_over_a_restart() {
    let mut patient = app("shop");
    patient.policy.drift = DriftPolicy::HealAfter(Duration::from_mins(5));
    let (mut world, shop) = at_rest(patient, vec![config_map("a", "1")]);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.settle(200);
    let view = world.view(&shop);
    assert_eq!(view.word, Word::Drifted);
    assert_eq!(
        view.drift[0].heal_at,
        Some(world.now + SignedDuration::from_secs(100))
    );
    world.restart();
    world.settle(200);
    assert_eq!(
        (world.view(&shop).word, world.view(&shop).drift.len()),
        (Word::Drifted, 1)
    );
    assert_eq!(world.writes, [] as [&str; 0]);
    world.settle(101);
    assert_eq!(
        world.writes[0],
        "shop ~ ConfigMap shop/a: changed in the cluster"
    );
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn drift_that_is_only_reported_is_in_the_ledger_after_a_restart_too() {
    let mut calm = app("shop");
    calm.policy.drift = DriftPolicy::Report;
    let (mut world, shop) = at_rest(calm, vec![config_map("a", "1"), config_map("b", "1")]);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("hand"));
    world.server.delete(&id("ConfigMap shop/b"));
    world.settle(30);
    let before: Vec<_> = world
        .view(&shop)
        .drift
        .into_iter()
        .map(|d| (d.id, d.missing))
        .collect();
    assert_eq!(
        before,
        [
            (id("ConfigMap shop/a"), false),
            (id("ConfigMap shop/b"), true)
        ]
    );
    world.restart();
    world.settle(30);
    let after: Vec<_> = world
        .view(&shop)
        .drift
        .into_iter()
        .map(|d| (d.id, d.missing))
        .collect();
    assert_eq!(after, before);
    assert_eq!(world.writes, [] as [&str; 0]);
}

#[test]
fn a_field_that_is_not_ours_causes_nothing() {
    let (mut world, shop) = at_rest(app("shop"), vec![config_map("a", "1")]);
    world.server.edit(
        &id("ConfigMap shop/a"),
        "/metadata/labels/theirs",
        json!("x"),
    );
    world.settle(30);
    assert_eq!(world.writes, [] as [&str; 0]);
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn a_restart_writes_nothing_though_differences_are_ignored() {
    let mut tolerant = app("shop");
    tolerant.ignore = vec![Ignore {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: String::new(),
        name: String::new(),
        json_pointers: vec!["/data/a".to_owned()],
    }];
    let (mut world, shop) = at_rest(tolerant, vec![config_map("a", "1"), config_map("b", "1")]);
    world
        .server
        .edit(&id("ConfigMap shop/a"), "/data/a", json!("theirs"));
    world.settle(30);
    world.restart();
    world.settle(30);
    assert_eq!(world.writes, [] as [&str; 0]);
    assert_eq!(world.view(&shop).word, Word::Synced);
}

#[test]
fn what_a_watch_of_another_app_says_before_the_first_rendering_is_measured_by_what_is_ignored() {
    for seed in 1..40 {
        let mut world = World::new(seed);
        let (shop, till) = (key("shop"), key("till"));
        let mut tolerant = app("shop");
        tolerant.ignore = vec![Ignore {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: String::new(),
            name: String::new(),
            json_pointers: vec!["/data/a".to_owned()],
        }];
        world.push(&shop, vec![config_map("a", "1")]);
        world.push(&till, vec![config_map("b", "1")]);
        world.specify(tolerant);
        world.specify(app("till"));
        world.settle(30);
        world.writes.clear();
        world.restart();
        world.settle(30);
        assert_eq!(world.writes, [] as [&str; 0], "seed {seed}");
    }
}

#[test]
fn what_was_seen_before_its_application_was_is_measured_by_what_is_ignored() {
    let mut tolerant = app("shop");
    tolerant.ignore = vec![Ignore {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: String::new(),
        name: String::new(),
        json_pointers: vec!["/data/a".to_owned()],
    }];
    for seed in 1..40 {
        let mut world = World::new(seed);
        let (shop, till) = (key("shop"), key("till"));
        world.push(&shop, vec![config_map("a", "1"), config_map("b", "1")]);
        world.push(&till, vec![config_map("c", "1")]);
        world.specify(tolerant.clone());
        world.specify(app("till"));
        world.settle(30);
        let theirs = (id("ConfigMap shop/a"), "/data/a");
        world.server.edit(&theirs.0, theirs.1, json!("theirs"));
        world.settle(30);
        world.writes.clear();
        world.watches_forget = true;
        world.restart();
        world.settle(30);
        assert_eq!(world.writes, [] as [&str; 0], "seed {seed}");
        assert_eq!(world.view(&shop).word, Word::Synced, "seed {seed}");
    }
}
