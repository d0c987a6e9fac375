//! The top-level `operation`: a sync that somebody asked for.

use super::Notes;
use crate::app::{RequestedSync, Revision, Selected, Source};
use crate::v1alpha1::{Application, SyncOperation, SyncOperationResource};

/// The sync that is asked for, when it is one that can be done as asked.
pub(super) fn requested(
    written: &Application,
    sources: &[Source],
    notes: &mut Notes,
) -> Option<RequestedSync> {
    let operation = written.spec.operation.as_ref()?;
    let sync = operation.sync.as_ref()?;
    let remove = "take the operation away: kubectl patch with `operation: null`";
    let mut refuse = |field: &str, message: &str| {
        notes.error(format!("/operation/sync/{field}"), message, remove);
    };
    if !sync.manifests.is_empty() {
        refuse("manifests", "manifests are taken from git alone");
    }
    if sync.source.is_some() {
        refuse(
            "source",
            "a sync from another source than the spec's is not served",
        );
    }
    if !sync.sources.is_empty() {
        refuse(
            "sources",
            "a sync from other sources than the spec's is not served",
        );
    }
    let revision = requested_revision(sync, sources, notes);
    if !sync.sync_options.is_empty() {
        notes.left_aside("operation.sync.syncOptions");
    }
    let strategy = sync.sync_strategy.as_ref();
    let strategies = strategy.map(|strategy| [&strategy.apply, &strategy.hook]);
    let force = strategies
        .into_iter()
        .flatten()
        .flatten()
        .any(|strategy| strategy.force == Some(true));
    let retry = operation.retry.as_ref();
    let retry = retry.map(|retry| super::lower_retry(retry, "/operation/retry", notes));
    let by = operation.initiated_by.as_ref();
    Some(RequestedSync {
        by: match by {
            Some(by) if !by.username.is_empty() => by.username.clone(),
            Some(by) if by.automated == Some(true) => "automated".to_owned(),
            _ => String::new(),
        },
        plan: None,
        prune: sync.prune == Some(true),
        revision,
        dry_run: sync.dry_run == Some(true),
        resources: sync.resources.iter().map(selected).collect(),
        skip_hooks: strategy.is_some_and(|strategy| strategy.apply.is_some()),
        force,
        retry,
    })
}

fn selected(written: &SyncOperationResource) -> Selected {
    Selected {
        group: written.group.clone(),
        kind: written.kind.clone(),
        namespace: written.namespace.clone(),
        name: written.name.clone(),
    }
}

fn requested_revision(
    sync: &SyncOperation,
    sources: &[Source],
    notes: &mut Notes,
) -> Option<Revision> {
    let (at, text) = match (sync.revision.as_str(), sync.revisions.as_slice()) {
        ("", []) => return None,
        ("", [one]) => ("/operation/sync/revisions/0", one.as_str()),
        ("", _) => {
            notes.error(
                "/operation/sync/revisions",
                "several revisions in one sync are not served",
                "sync to what the targets name",
            );
            return None;
        }
        (revision, _) => ("/operation/sync/revision", revision),
    };
    // Clients repeat the target here; that is no wish for another revision.
    let repeats = sources
        .iter()
        .any(|s| s.target == text || (text == "HEAD" && s.target.is_empty()));
    if repeats {
        return None;
    }
    if sources.len() > 1 {
        notes.error(
            at,
            "an app of several sources syncs only to what its targets name",
            "leave it out",
        );
        return None;
    }
    match text.parse() {
        Ok(revision) => Some(revision),
        Err(error) => {
            notes.error(
                at,
                format!("{error}"),
                "name the commit with all its digits",
            );
            None
        }
    }
}
