//! What the drift policy lets happen, and when.

use std::time::Duration;

use lockstep_app::policy::DriftPolicy;
use lockstep_plan::{DriftClock, Mode};

use crate::case::{Case, NOW, after, config_map, id, with};

fn drifted(policy: DriftPolicy) -> Case {
    let mut case = Case::synced(vec![config_map("a")]);
    case.mode = Mode::Heal;
    case.app.policy.drift = policy;
    case.edited("ConfigMap shop/a");
    case.drift.insert(
        id("ConfigMap shop/a"),
        DriftClock {
            since: NOW,
            not_before: NOW,
        },
    );
    case
}

#[test]
fn drift_is_put_back_at_once_when_the_policy_heals() {
    assert_eq!(
        drifted(DriftPolicy::Heal).told(),
        ["~ ConfigMap shop/a: changed in the cluster"]
    );
}

#[test]
fn drift_that_keeps_coming_back_waits_for_its_back_off() {
    let mut case = drifted(DriftPolicy::Heal);
    case.drift.insert(
        id("ConfigMap shop/a"),
        DriftClock {
            since: NOW,
            not_before: after(6),
        },
    );
    assert_eq!(
        case.told(),
        ["~ ConfigMap shop/a: changed in the cluster; put back at 00:00:06 UTC"]
    );
    case.now = after(6);
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn a_fight_over_an_object_backs_off_in_a_sync_too() {
    let mut case = drifted(DriftPolicy::Heal);
    case.mode = Mode::Sync;
    case.drift.insert(
        id("ConfigMap shop/a"),
        DriftClock {
            since: NOW,
            not_before: after(6),
        },
    );
    assert_eq!(
        case.told(),
        ["~ ConfigMap shop/a: changed in the cluster; put back at 00:00:06 UTC"]
    );
}

#[test]
fn drift_stands_as_long_as_the_policy_says_and_no_longer() {
    let mut case = drifted(DriftPolicy::HealAfter(Duration::from_mins(5)));
    case.now = after(299);
    assert_eq!(
        case.told(),
        ["~ ConfigMap shop/a: changed in the cluster; put back at 00:05:00 UTC"]
    );
    case.now = after(300);
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn of_the_policys_wait_and_the_back_off_the_later_counts() {
    let mut case = drifted(DriftPolicy::HealAfter(Duration::from_secs(10)));
    case.drift.insert(
        id("ConfigMap shop/a"),
        DriftClock {
            since: NOW,
            not_before: after(54),
        },
    );
    assert_eq!(
        case.told(),
        ["~ ConfigMap shop/a: changed in the cluster; put back at 00:00:54 UTC"]
    );
}

#[test]
fn drift_is_shown_and_left_when_the_policy_reports() {
    let mut case = drifted(DriftPolicy::Report);
    assert_eq!(
        case.told(),
        [". ConfigMap shop/a: differs from git, and policy leaves it"]
    );
    case.deleted("ConfigMap shop/a");
    assert_eq!(
        case.told(),
        [". ConfigMap shop/a: differs from git, and policy leaves it"]
    );
}

#[test]
fn a_sync_puts_back_drift_that_the_policy_only_reports() {
    let mut case = drifted(DriftPolicy::Report);
    case.mode = Mode::Sync;
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn what_changed_in_git_is_applied_whatever_the_drift_policy() {
    let mut case = drifted(DriftPolicy::Report);
    case.git = vec![with(config_map("a"), "note", "new")];
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in git"]);
}
