//! `Bundle`: what was deployed once, kept so that going back to it applies the same bytes.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RecordedApp, RecordedBase, RecordedObject};

/// The label by which the bundles of one app are found: the id of its set.
pub const BUNDLE_OF: &str = "lockstep.dev/bundle-of";

/// What was deployed once: every object as it was applied, but for what is secret.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lockstep.dev",
    version = "v1alpha1",
    kind = "Bundle",
    plural = "bundles",
    namespaced,
    no_spec,
    derive = "Default",
    derive = "PartialEq",
    doc = "What was deployed once, kept so that going back to it applies the same bytes. Written by the daemon alone.",
    crates(kube_core = "::kube_core", kube = "::kube_derive"),
    printcolumn = r#"{"name":"App","type":"string","jsonPath":".app.name"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".revision"}"#,
    printcolumn = r#"{"name":"Objects","type":"integer","jsonPath":".objects"}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct BundleFields {
    /// Whose it is.
    pub app: RecordedApp,
    /// The digest of everything in it.
    pub digest: String,
    /// The commit.
    pub revision: String,
    /// The first line of its message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When it was committed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub committed_at: String,
    /// `Kustomize` or `Directory`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_type: String,
    /// The commits of other repositories that it is made of, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<RecordedBase>,
    /// How many objects it has.
    pub objects: i64,
    /// The objects that are not secret: a JSON list, compressed by gzip, in base64.
    pub data: String,
    /// The Secrets: which, and the digest that one rendered again has to have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Sealed>,
}

/// A Secret of a bundle, of which only its digest is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sealed {
    /// Which.
    pub object: RecordedObject,
    /// The digest of the whole manifest.
    pub digest: String,
}
