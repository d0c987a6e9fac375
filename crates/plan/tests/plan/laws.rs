//! What holds of every plan, whatever the situation.

use std::collections::BTreeSet;

use lockstep_app::policy::{DeletionPolicy, DriftPolicy};
use lockstep_manifest::{Digest, GroupKind, Health, Manifest, ObjectId, Uid};
use lockstep_plan::{Action, DriftClock, KindView, Mode, Plan, Reason, Waiting};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::case::{
    Case, NOW, after, config_map, crd, deployment, id, namespace, object, unseen, wave, with,
};

/// A small world of objects that depend on each other in every way there is.
fn universe() -> Vec<Manifest> {
    let widget = |name: &str| object("example.org/v1", "Widget", name, json!({}));
    vec![
        namespace("shop"),
        namespace("till"),
        config_map("shop/a"),
        config_map("shop/b"),
        config_map("till/a"),
        deployment("shop/web"),
        deployment("till/web"),
        crd("example.org", "Widget", "Namespaced"),
        widget("shop/w"),
        widget("till/w"),
        crd("example.org", "NetworkPolicy", "Namespaced"),
        object("example.org/v1", "NetworkPolicy", "shop/p", json!({})),
    ]
}

prop_compose! {
    fn git()(
        chosen in subsequence(universe(), 0..=universe().len()),
        waves in prop::collection::vec(-1..3, universe().len()),
    ) -> Vec<Manifest> {
        chosen.into_iter().zip(waves).map(|(object, at)| wave(object, at)).collect()
    }
}

/// What may stand in inventory and cluster for one object.
#[derive(Clone, Copy, Debug)]
enum State {
    Absent,
    Claimed,
    AsAnswered,
    Outdated,
    Edited,
    Deleted,
    Terminating,
    Replaced,
    Stray,
}

fn state() -> impl Strategy<Value = State> {
    use State::{
        Absent, AsAnswered, Claimed, Deleted, Edited, Outdated, Replaced, Stray, Terminating,
    };
    select(vec![
        Absent,
        Claimed,
        AsAnswered,
        AsAnswered,
        Outdated,
        Edited,
        Deleted,
        Terminating,
        Replaced,
        Stray,
    ])
}

fn put(case: &mut Case, object: &Manifest, state: State) {
    let mut there = Case::synced(vec![object.clone()]);
    let Some((id, mut entry)) = there.inventory.entries.pop_first() else {
        return;
    };
    let mut seen = there.observed.objects.remove(&id).expect("it was taken");
    let mut is_there = true;
    match state {
        State::Absent => return,
        State::Claimed => {
            (entry.uid, entry.digest, entry.seen) = (None, None, None);
            is_there = false;
        }
        State::AsAnswered => {}
        State::Outdated => entry.digest = Some(Digest::of(b"older")),
        State::Edited => seen.fingerprint = Some(Digest::of(b"edited")),
        State::Deleted => is_there = false,
        State::Terminating => seen.terminating = true,
        State::Replaced => seen.uid = Uid("another".to_owned()),
        State::Stray => {
            case.observed.objects.insert(id, seen);
            return;
        }
    }
    if is_there {
        case.observed.objects.insert(id.clone(), seen);
    }
    case.inventory.entries.insert(id, entry);
}

prop_compose! {
    /// Any situation at all.
    fn situation()(
        git in git(),
        states in prop::collection::vec(state(), universe().len()),
        waves in prop::collection::vec(-1..3, universe().len()),
        mode in select(vec![Mode::Sync, Mode::Heal, Mode::Leave]),
        deletion in select(vec![DeletionPolicy::Prune, DeletionPolicy::Approve, DeletionPolicy::Keep]),
        drift in select(vec![
            DriftPolicy::Heal, DriftPolicy::Report, DriftPolicy::HealAfter(std::time::Duration::from_secs(5)),
        ]),
        create in any::<bool>(),
        views in prop::collection::vec(0..8_u8, 4),
        marked in prop::collection::vec(0..12_u8, universe().len()),
    ) -> Case {
        let mut case = Case::new(git);
        case.mode = mode;
        case.app.policy.deletion = deletion;
        case.app.policy.drift = drift;
        case.app.create_namespace = create;
        for ((object, state), at) in universe().iter().zip(states).zip(waves) {
            put(&mut case, &wave(object.clone(), at), state);
        }
        let kinds = [("", "ConfigMap"), ("apps", "Deployment"), ("example.org", "Widget"), ("example.org", "NetworkPolicy")];
        for ((group, kind), view) in kinds.into_iter().zip(views) {
            match view {
                0 => case.kind(group, kind, unseen()),
                1 => case.kind(group, kind, KindView::NotServed),
                _ => {}
            }
        }
        for (object, mark) in universe().iter().zip(marked) {
            let name = object.id().to_string();
            match mark {
                0 => { case.elsewhere.owned.insert(id(&name), "till".to_owned()); }
                1 => { case.elsewhere.wanted.insert(id(&name), "till".to_owned()); }
                2 => case.failed(&name, None),
                3 => case.failed(&name, Some(after(5))),
                4 => { case.touched.insert(id(&name)); }
                5 => { case.approved.insert(id(&name)); }
                6 => { case.drift.insert(id(&name), DriftClock { since: NOW, not_before: after(2) }); }
                7 => case.git.push(with(object.clone(), "argocd.argoproj.io/hook", "PreSync")),
                _ => {}
            }
        }
        case
    }
}

