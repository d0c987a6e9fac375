//! The custom resources as written: Argo CD's `Application` and `AppProject`, and our own `Record` and `Bundle`.
//!
//! Shape: the structs mirror the text and have no methods but reading; their docs become the descriptions in the
//! CRDs under `manifests/crds`. Source: `argo-cd.md` 1.7 and 1.8.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod bundle;
mod crd;
mod project;
mod read;
mod record;
mod source;
mod status;

pub use bundle::*;
pub use crd::crds;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
pub use project::*;
pub use record::*;
pub use source::*;
pub use status::*;

/// What an `Application` says beside its metadata and status.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    namespaced,
    no_spec,
    status = "ApplicationStatus",
    shortname = "app",
    shortname = "apps",
    derive = "Default",
    derive = "PartialEq",
    doc = "One app: which manifests from git belong where, and what may happen to them by itself.",
    crates(kube_core = "::kube_core", kube = "::kube_derive"),
    printcolumn = r#"{"name":"Sync Status","type":"string","jsonPath":".status.sync.status"}"#,
    printcolumn = r#"{"name":"Health Status","type":"string","jsonPath":".status.health.status"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.sync.revision","priority":10}"#,
    printcolumn = r#"{"name":"Project","type":"string","jsonPath":".spec.project","priority":10}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationFields {
    /// What is wanted.
    pub spec: ApplicationSpec,
    /// A sync that somebody asked for; it is taken away when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Paths of fields that stand in the object and not in the schema: recorded by [`Application::read`].
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// What is wanted of an app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSpec {
    /// The AppProject whose rules hold; empty means `default`.
    pub project: String,
    /// Where the manifests come from; ignored when `sources` has entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ApplicationSource>,
    /// Several places where the manifests come from; of two that render one object the last wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ApplicationSource>,
    /// Renders dry manifests to another branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source_hydrator: Option<Value>,
    /// Where the objects go.
    pub destination: ApplicationDestination,
    /// What may happen by itself, and how a sync is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
    /// Differences that are nobody's business.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<IgnoreDifference>,
    /// Facts for people; addresses become links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<NameValue>,
    /// How many syncs are remembered; 10 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i64>,
}

/// Where an app's objects go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationDestination {
    /// The API server's address; either this or `name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// The cluster's name; either this or `server`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace of objects that name none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What may happen by itself, and how a sync is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// New commits are applied by themselves when this is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<Automated>,
    /// `NAME=VALUE`, such as `CreateNamespace=true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
    /// How a failed sync is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStrategy>,
    /// Labels and annotations of the namespace that `CreateNamespace=true` makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_namespace_metadata: Option<ManagedNamespaceMetadata>,
}

/// What happens without a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Objects gone from git are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Changes by hand are put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_heal: Option<bool>,
    /// A commit that renders nothing may prune everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
    /// False switches all of it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How a failed sync is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryStrategy {
    /// How often: 0 is never, below 0 is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// How long between tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// A newer commit is taken into the retried sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<bool>,
}

/// How long between tries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// The first wait, such as `5s`; a bare number is seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What the wait is multiplied by each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<i64>,
    /// The longest wait, such as `3m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<String>,
}

/// Labels and annotations of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedNamespaceMetadata {
    /// Its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<std::collections::BTreeMap<String, String>>,
    /// Its annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// Differences that are nobody's business.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IgnoreDifference {
    /// The API group; `*` is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind; `*` is any.
    pub kind: String,
    /// The namespace; empty is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name; empty is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// JSON pointers (RFC 6901) to the values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// jq paths to the values.
    #[serde(rename = "jqPathExpressions", skip_serializing_if = "Vec::is_empty")]
    pub jq_path_expressions: Vec<String>,
    /// Field managers whose fields are ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_fields_managers: Vec<String>,
}

/// A name with a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NameValue {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A sync that somebody asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncOperation>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<InitiatedBy>,
    /// Facts for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<NameValue>,
    /// How it is tried again when it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStrategy>,
}

/// What a sync is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperation {
    /// The revision to sync to, instead of the target's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The same for each of several sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<String>,
    /// Objects gone from git are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Nothing is changed; the result says what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// With hooks or without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_strategy: Option<SyncStrategy>,
    /// Only these objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<SyncOperationResource>,
    /// Another source than the spec's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source: Option<Value>,
    /// Other sources than the spec's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub sources: Vec<Value>,
    /// Manifests given with the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
    /// Sync options beside the spec's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
    /// How often in a row this app was healed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_heal_attempts_count: Option<i64>,
}

/// With hooks or without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStrategy {
    /// Without hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<SyncStrategyForce>,
    /// With hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<SyncStrategyForce>,
}

/// Whether objects that cannot be changed are made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStrategyForce {
    /// Delete and create again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

/// One object of a sync of some.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperationResource {
    /// Its API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Who asked for a sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InitiatedBy {
    /// A person or a token, by name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Nobody: it happened by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<bool>,
}

#[cfg(test)]
mod tests;
