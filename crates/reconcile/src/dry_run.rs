//! A sync that is only tried: what it would do to each object, and nothing done.

use lockstep_app::App;
use lockstep_plan::{Action, Desired, Mode, Plan, Reason, Step, Unstepped};

use crate::event::{Slot, World};
use crate::life::Life;
use crate::orders::Order;
use crate::view::{OperationPhase, OperationView, ResultView};

impl Life {
    /// Tries an order: of what was brought here for it, else of what git wants now.
    ///
    /// What failed before is not held against it, as it would not be against the sync itself.
    pub(crate) fn try_out(
        &mut self,
        order: &Order,
        id: String,
        brought: Option<&Slot>,
        app: &App,
        world: &World<'_>,
    ) {
        let slot = brought.or(self.next.as_ref()).or(self.enforced.as_ref());
        let slot = slot.cloned();
        let desired: Option<&Desired> = slot.as_ref().map(|slot| slot.desired.as_ref());
        let mode = if app.leaving { Mode::Leave } else { Mode::Sync };
        let failures = std::mem::take(&mut self.failures);
        let made = self.plan_for(app, mode, desired, world, true);
        self.failures = failures;
        let mut operation = self.operation(id, &order.by, world.now);
        operation.prune = order.prune.unwrap_or(true);
        operation.dry_run = true;
        operation.revision.clone_from(&made.revision);
        operation.results = results(&made, order);
        let fails = |result: &ResultView| result.status == "SyncFailed";
        let failing = operation.results.iter().filter(|one| fails(one)).count();
        operation.phase = if failing > 0 {
            OperationPhase::Failed
        } else {
            OperationPhase::Succeeded
        };
        operation.message = match failing {
            0 if operation.results.is_empty() => "nothing to do".to_owned(),
            0 => made.summary(),
            count => format!("{count} objects would not be applied"),
        };
        operation.finished_at = Some(world.now);
        self.tried = Some(operation);
    }

    /// The operation of this id, tried or carried out, unless it runs.
    pub(crate) fn operation_mut(&mut self, id: &str) -> Option<&mut OperationView> {
        let known = self.tried.iter_mut().chain(&mut self.last_operation);
        known.into_iter().find(|operation| operation.id == id)
    }
}

/// One line for each object to which something would be done, or cannot be.
fn results(made: &Plan, order: &Order) -> Vec<ResultView> {
    let selects = |id: &lockstep_manifest::ObjectId| {
        order.resources.is_empty() || order.resources.iter().any(|one| one.selects(id))
    };
    // As in Argo CD a sync of some objects runs no hooks.
    let has_hooks = !order.skip_hooks && order.resources.is_empty();
    let is_meant = |step: &&Step| match step.action {
        Action::Run { .. } => has_hooks,
        Action::LetGo { .. } => false,
        Action::Apply(_) | Action::Prune { .. } | Action::Release => selects(&step.id),
    };
    let prunes = order.prune.unwrap_or(true);
    let steps = made.steps().filter(is_meant);
    let mut results: Vec<ResultView> = steps.map(|step| result(step, prunes)).collect();
    let failing = made.unstepped.iter().filter(|(id, why)| {
        selects(id) && (why.is_stuck() || matches!(why, Unstepped::Unobserved(_)))
    });
    results.extend(failing.map(|(id, why)| ResultView {
        id: id.clone(),
        version: String::new(),
        status: "SyncFailed",
        message: format!("would not be applied: {why}"),
        phase: lockstep_manifest::marks::HookPhase::Sync,
        hook: None,
    }));
    results
}

fn result(step: &Step, prunes: bool) -> ResultView {
    let (version, status, message) = match (&step.action, &step.reason) {
        (Action::Apply(wanted), reason) => {
            let would = match reason {
                Reason::Create | Reason::Namespace => "would be created",
                Reason::Recreate => "would be created again",
                Reason::Heal => "would be put back",
                _ => "would be changed",
            };
            (wanted.gvk.version.clone(), "Synced", would.to_owned())
        }
        (Action::Prune { gvk, .. }, _) if prunes => {
            (gvk.version.clone(), "Pruned", "would be deleted".to_owned())
        }
        (Action::Prune { gvk, .. }, _) => (
            gvk.version.clone(),
            "PruneSkipped",
            "would be left standing, since pruning is not asked for".to_owned(),
        ),
        (Action::Release, reason) => {
            let message = format!("would no longer be counted as this app's: {reason}");
            (String::new(), "Synced", message)
        }
        (Action::Run { hook, .. }, _) => {
            let message = format!("would be run as a {} hook", hook.phase.text());
            (hook.wanted.gvk.version.clone(), "Synced", message)
        }
        (Action::LetGo { gvk, .. }, _) => {
            (gvk.version.clone(), "Synced", "would be let go".to_owned())
        }
    };
    ResultView {
        id: step.id.clone(),
        version,
        status,
        message,
        phase: step.phase,
        hook: None,
    }
}