/// Everything that the plan says something about; the namespace that the app asks for is nobody's in git.
fn considered(plan: &Plan, expected: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
    plan.steps()
        .filter(|step| step.reason != Reason::Namespace || expected.contains(&step.id))
        .map(|step| step.id.clone())
        .chain(plan.unstepped.keys().cloned())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_object_of_git_and_inventory_is_in_exactly_one_place(case in situation()) {
        let mut expected: BTreeSet<ObjectId> = case.inventory.entries.keys().cloned().collect();
        if case.mode != Mode::Leave {
            let desired = case.desired();
            expected.extend(desired.objects.iter().map(|wanted| wanted.id.clone()));
            expected.extend(desired.hooks.iter().map(|hook| hook.wanted.id.clone()));
        }
        let mut found = considered(&case.plan(), &expected);
        found.sort();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn planning_twice_gives_equal_plans(case in situation()) {
        prop_assert_eq!(case.plan(), case.plan());
        prop_assert_eq!(case.plan().digest(), case.plan().digest());
    }

    #[test]
    fn nothing_is_deleted_without_a_uid_on_record_and_a_kind_that_is_seen(case in situation()) {
        for step in case.plan().steps() {
            let Action::Prune { uid, .. } = &step.action else { continue };
            let entry = case.inventory.entries.get(&step.id);
            prop_assert_eq!(entry.and_then(|entry| entry.uid.as_ref()), Some(uid));
            let view = case.kinds.get(&step.id.group_kind()).unwrap_or(&KindView::Observed);
            prop_assert_eq!(view, &KindView::Observed);
            prop_assert!(case.mode == Mode::Leave || case.desired().get(&step.id).is_none());
            prop_assert!(case.app.policy.deletion != DeletionPolicy::Keep);
        }
    }

    #[test]
    fn nothing_is_applied_that_another_app_had_first(case in situation()) {
        for step in case.plan().steps() {
            let is_apply = matches!(step.action, Action::Apply(_)) && step.reason != Reason::Namespace;
            prop_assert!(!is_apply || !case.elsewhere.owned.contains_key(&step.id));
        }
    }

    #[test]
    fn a_policy_that_only_reports_drift_puts_nothing_back_by_itself(mut case in situation()) {
        case.mode = Mode::Heal;
        case.app.policy.drift = DriftPolicy::Report;
        let plan = case.plan();
        prop_assert!(plan.steps().all(|step| !matches!(step.reason, Reason::Heal | Reason::Recreate)));
    }

    #[test]
    fn carrying_out_every_front_leads_to_a_plan_with_nothing_in_it(
        git in git(),
        states in prop::collection::vec(state(), universe().len()),
        create in any::<bool>(),
    ) {
        let mut case = Case::new(git);
        case.observed.namespaces.clear();
        case.app.create_namespace = create;
        for (object, state) in universe().iter().zip(states) {
            // What terminates waits for somebody else, and strays are of the record's loss, not of plans.
            if !matches!(state, State::Terminating | State::Stray | State::Replaced) {
                put(&mut case, object, state);
            }
        }
        let wanted = case.desired();
        for kind in ["Widget", "NetworkPolicy"] {
            let crd = format!("apiextensions.k8s.io/CustomResourceDefinition {}s.example.org", kind.to_lowercase());
            let in_git = wanted.get(&id(&crd)).is_some();
            if in_git && !case.observed.objects.contains_key(&id(&crd)) {
                case.kind("example.org", kind, KindView::NotServed);
            }
        }
        for _ in 0..60 {
            let plan = case.plan();
            prop_assert!(plan.is_empty() || !plan.front.is_empty() || somebody_has_to_move(&mut case, &plan),
                "nothing can go on:\n{}", plan);
            if plan.is_empty() {
                break;
            }
            carry_out(&mut case, &plan)?;
        }
        let plan = case.plan();
        prop_assert!(plan.is_empty(), "not done:\n{}", plan);
        for object in &case.desired().objects {
            prop_assert!(case.observed.objects.contains_key(&object.id), "{} is missing", object.id);
        }
    }
}

/// Time passes: what was applied becomes healthy, a definition's kind is served, a person lets deletions through.
fn somebody_has_to_move(case: &mut Case, plan: &Plan) -> bool {
    let mut moved = false;
    for seen in case.observed.objects.values_mut() {
        moved |= seen.health != Health::Healthy;
        seen.health = Health::Healthy;
    }
    for kind in ["Widget", "NetworkPolicy"] {
        let crd = format!(
            "apiextensions.k8s.io/CustomResourceDefinition {}s.example.org",
            kind.to_lowercase()
        );
        let gk = GroupKind::new("example.org", kind);
        if case.observed.objects.contains_key(&id(&crd)) {
            moved |= case.kinds.remove(&gk).is_some();
        }
    }
    for (step, waiting) in &plan.waiting {
        if matches!(waiting, Waiting::Approval(_)) {
            moved |= case.approved.insert(step.id.clone());
        }
    }
    moved && !plan.waiting.is_empty()
}

/// Does the front, and looks whether each step was allowed to come now.
fn carry_out(case: &mut Case, plan: &Plan) -> Result<(), TestCaseError> {
    let wanted = case.desired();
    for step in &plan.front {
        match &step.action {
            Action::Apply(object) if step.reason == Reason::Namespace => {
                case.observed.namespaces.insert(object.id.name.clone());
            }
            Action::Apply(object) => {
                // Namespaces and definitions are moved forward, before what needs them.
                let is_moved = matches!(&*object.id.kind, "Namespace" | "CustomResourceDefinition");
                for earlier in &wanted.objects {
                    if earlier.wave < object.wave && !is_moved {
                        let seen = case.observed.objects.get(&earlier.id);
                        prop_assert!(
                            seen.is_some_and(|seen| seen.health == Health::Healthy),
                            "{} came before {} of wave {}",
                            object.id,
                            earlier.id,
                            earlier.wave
                        );
                    }
                }
                let home = format!("Namespace {}", object.id.namespace);
                if !object.id.namespace.is_empty() && wanted.get(&id(&home)).is_some() {
                    prop_assert!(
                        case.observed.objects.contains_key(&id(&home)),
                        "{} came before {home}",
                        object.id
                    );
                }
                prop_assert!(
                    !case.kinds.contains_key(&object.id.group_kind()),
                    "{} is not served",
                    object.id
                );
            }
            Action::Release | Action::Run { .. } | Action::LetGo { .. } => {}
            Action::Prune { .. } => {
                // Deletions turn their own waves round: the first of them stands in the lowest.
                let is_prune =
                    |step: &&lockstep_plan::Step| matches!(step.action, Action::Prune { .. });
                let lowest = plan.steps().filter(is_prune).map(|step| step.wave).min();
                for other in plan.steps() {
                    prop_assert!(
                        !matches!(other.action, Action::Apply(_)) || Some(other.wave) > lowest,
                        "{step} came before {other}"
                    );
                }
            }
        }
    }
    for step in &plan.front {
        match &step.action {
            Action::Apply(object) if step.reason != Reason::Namespace => {
                case.took(object);
                case.touched.insert(object.id.clone());
                let seen = case
                    .observed
                    .objects
                    .get_mut(&object.id)
                    .expect("it was taken");
                seen.health = Health::Progressing {
                    why: "new".to_owned(),
                };
            }
            Action::Apply(_) | Action::Run { .. } | Action::LetGo { .. } => {}
            Action::Prune { .. } | Action::Release => {
                case.inventory.entries.remove(&step.id);
                case.observed.objects.remove(&step.id);
            }
        }
    }
    Ok(())
}
