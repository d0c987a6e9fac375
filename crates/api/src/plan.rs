//! What a sync would do, and what it would leave alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{GitPlace, ObjectRef};

/// A plan, as people approve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// What a sync sends back to say that this very plan was seen.
    pub digest: String,
    /// The commit that it leads to; none when the app is being deleted.
    pub revision: Option<String>,
    /// How many objects would be created.
    pub create: u64,
    /// How many would be changed.
    pub update: u64,
    /// How many would be deleted.
    pub delete: u64,
    /// How many hooks would be run.
    #[serde(default)]
    pub hooks: u64,
    /// The steps, ready ones first.
    pub steps: Vec<PlanStep>,
    /// The objects to which nothing is done although something might be expected, each with the reason.
    pub left: Vec<LeftAlone>,
    /// How many objects are as git wants them.
    pub in_sync: u64,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepAction {
    /// Server-side apply.
    Apply,
    /// Deletion.
    Prune,
    /// It stays, and is no longer counted as this app's.
    Release,
    /// A hook is run.
    Run,
    /// A hook that has ended is let go.
    LetGo,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// To which object.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// What.
    pub action: StepAction,
    /// `create`, `update`, `heal`, `recreate`, `namespace`, `gone`, `leaving`, `takenOver`, `moved`, `hook` or `hookOver`.
    pub reason: String,
    /// The same in words: "is not in the cluster yet".
    pub because: String,
    /// Its wave.
    pub wave: i32,
    /// What it waits for, in words; none when it is ready.
    pub waits_for: Option<String>,
    /// What would change, where that is known.
    pub changes: Vec<FieldDiff>,
    /// What would be taken from other writers, where somebody has looked; what of it git does not say goes.
    #[serde(default)]
    pub taken: Vec<TakenFields>,
}

/// Fields that another writer owns now, and this app alone after the sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenFields {
    /// The writer, with the subresource it wrote by: `kubectl-edit`, `kubectl (scale)`.
    pub manager: String,
    /// Their paths; at most eight.
    pub fields: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// In words: `spec.replicas from kubectl-edit`.
    pub text: String,
}

/// One field that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDiff {
    /// The path.
    pub path: String,
    /// What the cluster has; none when it has nothing, or when it is not shown.
    pub before: Option<Value>,
    /// What a sync would put there; none when nothing, or when it is not shown.
    pub after: Option<Value>,
    /// Are the values not shown?
    pub sensitive: bool,
    /// Where git says what a sync would put there.
    pub git_at: Option<GitPlace>,
    /// What that overrides, oldest first: the base a patch was laid over, and the like.
    #[serde(default)]
    pub git_before: Vec<GitPlace>,
}

/// An object to which nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftAlone {
    /// Which.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// `drifted`, `pruneDisabled`, `notOurs`, `neverSeen`, `ownedByOther`, `unobserved`, `hook`, `notServed`,
    /// `failed`, `refused` or `terminating`.
    pub code: String,
    /// In words.
    pub text: String,
}
