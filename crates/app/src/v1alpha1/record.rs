//! `Record`: what one app may have touched, who acts for it, and on which plan.

use kube_derive::CustomResource;
use lockstep_manifest::{ObjectId, Uid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label on our CRD by which ApplySet tools know that a Record can be the parent of a set.
pub const APPLYSET_PARENT: (&str, &str) = ("applyset.kubernetes.io/is-parent-type", "true");

/// What one app may have touched: written before the objects, and always a superset of what is there.
///
/// It is data of the daemon, not a wish of a person: its fields stand at the top.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lockstep.dev",
    version = "v1alpha1",
    kind = "Record",
    plural = "records",
    namespaced,
    no_spec,
    derive = "Default",
    derive = "PartialEq",
    doc = "What one app may have touched, who acts for it, and on which plan. Written by the daemon alone.",
    crates(kube_core = "::kube_core", kube = "::kube_derive"),
    printcolumn = r#"{"name":"App","type":"string","jsonPath":".app.name"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".revision"}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".epoch","priority":10}"#,
    printcolumn = r#"{"name":"Holder","type":"string","jsonPath":".holder","priority":10}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordFields {
    /// Whose record it is.
    pub app: RecordedApp,
    /// The identity of the replica that acts for the app.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// Raised by one with every change of the holder: what an earlier one still writes is refused.
    pub epoch: i64,
    /// Raised by one with every claim and every note of this app: what was claimed elsewhere counts while it is above
    /// this, in the same epoch or a later one.
    #[serde(skip_serializing_if = "is_zero")]
    pub serial: i64,
    /// The digest of the plan that is being carried out; empty when none is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// The commit the plan is of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The digest of the source's spec under which that commit was rendered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spec: String,
    /// The commits of other repositories that it is made of, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<RecordedBase>,
    /// Every object that may have been touched and is not known to be gone, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// The sync that is under way: another process goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RecordedRun>,
    /// What was done, newest first; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<RecordedDeed>,
    /// Where the app is kept since it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RecordedRollback>,
    /// The digest of what was last deployed in whole, under which a Bundle holds it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bundle: String,
    /// The digest of the labels and annotations that the destination's namespace was given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace_metadata: String,
    /// The Application is gone, and these objects of its were left behind on purpose.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tombstone: bool,
}

/// A sync that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedRun {
    /// The operation's id.
    pub id: String,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: String,
    /// It takes the app's objects away, since the Application is being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// Without hooks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_hooks: bool,
    /// What cannot be changed is deleted and made again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Only these objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<super::SyncOperationResource>,
    /// The deletions that a person let through with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<RecordedObject>,
    /// Its hooks, each with what became of it: none is made twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RecordedHook>,
}

/// Which object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedObject {
    /// Its API group; empty for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for a cluster-scoped object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl From<&ObjectId> for RecordedObject {
    fn from(id: &ObjectId) -> Self {
        Self {
            group: id.group.clone(),
            kind: id.kind.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
        }
    }
}

impl From<RecordedObject> for ObjectId {
    fn from(object: RecordedObject) -> Self {
        Self {
            group: object.group,
            kind: object.kind,
            namespace: object.namespace,
            name: object.name,
        }
    }
}

/// A hook of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedHook {
    /// `PreSync`, `Sync`, `PostSync`, `SyncFail`, `PreDelete` or `PostDelete`.
    pub phase: String,
    /// Which.
    pub object: RecordedObject,
    /// Its uid, once the server said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `Claimed`, `Running`, `Succeeded` or `Failed`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedDeed {
    /// The operation's id; of a heal, the object.
    pub id: String,
    /// `sync`, `rollback`, `heal`, `deletion` or `release`.
    pub kind: String,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// It did not end well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The digest of the source's spec.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spec: String,
    /// How many objects were written; of a heal, how often.
    pub objects: i64,
    /// In words.
    pub text: String,
}

/// Where an app is kept instead of at what its target names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedRollback {
    /// The commit.
    pub to: String,
    /// The digest of what was deployed of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bundle: String,
    /// The commits of other repositories that it was made of, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<RecordedBase>,
    /// What the target named then.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: String,
    /// `newer-commit`, `release`, or a time.
    pub until: String,
}

/// Whose record it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedApp {
    /// The Application's name.
    pub name: String,
    /// The Application's uid: the app's identity.
    pub uid: String,
}

/// Another repository that a kustomization names, and the commit that was taken of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedBase {
    /// Its address.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Branch, tag or commit, as written; empty for `HEAD`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_revision: String,
    /// The commit.
    pub revision: String,
}

/// One object that may have been touched.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// Its API group; empty for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for a cluster-scoped object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, once the server said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The version it was last applied in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of the manifest that was last applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The fingerprint of what the server answered to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Its wave: deletion goes in reverse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<i64>,
    /// What it said of `Prune` when it was last applied: `true`, `false` or `confirm`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prune: String,
    /// What it said of `Delete` when it was last applied: `true`, `false` or `confirm`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub delete: String,
    /// `PruneLast=true` stood on it when it was last applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prune_last: bool,
    /// It is a hook.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    /// An earlier record was lost, and its mark alone says whose it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_mark_alone: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Entry {
    /// An entry that says no more than which object it is.
    pub fn of(id: &ObjectId) -> Self {
        Self {
            group: id.group.clone(),
            kind: id.kind.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            ..Self::default()
        }
    }

    /// Which object it is.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Its uid, once the server said it.
    pub fn uid(&self) -> Option<Uid> {
        self.uid.clone().map(Uid)
    }
}
