//! What runs and what was done before, in wire types.

use lockstep_api::operation::{
    HookState, Operation, OperationPhase, OperationResult, Verified, VerifiedState,
};
use lockstep_api::past::{Deed, Deployment, LogEntry, Rollback};
use lockstep_api::time::Time;
use lockstep_reconcile::Until;
use lockstep_reconcile::view::{self, AppView, LogKind, OperationView, RollbackView};

use super::{commit, count, key, object_ref};

/// The last deployments of an app, newest first.
pub(in crate::http) fn history(app: &AppView) -> Vec<Deployment> {
    app.history
        .iter()
        .map(|entry| {
            let (started, deployed) = (Time::from(entry.started_at), Time::from(entry.deployed_at));
            Deployment {
                n: entry.id,
                commit: commit(&entry.commit),
                started_at: started,
                deployed_at: deployed,
                took_ms: deployed.millis_since(started),
                by: entry.by.clone(),
                objects: count(entry.objects),
            }
        })
        .collect()
}

/// Everything that was done to an app, newest first.
pub(in crate::http) fn log(app: &AppView) -> Vec<LogEntry> {
    app.log
        .iter()
        .map(|entry| {
            let (started, finished) = (Time::from(entry.started_at), entry.finished_at.into());
            LogEntry {
                id: entry.id.clone(),
                kind: match entry.kind {
                    LogKind::Sync => Deed::Sync,
                    LogKind::Rollback => Deed::Rollback,
                    LogKind::Heal => Deed::Heal,
                    LogKind::Deletion => Deed::Deletion,
                    LogKind::Release => Deed::Release,
                },
                succeeded: entry.well,
                revision: entry.revision.as_ref().map(ToString::to_string),
                by: entry.by.clone(),
                started_at: started,
                finished_at: finished,
                took_ms: finished.millis_since(started),
                objects: count(entry.objects),
                text: entry.text.clone(),
            }
        })
        .collect()
}

/// Where an app is kept instead of at its target.
pub(super) fn rollback(rollback: &RollbackView) -> Rollback {
    Rollback {
        to: rollback.to.to_string(),
        from: rollback.from.as_ref().map(ToString::to_string),
        reason: rollback.reason.clone(),
        by: rollback.by.clone(),
        at: rollback.at.into(),
        until: match rollback.until {
            Until::NewerCommit => "newer-commit".to_owned(),
            Until::Release => "release".to_owned(),
            Until::Time(at) => Time::from(at).to_string(),
        },
    }
}

fn verified(verified: &view::Verified) -> Verified {
    let (state, at, why) = match verified {
        view::Verified::Pending => (VerifiedState::Pending, None, None),
        view::Verified::Yes(at) => (VerifiedState::Verified, Some(Time::from(*at)), None),
        view::Verified::No(why) => (VerifiedState::NotVerified, None, Some(why.clone())),
    };
    Verified { state, at, why }
}

/// Argo CD's word for a hook; one that is being made runs.
fn hook_state(word: &str) -> HookState {
    match word {
        "Succeeded" => HookState::Succeeded,
        "Failed" => HookState::Failed,
        _ => HookState::Running,
    }
}

/// A sync.
pub(in crate::http) fn operation(operation: &OperationView) -> Operation {
    let started: Time = operation.started_at.into();
    let finished = operation.finished_at.map(Time::from);
    Operation {
        id: operation.id.clone(),
        key: key(&operation.app.0, &operation.app.1),
        phase: match operation.phase {
            view::OperationPhase::Running => OperationPhase::Running,
            view::OperationPhase::Terminating => OperationPhase::Terminating,
            view::OperationPhase::Succeeded => OperationPhase::Succeeded,
            view::OperationPhase::Failed => OperationPhase::Failed,
        },
        message: operation.message.clone(),
        revision: operation.revision.as_ref().map(ToString::to_string),
        by: operation.by.clone(),
        started_at: started,
        finished_at: finished,
        took_ms: finished.and_then(|finished| finished.millis_since(started)),
        results: operation
            .results
            .iter()
            .map(|result| OperationResult {
                id: object_ref(&result.id),
                status: result.status.to_owned(),
                message: result.message.clone(),
                phase: result.phase.text().to_owned(),
                hook: result.hook.map(hook_state),
            })
            .collect(),
        retries: operation.retries,
        verified: operation.verified.as_ref().map(verified),
        dry_run: operation.dry_run,
    }
}
