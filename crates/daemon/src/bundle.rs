//! What was deployed once, between a `Bundle` in the cluster and what can be applied again.
//!
//! Secrets are not in it: of each only its digest is kept, and going back renders it again and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockstep_app::app::AppKey;
use lockstep_app::v1alpha1::{
    BUNDLE_OF, Bundle, BundleFields, ObjectMeta, OwnerReference, RecordedApp, RecordedObject,
    Sealed,
};
use lockstep_manifest::{Digest, Manifest, ObjectId, Uid, kinds, marks};
use lockstep_plan::Wanted;
use lockstep_reconcile::Slot;
use lockstep_reconcile::view::CommitView;
use serde_json::Value;

use crate::{pack, record};

/// The largest compressed bundle that is kept: an API server takes objects of 1.5 MB, and base64 adds a third.
const MOST_STORED: usize = 1024 * 1024;
/// The most that one may unpack to: some fifty times as much, which is what manifests compress to at best.
const MOST_UNPACKED: u64 = 64 * 1024 * 1024;

/// Why a bundle is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is not the object that we write.
    #[error("the bundle is not one: {0}")]
    Shape(#[from] serde_json::Error),
    /// The packed objects cannot be unpacked.
    #[error("the bundle cannot be unpacked: {0}")]
    Packed(String),
    /// One is larger than what is kept.
    #[error("what was deployed is {bytes} bytes when compressed; {MOST_STORED} are kept")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
}

/// What a bundle holds.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) commit: CommitView,
    pub(crate) kind: String,
    pub(crate) manifests: Vec<Manifest>,
    /// The Secrets that are missing, with the digests that they have to have.
    pub(crate) sealed: BTreeMap<ObjectId, Digest>,
}

/// The bundle's name: of one app and one content.
pub(crate) fn name(key: &AppKey, digest: &Digest) -> String {
    let both = format!("{key} {digest}");
    format!("bundle-{}", Digest::of(both.as_bytes()))
}

