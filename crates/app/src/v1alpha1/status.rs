//! `status` of an Application in Argo CD's shape, with our own facts where it has no word.
//!
//! Only `reconcile::status` makes one. Reading is lenient: a status that another tool wrote must not stop an app,
//! so one that cannot be read counts as none.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ApplicationDestination, ApplicationSource, IgnoreDifference, InitiatedBy,
    ManagedNamespaceMetadata, Operation, Time, crd,
};

/// What Lockstep found out about an app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationStatus {
    /// Git against the cluster.
    #[serde(deserialize_with = "lenient")]
    pub sync: SyncStatus,
    /// How the app is doing.
    #[serde(deserialize_with = "lenient")]
    pub health: HealthStatus,
    /// Its objects, sorted by group, kind, namespace and name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub resources: Vec<ResourceStatus>,
    /// The running or last sync.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub operation_state: Option<OperationState>,
    /// The syncs that succeeded, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub history: Vec<RevisionHistory>,
    /// What is wrong, or worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub conditions: Vec<ApplicationCondition>,
    /// Images and addresses.
    #[serde(deserialize_with = "lenient")]
    pub summary: Summary,
    /// When git and the cluster were last compared.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub reconciled_at: Option<Time>,
    /// `Kustomize` or `Directory`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub source_type: Option<String>,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub source_types: Vec<String>,
    /// Empty: each object's health stands beside it in `resources`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub resource_health_source: Option<String>,
    /// Where the daemon runs.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub controller_namespace: Option<String>,
    /// What Argo CD has no word for.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub lockstep: Option<LockstepStatus>,
}

/// Reads what it can; what has another shape counts as not there.
fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned + Default,
{
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Git against the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: String,
    /// The commit that was compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// The part of the spec that was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_to: Option<ComparedTo>,
}

/// The part of the spec that was compared with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComparedTo {
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source: Option<ApplicationSource>,
    /// The sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub sources: Vec<ApplicationSource>,
    /// The destination.
    pub destination: ApplicationDestination,
    /// What was ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub ignore_differences: Vec<IgnoreDifference>,
}

/// How an app or an object is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthStatus {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// One object of the app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceStatus {
    /// Its API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Synced`, `OutOfSync` or `Unknown`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// How it is doing; nothing when there is no rule for its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// It is a hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<bool>,
    /// It is gone from git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_pruning: Option<bool>,
    /// Its deletion waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_deletion_confirmation: Option<bool>,
    /// Its wave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_wave: Option<i64>,
}

/// The running or last sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationState {
    /// What was asked.
    #[schemars(schema_with = "crd::free_form")]
    pub operation: Operation,
    /// `Running`, `Terminating`, `Failed`, `Error` or `Succeeded`.
    pub phase: String,
    /// How it went, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_result: Option<SyncResult>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How often it was tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_count: Option<i64>,
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncResult {
    /// The commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source: Option<ApplicationSource>,
    /// The sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub sources: Vec<ApplicationSource>,
    /// Each object, in the order in which they were done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceResult>,
    /// What the namespace was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
}

/// What a sync did to one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceResult {
    /// Its API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// What was done, or why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Of a hook.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hook_type: String,
    /// `Running`, `Terminating`, `Failed`, `Error` or `Succeeded`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hook_phase: String,
    /// `PreSync`, `Sync` or `PostSync`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sync_phase: String,
    /// The images it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// One sync that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionHistory {
    /// Counted from 0, and never used again.
    pub id: i64,
    /// The commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source: Option<ApplicationSource>,
    /// The sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub sources: Vec<ApplicationSource>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_started_at: Option<Time>,
    /// When it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Time>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<InitiatedBy>,
}

/// What is wrong, or worth knowing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationCondition {
    /// One of Argo CD's types, such as `InvalidSpecError`.
    #[serde(rename = "type")]
    pub type_: String,
    /// In words.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// Images and addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// The images that run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Where it can be reached.
    #[serde(rename = "externalURLs", skip_serializing_if = "Vec::is_empty")]
    pub external_urls: Vec<String>,
    /// It holds Applications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_app_of_apps: Option<bool>,
}

/// What Argo CD has no word for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LockstepStatus {
    /// The app's name on page, command line and REST.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// Its environment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// The app's one word: unknown, failing, syncing, held, drifted or synced.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why it is not synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<StatusReason>,
    /// The digest of the plan: what a sync by hand names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// The commit that the cluster was last brought to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub live_revision: String,
    /// The policy in force on each axis, and which side decided it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, DecidedPolicy>,
}

/// Why an app is not synced, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusReason {
    /// From the reason catalogue.
    pub code: String,
    /// One sentence.
    pub text: String,
    /// What to do next: a command, or who has to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The policy in force on one axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DecidedPolicy {
    /// As it is written in the daemon's configuration.
    pub value: String,
    /// `application`, `environment` or `both`.
    pub decided_by: String,
}
