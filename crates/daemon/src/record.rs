//! The record, between what stands in the cluster and what the machine knows.

use lockstep_app::AppKey;
use lockstep_app::app::{Base, Bases};
use lockstep_app::v1alpha1::{self, ObjectMeta, Record, RecordFields, RecordedApp, RecordedBase};
use lockstep_manifest::{Digest, Manifest, Uid, marks};
use lockstep_plan::Entry;
use lockstep_reconcile::{Recalled, RecordDraft};

/// Which program keeps the set, as KEP-3659 wants it said: others refuse to touch it.
const TOOLING: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));

/// Reads a record. What cannot be read in it is an error: an unknown inventory is not an empty one.
pub(crate) fn recall(live: &Manifest) -> Result<Recalled, serde_json::Error> {
    let record: Record = serde_json::from_value(live.clone().into_value())?;
    let record = record.spec;
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
            keep: entry.keep,
            keep_on_delete: entry.keep_on_delete,
        };
        (entry.id(), kept)
    });
    Ok(Recalled {
        resource_version: live.resource_version().map(str::to_owned),
        revision: record.revision.parse().ok(),
        spec: record.spec.clone(),
        bases: record.bases.iter().filter_map(base).collect(),
        entries: entries.collect(),
    })
}

/// A base that cannot be read is one that is not known: it is asked for anew.
fn base(written: &RecordedBase) -> Option<(Base, lockstep_app::app::Revision)> {
    let base = Base {
        remote: written.repo_url.parse().ok()?,
        target: written.target_revision.clone(),
    };
    Some((base, written.revision.parse().ok()?))
}

fn bases(bases: &Bases) -> Vec<RecordedBase> {
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
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: RecordFields {
            app: RecordedApp {
                name: key.name.clone(),
                uid: uid.0.clone(),
            },
            holder: holder.to_owned(),
            epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
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
            entries: draft
                .entries
                .iter()
                .map(|(id, entry)| v1alpha1::Entry {
                    uid: entry.uid.clone().map(|uid| uid.0),
                    version: Some(entry.version.clone()).filter(|version| !version.is_empty()),
                    digest: entry.digest.clone().map(|digest| digest.0),
                    seen: entry.seen.clone().map(|digest| digest.0),
                    wave: Some(i64::from(entry.wave)).filter(|wave| *wave != 0),
                    keep: entry.keep,
                    keep_on_delete: entry.keep_on_delete,
                    ..v1alpha1::Entry::of(id)
                })
                .collect(),
        },
    }
}
