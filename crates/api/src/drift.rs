//! What differs from git, by whom, since when.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{GitPlace, ObjectRef};
use crate::time::Time;

/// The drift ledger of one app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// When cluster and git were last compared.
    pub checked_at: Option<Time>,
    /// How many objects were compared.
    pub objects_compared: u64,
    /// How many fields differ, objects that are gone counted as one each.
    pub fields: u64,
    /// What happens to drift here: `heal`, `healAfter`, `report`.
    pub policy: Option<String>,
    /// The objects that differ.
    pub objects: Vec<DriftObject>,
    /// What others wrote beside what git says, by object: no drift, and left alone.
    #[serde(default)]
    pub others: Vec<OtherFields>,
}

/// What others wrote to one object beside what git says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherFields {
    /// Which.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// How many fields there are.
    pub count: u64,
    /// The first of them; at most eight. Of what is nested only the topmost thing is named.
    pub fields: Vec<OtherField>,
}

/// One thing that somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherField {
    /// `spec.replicas`.
    pub path: String,
    /// What it is.
    pub kind: OtherKind,
    /// The writer, with the subresource it wrote by: `kube-controller-manager (scale)`.
    pub by: String,
}

/// What it is that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OtherKind {
    /// One more key or item beside git's: a label, an environment variable, a port.
    Addition,
    /// A field that git leaves open.
    Field,
}

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftObject {
    /// Which.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// Is it gone altogether? Then `fields` is empty.
    pub missing: bool,
    /// When it is put back by itself.
    pub will_revert_at: Option<Time>,
    /// The fields that differ.
    pub fields: Vec<DriftField>,
}

/// How a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Both have it, with different values.
    Changed,
    /// The cluster has it, git does not.
    Added,
    /// Git has it, the cluster does not.
    Removed,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftField {
    /// `spec.template.spec.containers[web].image`.
    pub path: String,
    /// How.
    pub kind: Change,
    /// Git's value; none when it has none, or when it is not shown.
    pub git: Option<Value>,
    /// The cluster's value; none when it has none, or when it is not shown.
    pub live: Option<Value>,
    /// Are the values not shown?
    pub sensitive: bool,
    /// Where git says so.
    pub git_at: Option<GitPlace>,
    /// What that overrides, oldest first: the base a patch was laid over, and the like.
    #[serde(default)]
    pub git_before: Vec<GitPlace>,
    /// Who wrote it, as far as the server's bookkeeping tells; several may own it.
    pub by: Vec<Writer>,
    /// When it was noticed.
    pub noticed_at: Time,
}

/// How exact a writer's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// That second.
    Exact,
    /// Not later.
    NoLaterThan,
}

/// A tool that wrote a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// The field manager's name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource, when it was not the object itself.
    pub subresource: Option<String>,
    /// When this manager last wrote to the object.
    pub at: Option<Time>,
    /// How exact that is for this field.
    pub precision: Precision,
}
