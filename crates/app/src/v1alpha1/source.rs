//! `spec.source`, with every field of Argo CD's.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NameValue, crd};

/// Where manifests come from, and how they are rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSource {
    /// The repository's address.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// The folder inside the repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Branch, tag, commit or `HEAD`; empty is `HEAD`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_revision: String,
    /// A Helm chart's name in a chart repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub chart: String,
    /// A name by which other sources point to this one's files.
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// A name by which the command line addresses this source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Only tags with this prefix count, and it is cut off before versions are compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag_prefix: String,
    /// Rendered by Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<SourceHelm>,
    /// Rendered as a kustomization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<SourceKustomize>,
    /// A directory of YAML and JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<SourceDirectory>,
    /// Rendered by a plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<SourcePlugin>,
}

/// Options of Helm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceHelm {
    /// Values files, the last wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_files: Vec<String>,
    /// Single values, over all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<HelmParameter>,
    /// Single values out of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_parameters: Vec<HelmFileParameter>,
    /// The release's name; the app's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    /// Values as a text of YAML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub values: String,
    /// Values as a map; over `values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crd::free_form")]
    pub values_object: Option<Value>,
    /// Accepted and without effect, as in Argo CD.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Send credentials to every host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_credentials: Option<bool>,
    /// A values file that is not there is no error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_missing_value_files: Option<bool>,
    /// Leave the chart's CRDs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_crds: Option<bool>,
    /// Leave the chart's tests out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tests: Option<bool>,
    /// Values are not checked against the chart's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_schema_validation: Option<bool>,
    /// The release's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The Kubernetes version that templates see.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// The API versions that templates see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
}

/// One value for Helm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmParameter {
    /// Its path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// It is a text, whatever it looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_string: Option<bool>,
}

/// One value for Helm, out of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmFileParameter {
    /// Its path among the values.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// Overrides of a kustomization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceKustomize {
    /// Before every name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_prefix: String,
    /// After every name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_suffix: String,
    /// `[old=]name[:tag][@digest]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Numbers of replicas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<KustomizeReplica>,
    /// Labels of everything.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common_labels: BTreeMap<String, String>,
    /// Labels are not put into selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_without_selector: Option<bool>,
    /// Labels are put into pod templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_include_templates: Option<bool>,
    /// Labels win over those in git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_common_labels: Option<bool>,
    /// Annotations of everything.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common_annotations: BTreeMap<String, String>,
    /// Variables in annotations are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_annotations_envsubst: Option<bool>,
    /// Annotations win over those in git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_common_annotations: Option<bool>,
    /// The namespace of everything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// More patches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<KustomizePatch>,
    /// More components.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// A component that is not there is no error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_missing_components: Option<bool>,
    /// The version of kustomize.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The Kubernetes version that charts see.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// The API versions that charts see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
}

/// A number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KustomizeReplica {
    /// Of which object.
    pub name: String,
    /// How many.
    pub count: IntOrString,
}

/// One more patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizePatch {
    /// The patch's file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The patch itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub patch: String,
    /// What is patched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<KustomizeTarget>,
    /// Such as `allowNameChange`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, bool>,
}

/// What is patched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizeTarget {
    /// Its API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// By labels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// By annotations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub annotation_selector: String,
}

/// A directory of YAML and JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceDirectory {
    /// Also the folders below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurse: Option<bool>,
    /// Globs with braces; empty takes everything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub include: String,
    /// Globs with braces; wins over `include`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exclude: String,
    /// Options of Jsonnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jsonnet: Option<SourceJsonnet>,
    /// Files with any extension count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_extension_filter: Option<bool>,
}

/// Options of Jsonnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceJsonnet {
    /// External variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ext_vars: Vec<JsonnetVariable>,
    /// Top-level arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tlas: Vec<JsonnetVariable>,
    /// Folders of libraries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub libs: Vec<String>,
}

/// A variable of Jsonnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JsonnetVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The value is code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<bool>,
}

/// Rendered by a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourcePlugin {
    /// Which one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<NameValue>,
    /// Its parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<PluginParameter>,
}

/// A plugin's parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginParameter {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its value, as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// Its value, as a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<BTreeMap<String, String>>,
    /// Its value, as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<Vec<String>>,
}
