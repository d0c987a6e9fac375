//! A plan in wire types, with its reasons in words.

use std::collections::BTreeMap;

use lockstep_api::plan::{FieldDiff, LeftAlone, PlanStep, PlanView, StepAction, TakenFields};
use lockstep_manifest::fields::takeover::Taken;
use lockstep_plan::{Action, Asked, Plan, Reason, Step, Unstepped, Waiting};
use lockstep_reconcile::view::AppView;

use super::{count, git_places, object_ref, side};

/// The plan of an app; none while nothing is known of what it would be.
pub(in crate::http) fn plan(app: &AppView) -> Option<PlanView> {
    let plan = app.plan.as_ref()?;
    let digest = app.plan_digest.clone().unwrap_or_else(|| plan.digest());
    let (create, update, delete) = plan.counts();
    let ready = plan.front.iter().map(|one| step(one, None));
    let waiting = plan.waiting.iter().map(|(one, on)| step(one, Some(on)));
    Some(PlanView {
        digest: digest.to_string(),
        revision: plan.revision.as_ref().map(ToString::to_string),
        create: count(create),
        update: count(update),
        delete: count(delete),
        hooks: count(
            plan.steps()
                .filter(|step| matches!(step.action, Action::Run { .. }))
                .count(),
        ),
        steps: ready.chain(waiting).collect(),
        left: left_alone(plan),
        in_sync: count(
            plan.unstepped
                .values()
                .filter(|why| matches!(why, Unstepped::InSync))
                .count(),
        ),
    })
}

fn step(step: &Step, on: Option<&Waiting>) -> PlanStep {
    let (reason, because) = reason(&step.reason);
    // Asked for only where it is shown: a plan has thousands of steps, and few of them were looked at closely.
    let mut places = match &step.action {
        Action::Apply(wanted) if !step.changes.is_empty() => wanted.manifest.places_by_path(),
        _ => BTreeMap::new(),
    };
    PlanStep {
        id: object_ref(&step.id),
        action: match step.action {
            Action::Apply(_) => StepAction::Apply,
            Action::Prune { .. } => StepAction::Prune,
            Action::Release => StepAction::Release,
            Action::Run { .. } => StepAction::Run,
            Action::LetGo { .. } => StepAction::LetGo,
        },
        reason: reason.to_owned(),
        because,
        wave: step.wave,
        waits_for: on.map(waits_for),
        changes: step
            .changes
            .iter()
            .map(|change| {
                let (before, hidden_before) = side(&change.before);
                let (after, hidden_after) = side(&change.after);
                let (git_at, git_before) =
                    git_places(&places.remove(&change.path).unwrap_or_default());
                FieldDiff {
                    path: change.path.clone(),
                    before,
                    after,
                    sensitive: hidden_before || hidden_after,
                    git_at,
                    git_before,
                }
            })
            .collect(),
        taken: step.taken.iter().map(taken).collect(),
    }
}

fn taken(taken: &Taken) -> TakenFields {
    TakenFields {
        manager: taken.manager.clone(),
        fields: taken.fields.clone(),
        count: count(taken.count),
        text: taken.to_string(),
    }
}

fn reason(reason: &Reason) -> (&'static str, String) {
    match reason {
        Reason::Create => ("create", "is not in the cluster yet".to_owned()),
        Reason::Update => (
            "update",
            "git says something else than at the last apply".to_owned(),
        ),
        Reason::Heal => ("heal", "somebody changed it outside git".to_owned()),
        Reason::Recreate => ("recreate", "somebody deleted it".to_owned()),
        Reason::Namespace => (
            "namespace",
            "the namespace is made first, by CreateNamespace=true".to_owned(),
        ),
        Reason::Gone => ("gone", "is no longer in git".to_owned()),
        Reason::Leaving => ("leaving", "the app is being deleted".to_owned()),
        Reason::TakenOver { by } => ("takenOver", format!("{by} has it in git now")),
        Reason::Hook(phase) => ("hook", format!("is a {} hook", phase.text())),
        Reason::HookOver => ("hookOver", "is a hook that has ended".to_owned()),
        Reason::Moved { to } => ("moved", format!("is the same object as {}", to.short())),
    }
}