/// Packs what is deployed.
pub(crate) fn pack(key: &AppKey, uid: &Uid, slot: &Slot) -> Result<Bundle, Unusable> {
    let digest = slot.desired.digest();
    let hooks = slot.desired.hooks.iter().map(|hook| &hook.wanted);
    let mut known: BTreeSet<&ObjectId> = BTreeSet::new();
    let all = slot.desired.objects.iter().chain(hooks);
    let all = all.filter(|wanted| known.insert(&wanted.id));
    let (secret, plain): (Vec<&Arc<Wanted>>, Vec<&Arc<Wanted>>) =
        all.partition(|wanted| kinds::is_secret(&wanted.id.group_kind()));
    let bodies: Vec<&serde_json::Map<String, Value>> =
        plain.iter().map(|wanted| wanted.manifest.body()).collect();
    let packed = pack::compress(&serde_json::to_vec(&bodies)?)
        .map_err(|error| Unusable::Packed(error.to_string()))?;
    if packed.len() > MOST_STORED {
        return Err(Unusable::TooLarge {
            bytes: packed.len(),
        });
    }
    let owner = OwnerReference {
        api_version: "argoproj.io/v1alpha1".to_owned(),
        kind: "Application".to_owned(),
        name: key.name.clone(),
        uid: uid.0.clone(),
        ..OwnerReference::default()
    };
    let label = (
        BUNDLE_OF.to_owned(),
        marks::set_id(&key.namespace, &key.name),
    );
    Ok(Bundle {
        metadata: ObjectMeta {
            name: Some(name(key, &digest)),
            namespace: Some(key.namespace.clone()),
            labels: Some([label].into_iter().collect()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: BundleFields {
            app: RecordedApp {
                name: key.name.clone(),
                uid: uid.0.clone(),
            },
            digest: digest.0,
            revision: slot.commit.revision.to_string(),
            subject: slot.commit.subject.clone(),
            author: slot.commit.author.clone(),
            committed_at: slot
                .commit
                .committed_at
                .map(|at| at.to_string())
                .unwrap_or_default(),
            source_type: slot.kind.clone(),
            bases: record::bases(&slot.bases),
            objects: i64::try_from(plain.len() + secret.len()).unwrap_or(i64::MAX),
            data: BASE64.encode(packed),
            sealed: secret
                .iter()
                .map(|wanted| Sealed {
                    object: RecordedObject::from(&wanted.id),
                    digest: wanted.digest.0.clone(),
                })
                .collect(),
        },
    })
}

/// Unpacks one. Whether it is what it says has to be found out by its digest.
pub(crate) fn unpack(live: &Manifest) -> Result<Unpacked, Unusable> {
    let bundle: Bundle = serde_json::from_value(live.clone().into_value())?;
    let fields = bundle.spec;
    let packed = BASE64
        .decode(fields.data.as_bytes())
        .map_err(|error| Unusable::Packed(error.to_string()))?;
    let bytes = pack::expand(&packed, MOST_UNPACKED)
        .map_err(|error| Unusable::Packed(error.to_string()))?;
    let values: Vec<Value> = serde_json::from_slice(&bytes)?;
    let manifests: Result<Vec<Manifest>, _> =
        values.into_iter().map(Manifest::from_value).collect();
    let revision = fields
        .revision
        .parse()
        .map_err(|error| Unusable::Packed(format!("{error}")))?;
    Ok(Unpacked {
        commit: CommitView {
            revision,
            subject: fields.subject,
            author: fields.author,
            committed_at: fields.committed_at.parse().ok(),
        },
        kind: fields.source_type,
        manifests: manifests.map_err(|error| Unusable::Packed(error.to_string()))?,
        sealed: fields
            .sealed
            .into_iter()
            .map(|sealed| (sealed.object.into(), Digest(sealed.digest)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_app::config::Environments;
    use lockstep_app::v1alpha1::Application;
    use lockstep_plan::prepare;
    use serde_json::json;

    fn slot() -> Slot {
        let written = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "shop", "namespace": "argocd", "uid": "u"},
            "spec": {"source": {"repoURL": "https://git.example/shop", "path": "."},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"}}});
        let written = Application::read(written).expect("an Application");
        let app = lockstep_app::lower(&written, &Environments::default()).expect("it means one");
        let objects = [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "canary"}}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "m-",
                "annotations": {"argocd.argoproj.io/hook": "PreSync,PostSync"}}}),
        ];
        let objects = objects.map(|object| Manifest::from_value(object).expect("an object"));
        let revision: lockstep_app::app::Revision = "a".repeat(40).parse().expect("a commit");
        Slot {
            commit: CommitView {
                revision: revision.clone(),
                subject: "first".to_owned(),
                author: "Ada".to_owned(),
                committed_at: None,
            },
            desired: Arc::new(prepare(&app, revision, objects.to_vec(), &|_| None)),
            kind: "Directory".to_owned(),
            spec: String::new(),
            bases: lockstep_app::app::Bases::new(),
            seen_at: jiff::Timestamp::UNIX_EPOCH,
            rendered_at: jiff::Timestamp::UNIX_EPOCH,
            warnings: Vec::new(),
        }
    }

    fn key() -> AppKey {
        AppKey {
            namespace: "argocd".to_owned(),
            name: "shop".to_owned(),
        }
    }

    fn stored(bundle: &Bundle) -> Manifest {
        let mut value = serde_json::to_value(bundle).expect("plain data");
        value["apiVersion"] = json!("lockstep.dev/v1alpha1");
        value["kind"] = json!("Bundle");
        Manifest::from_value(value).expect("an object")
    }

    #[test]
    fn a_bundle_gives_back_everything_but_what_is_secret() {
        let slot = slot();
        let bundle = pack(&key(), &Uid("u".into()), &slot).expect("it is small");
        let unpacked = unpack(&stored(&bundle)).expect("it is what was packed");
        let names: Vec<&str> = unpacked.manifests.iter().map(Manifest::kind).collect();
        assert_eq!(names, ["ConfigMap", "Job"]);
        assert_eq!(unpacked.sealed.len(), 1);
        let text = stored(&bundle).into_value().to_string();
        assert!(!text.contains("canary") && !text.contains(&BASE64.encode("canary")));
        assert_eq!(unpacked.commit, slot.commit);
    }

    #[test]
    fn what_unpacks_to_more_than_is_allowed_is_cut_and_refused() {
        let slot = slot();
        let mut bundle = pack(&key(), &Uid("u".into()), &slot).expect("it is small");
        let zeros = vec![b' '; usize::try_from(MOST_UNPACKED).expect("it fits") + 2];
        bundle.spec.data = BASE64.encode(pack::compress(&zeros).expect("it packs"));
        assert!(unpack(&stored(&bundle)).is_err());
    }
}
