//! The record, between what stands in the cluster and what the machine knows.

mod deeds;

use lockstep_app::AppKey;
use lockstep_app::app::{Base, Bases};
use lockstep_app::v1alpha1::{self, ObjectMeta, Record, RecordFields, RecordedApp, RecordedBase};
use lockstep_manifest::marks::Deletable;
use lockstep_manifest::{Digest, Manifest, ObjectId, Uid, marks};
use lockstep_plan::Entry;
use lockstep_reconcile::{Recalled, RecordDraft};

/// Which program keeps the set, as KEP-3659 wants it said: others refuse to touch it.
const TOOLING: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));

/// Reads a record. What cannot be read in it is an error: an unknown inventory is not an empty one.
pub(crate) fn recall(live: &Manifest) -> Result<Recalled, serde_json::Error> {
    let record: Record = serde_json::from_value(live.clone().into_value())?;
    let version = live.resource_version().map(str::to_owned);
    Ok(recalled(&record.spec, version))
}

/// What a record says, or a claim, which has no version.
pub(crate) fn recalled(record: &RecordFields, resource_version: Option<String>) -> Recalled {
    let entries = record.entries.iter().map(|entry| {
        let kept = Entry {
            uid: entry.uid(),
            version: entry.version.clone().unwrap_or_else(|| "v1".to_owned()),
            digest: entry.digest.clone().map(Digest),
            seen: entry.seen.clone().map(Digest),
            wave: entry
                .wave
                .and_then(|wave| i32::try_from(wave).ok())
                .unwrap_or(0),
            prune: deletable(&entry.prune),
            delete: deletable(&entry.delete),
            prune_last: entry.prune_last,
            is_hook: entry.hook,
            // What a tombstone speaks of belonged to an Application that is gone.
            by_mark_alone: entry.by_mark_alone || record.tombstone,
        };
        (entry.id(), kept)
    });
    let entries = entries.collect();
    let number = |written: i64| u64::try_from(written).unwrap_or(0);
    Recalled {
        resource_version,
        revision: record.revision.parse().ok(),
        spec: record.spec.clone(),
        bases: record.bases.iter().filter_map(base).collect(),
        entries,
        run: record.run.as_ref().and_then(deeds::run),
        log: record.log.iter().filter_map(deeds::deed).collect(),
        rollback: record.rollback.as_ref().and_then(deeds::rollback),
        bundle: Some(record.bundle.clone())
            .filter(|digest| !digest.is_empty())
            .map(Digest),
        namespace: record.namespace_metadata.clone(),
        is_lost: false,
        order: (number(record.epoch), number(record.serial)),
        lags: false,
    }
}

/// A claim that is made beside the record: the record that names only what it adds.
pub(crate) fn claim(
    key: &AppKey,
    uid: &Uid,
    draft: &RecordDraft,
    holder: &str,
    epoch: u64,
) -> RecordFields {
    let added = draft.added.as_ref();
    let is_new = |id: &ObjectId| added.is_some_and(|added| added.contains(id));
    RecordFields {
        entries: entries(draft.entries.iter().filter(|(id, _)| is_new(id))),
        log: Vec::new(),
        rollback: None,
        bundle: String::new(),
        namespace_metadata: String::new(),
        ..fields(key, uid, draft, holder, epoch)
    }
}

fn deletable(written: &str) -> Option<Deletable> {
    Deletable::of_option(Some(written).filter(|text| !text.is_empty()))
}

fn written_deletable(deletable: Option<Deletable>) -> String {
    let text = deletable.map_or("", |deletable| match deletable {
        Deletable::Yes => "true",
        Deletable::Confirm => "confirm",
        Deletable::No => "false",
    });
    text.to_owned()
}

/// A base that cannot be read is one that is not known: it is asked for anew.
pub(crate) fn base(written: &RecordedBase) -> Option<(Base, lockstep_app::app::Revision)> {
    let base = Base {
        remote: written.repo_url.parse().ok()?,
        target: written.target_revision.clone(),
    };
    Some((base, written.revision.parse().ok()?))
}