fn waits_for(on: &Waiting) -> String {
    match on {
        Waiting::Applied(id) => format!("{} to be applied", id.short()),
        Waiting::Healthy(id) => format!("{} to be healthy", id.short()),
        Waiting::Gone(id) => format!("{} to be gone", id.short()),
        Waiting::Served(gvk) => format!("the kind {gvk} to be served"),
        Waiting::Retry(at) => format!("the next try at {}", at.strftime("%H:%M:%S")),
        Waiting::Others => "every app of the repository to be rendered".to_owned(),
        Waiting::Approval(Asked::Policy) => "a person to let it through".to_owned(),
        Waiting::Approval(Asked::Confirm) => {
            "a confirmation: a person's sync, or argocd.argoproj.io/deletion-approved".to_owned()
        }
        Waiting::Approval(Asked::Unsure) => {
            "a person to let it through: its record was lost, its mark is the only witness"
                .to_owned()
        }
        Waiting::Hook(id) => format!("the hook {} to do its work", id.short()),
        Waiting::Runs => "itself: it runs".to_owned(),
        Waiting::Barred(_) => "another commit, or a person's sync".to_owned(),
        Waiting::NotSelected => "another sync: this one is of other objects".to_owned(),
        Waiting::Approval(Asked::Protected) => {
            "a person to let it through: git cannot bring back what it holds".to_owned()
        }
        Waiting::Approval(Asked::Budget { wanted, allowed }) => format!(
            "a person to let it through: {wanted} objects would go, {allowed} may by themselves"
        ),
        Waiting::HealAt(at) => format!("{}, when drift is put back", at.strftime("%H:%M:%S")),
    }
}

fn left_alone(plan: &Plan) -> Vec<LeftAlone> {
    plan.unstepped
        .iter()
        .filter_map(|(id, why)| {
            let (code, text) = unstepped(why)?;
            Some(LeftAlone {
                id: object_ref(id),
                code: code.to_owned(),
                text,
            })
        })
        .collect()
}

/// Why nothing is done, where that needs saying.
fn unstepped(why: &Unstepped) -> Option<(&'static str, String)> {
    Some(match why {
        Unstepped::InSync | Unstepped::HookSkipped | Unstepped::HookKept => return None,
        Unstepped::Drifted => (
            "drifted",
            "differs from git, and policy leaves it".to_owned(),
        ),
        Unstepped::PruneDisabled => (
            "pruneDisabled",
            "is no longer in git, and is kept".to_owned(),
        ),
        Unstepped::NotOurs => (
            "notOurs",
            "carries no mark of ours, so it is not deleted".to_owned(),
        ),
        Unstepped::NeverSeen => ("neverSeen", "was never confirmed to exist".to_owned()),
        Unstepped::OwnedByOther { app } => ("ownedByOther", format!("belongs to the app {app}")),
        Unstepped::Unobserved(fault) => (
            "unobserved",
            format!("its kind cannot be seen, so nothing of it is deleted: {fault}"),
        ),
        Unstepped::HookRan => ("hookRan", "is a hook that has done its work".to_owned()),
        Unstepped::HookFailed(why) => ("hookFailed", format!("is a hook that failed: {why}")),
        Unstepped::NotServed(gvk) => (
            "notServed",
            format!("the cluster does not know the kind {gvk}"),
        ),
        Unstepped::Failed(fault) => ("failed", format!("the last try failed: {fault}")),
        Unstepped::Refused(fault) => ("refused", format!("the project does not allow it: {fault}")),
        Unstepped::Terminating(going) => ("terminating", going.to_string()),
    })
}
