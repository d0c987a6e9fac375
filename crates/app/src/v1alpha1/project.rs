//! `AppProject`, with every field of Argo CD's.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::crd;

/// What the apps of a project may come from, go to and consist of.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AppProject",
    plural = "appprojects",
    namespaced,
    status = "AppProjectStatus",
    shortname = "appproj",
    shortname = "appprojs",
    derive = "Default",
    derive = "PartialEq",
    doc = "What the apps of a project may come from, go to and consist of.",
    crates(kube_core = "::kube_core", kube = "::kube_derive")
)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProjectSpec {
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Repositories, as globs; a leading `!` denies; `*` alone is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_repos: Vec<String>,
    /// Where objects may go, as globs; a leading `!` denies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<ProjectDestination>,
    /// Cluster-scoped kinds that are allowed; none when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_resource_whitelist: Option<Vec<ClusterResourceRule>>,
    /// Cluster-scoped kinds that are denied; wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_resource_blacklist: Vec<ClusterResourceRule>,
    /// Namespaced kinds that are allowed; all when not given, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_resource_whitelist: Option<Vec<ResourceRule>>,
    /// Namespaced kinds that are denied; wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_resource_blacklist: Vec<ResourceRule>,
    /// Objects of no app in the project's namespaces are told about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub orphaned_resources: Option<Value>,
    /// Roles with policies and tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub roles: Vec<Value>,
    /// When syncs may happen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub sync_windows: Vec<Value>,
    /// Namespaces beside the daemon's own where Applications may live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_namespaces: Vec<String>,
    /// Only clusters whose Secret names this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_only_project_scoped_clusters: Option<bool>,
    /// Who the daemon acts as, by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub destination_service_accounts: Vec<Value>,
    /// Keys with which commits must be signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::free_form_list")]
    pub signature_keys: Vec<Value>,
    /// How commits must be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub source_integrity: Option<Value>,
}

/// Where objects may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectDestination {
    /// The API server's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// A kind without its version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// A cluster-scoped kind, or some objects of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterResourceRule {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name; empty is any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What Argo CD keeps about a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProjectStatus {
    /// The tokens of each role, by when they were issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub jwt_tokens_by_role: Option<Value>,
}