pub(crate) fn bases(bases: &Bases) -> Vec<RecordedBase> {
    bases
        .iter()
        .map(|(base, revision)| RecordedBase {
            repo_url: base.remote.to_string(),
            target_revision: base.target.clone(),
            revision: revision.to_string(),
        })
        .collect()
}

/// Writes a record.
pub(crate) fn write(
    key: &AppKey,
    uid: &Uid,
    draft: &RecordDraft,
    holder: &str,
    epoch: u64,
) -> Record {
    let mut kinds: Vec<String> = draft
        .entries
        .keys()
        .map(|id| {
            if id.group.is_empty() {
                id.kind.clone()
            } else {
                format!("{}.{}", id.kind, id.group)
            }
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    let mut namespaces: Vec<&str> = draft
        .entries
        .keys()
        .map(|id| id.namespace.as_str())
        .filter(|namespace| !namespace.is_empty() && *namespace != key.namespace)
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let annotations = [
        (
            "applyset.kubernetes.io/tooling".to_owned(),
            TOOLING.to_owned(),
        ),
        (
            "applyset.kubernetes.io/contains-group-kinds".to_owned(),
            kinds.join(","),
        ),
        (
            "applyset.kubernetes.io/additional-namespaces".to_owned(),
            namespaces.join(","),
        ),
    ];
    let labels = [(
        marks::SET_ID.to_owned(),
        marks::set_id(&key.namespace, &key.name),
    )];
    let owner = v1alpha1::OwnerReference {
        api_version: "argoproj.io/v1alpha1".to_owned(),
        kind: "Application".to_owned(),
        name: key.name.clone(),
        uid: uid.0.clone(),
        ..Default::default()
    };
    Record {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            annotations: Some(annotations.into_iter().collect()),
            labels: Some(labels.into_iter().collect()),
            // A tombstone stays when its Application goes.
            owner_references: Some(vec![owner]).filter(|_| !draft.is_tombstone),
            ..ObjectMeta::default()
        },
        spec: fields(key, uid, draft, holder, epoch),
    }
}

fn fields(key: &AppKey, uid: &Uid, draft: &RecordDraft, holder: &str, epoch: u64) -> RecordFields {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    RecordFields {
        app: RecordedApp {
            name: key.name.clone(),
            uid: uid.0.clone(),
        },
        holder: holder.to_owned(),
        epoch: number(epoch.max(draft.order.0)),
        serial: number(draft.order.1),
        plan: draft
            .plan
            .clone()
            .map(|digest| digest.0)
            .unwrap_or_default(),
        revision: draft
            .revision
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        spec: draft.spec.clone(),
        bases: bases(&draft.bases),
        entries: entries(&draft.entries),
        run: draft.run.as_ref().map(deeds::written_run),
        log: draft.log.iter().map(deeds::written_deed).collect(),
        rollback: draft.rollback.as_ref().map(deeds::written_rollback),
        bundle: draft
            .bundle
            .clone()
            .map(|digest| digest.0)
            .unwrap_or_default(),
        namespace_metadata: draft.namespace.clone(),
        tombstone: draft.is_tombstone,
    }
}

fn entries<'a>(
    entries: impl IntoIterator<Item = (&'a ObjectId, &'a Entry)>,
) -> Vec<v1alpha1::Entry> {
    let written = |(id, entry): (&ObjectId, &Entry)| v1alpha1::Entry {
        uid: entry.uid.clone().map(|uid| uid.0),
        version: Some(entry.version.clone()).filter(|version| !version.is_empty()),
        digest: entry.digest.clone().map(|digest| digest.0),
        seen: entry.seen.clone().map(|digest| digest.0),
        wave: Some(i64::from(entry.wave)).filter(|wave| *wave != 0),
        prune: written_deletable(entry.prune),
        delete: written_deletable(entry.delete),
        prune_last: entry.prune_last,
        hook: entry.is_hook,
        by_mark_alone: entry.by_mark_alone,
        ..v1alpha1::Entry::of(id)
    };
    entries.into_iter().map(written).collect()
}
