//! What a record says of what is being done and was done: the run, the log, the rollback.

use jiff::Timestamp;
use lockstep_app::app::Revision;
use lockstep_app::v1alpha1::{
    RecordedDeed, RecordedHook, RecordedObject, RecordedRollback, RecordedRun as Written,
    SyncOperationResource,
};
use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::{Digest, ObjectId, Uid};
use lockstep_plan::{HookKey, HookRun, HookState, Run, Selector};
use lockstep_reconcile::view::{LogKind, LogView};
use lockstep_reconcile::{RecordedRun, Rollback, Until};

use super::{base, bases};

/// Reads the run; one that cannot be read is none, and its hooks are then unknown to every later one.
pub(super) fn run(written: &Written) -> Option<RecordedRun> {
    let only = written.only.iter().map(|one| Selector {
        group: one.group.clone(),
        kind: one.kind.clone(),
        namespace: one.namespace.clone(),
        name: one.name.clone(),
    });
    let hooks: Option<_> = written.hooks.iter().map(hook).collect();
    Some(RecordedRun {
        run: Run {
            hooks: hooks?,
            only: only.collect(),
            skip_hooks: written.skip_hooks,
            force: written.force,
            ..Run::new(written.id.clone(), written.started_at.parse().ok()?)
        },
        by: written.by.clone(),
        approved: written
            .approved
            .iter()
            .cloned()
            .map(ObjectId::from)
            .collect(),
        leaves: written.leaves,
    })
}

fn hook(written: &RecordedHook) -> Option<(HookKey, HookRun)> {
    let phase: HookPhase = written.phase.parse().ok()?;
    let state = match written.state.as_str() {
        "Claimed" => HookState::Claimed,
        "Running" => HookState::Running,
        "Succeeded" => HookState::Succeeded,
        "Failed" => HookState::Failed(written.message.clone()),
        _ => return None,
    };
    let hook = HookRun {
        uid: written.uid.clone().map(Uid),
        state,
        not_before: None,
    };
    Some(((phase, written.object.clone().into()), hook))
}

pub(super) fn written_run(recorded: &RecordedRun) -> Written {
    let run = &recorded.run;
    Written {
        id: run.id.clone(),
        by: recorded.by.clone(),
        started_at: run.started_at.to_string(),
        leaves: recorded.leaves,
        skip_hooks: run.skip_hooks,
        force: run.force,
        only: run
            .only
            .iter()
            .map(|one| SyncOperationResource {
                group: one.group.clone(),
                kind: one.kind.clone(),
                namespace: one.namespace.clone(),
                name: one.name.clone(),
            })
            .collect(),
        approved: recorded.approved.iter().map(RecordedObject::from).collect(),
        hooks: run.hooks.iter().map(written_hook).collect(),
    }
}

fn written_hook(((phase, id), hook): (&HookKey, &HookRun)) -> RecordedHook {
    let (state, message) = match &hook.state {
        HookState::Claimed => ("Claimed", ""),
        HookState::Running => ("Running", ""),
        HookState::Succeeded => ("Succeeded", ""),
        HookState::Failed(why) => ("Failed", why.as_str()),
    };
    RecordedHook {
        phase: phase.text().to_owned(),
        object: id.into(),
        uid: hook.uid.clone().map(|uid| uid.0),
        state: state.to_owned(),
        message: message.to_owned(),
    }
}

pub(super) fn deed(written: &RecordedDeed) -> Option<LogView> {
    let mut kinds = LogKind::ALL.into_iter();
    Some(LogView {
        id: written.id.clone(),
        kind: kinds.find(|kind| kind.text() == written.kind)?,
        by: written.by.clone(),
        started_at: written.started_at.parse().ok()?,
        finished_at: written.finished_at.parse().ok()?,
        well: !written.failed,
        revision: written.revision.parse().ok(),
        spec: written.spec.clone(),
        objects: usize::try_from(written.objects).unwrap_or(0),
        text: written.text.clone(),
    })
}

pub(super) fn written_deed(deed: &LogView) -> RecordedDeed {
    RecordedDeed {
        id: deed.id.clone(),
        kind: deed.kind.text().to_owned(),
        by: deed.by.clone(),
        started_at: milliseconds(deed.started_at),
        finished_at: milliseconds(deed.finished_at),
        failed: !deed.well,
        revision: text(deed.revision.as_ref()),
        spec: deed.spec.clone(),
        objects: i64::try_from(deed.objects).unwrap_or(i64::MAX),
        text: deed.text.clone(),
    }
}

pub(super) fn rollback(written: &RecordedRollback) -> Option<Rollback> {
    Some(Rollback {
        to: written.to.parse().ok()?,
        bundle: Some(written.bundle.clone())
            .filter(|digest| !digest.is_empty())
            .map(Digest),
        bases: written.bases.iter().filter_map(base).collect(),
        from: written.from.parse().ok(),
        reason: written.reason.clone(),
        by: written.by.clone(),
        at: written.at.parse().ok()?,
        until: match written.until.as_str() {
            "newer-commit" => Until::NewerCommit,
            "release" => Until::Release,
            // A time that cannot be read holds until somebody says otherwise.
            time => time.parse().map_or(Until::Release, Until::Time),
        },
    })
}

pub(super) fn written_rollback(rollback: &Rollback) -> RecordedRollback {
    RecordedRollback {
        to: rollback.to.to_string(),
        bundle: rollback
            .bundle
            .clone()
            .map(|digest| digest.0)
            .unwrap_or_default(),
        bases: bases(&rollback.bases),
        from: text(rollback.from.as_ref()),
        reason: rollback.reason.clone(),
        by: rollback.by.clone(),
        at: rollback.at.to_string(),
        until: match rollback.until {
            Until::NewerCommit => "newer-commit".to_owned(),
            Until::Release => "release".to_owned(),
            Until::Time(at) => at.to_string(),
        },
    }
}

fn text(revision: Option<&Revision>) -> String {
    revision.map(ToString::to_string).unwrap_or_default()
}

fn milliseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
