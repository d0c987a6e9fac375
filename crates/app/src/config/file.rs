//! The configuration as written. Its docs are the reference; what holds by default stands in `default`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

/// The whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigFile {
    /// Where Applications, projects and their Secrets live.
    pub namespace: String,
    /// Directories of Application files, from the folder of this file.
    pub applications: Vec<String>,
    /// The page and the REST interface.
    pub http: HttpFile,
    /// How git is asked.
    pub git: GitFile,
    /// Where the webhook's secret is.
    pub webhook: Option<WebhookFile>,
    /// In the order of promotion.
    pub environments: Vec<EnvironmentFile>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            namespace: "argocd".to_owned(),
            applications: Vec::new(),
            http: HttpFile::default(),
            git: GitFile::default(),
            webhook: None,
            environments: Vec::new(),
        }
    }
}

/// `http`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFile {
    /// Address and port.
    pub listen: String,
    /// `token` or `open`: who may look. Writing always takes a token.
    #[schemars(schema_with = "access")]
    pub access: String,
    /// What one client may cost.
    pub limits: HttpLimitsFile,
}

impl Default for HttpFile {
    fn default() -> Self {
        Self {
            // Loopback, so that a daemon that nobody configured is nobody else's to look at.
            listen: "127.0.0.1:8080".to_owned(),
            access: "token".to_owned(),
            limits: HttpLimitsFile::default(),
        }
    }
}

/// `http.limits`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpLimitsFile {
    /// The largest body of a request.
    pub body: String,
    /// Requests at the same time.
    #[schemars(schema_with = "whole")]
    pub requests: i64,
    /// Live pages at the same time.
    #[schemars(schema_with = "whole")]
    pub streams: i64,
    /// How long one request may take.
    pub timeout: String,
}

impl Default for HttpLimitsFile {
    fn default() -> Self {
        Self {
            // GitHub sends at most 25 MB and describes a push in far less than one.
            body: "1MiB".to_owned(),
            requests: 256,
            streams: 128,
            timeout: "60s".to_owned(),
        }
    }
}

/// `git`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitFile {
    /// How often each remote is asked for news.
    pub poll: String,
    /// Up to how much longer, by chance.
    pub jitter: String,
    /// How long one answer may take.
    pub timeout: String,
    /// Whether kustomizations may name other repositories where the project's `sourceRepos` is just `*`.
    pub remote_bases: bool,
    /// What one repository may cost.
    pub limits: GitLimitsFile,
}

impl Default for GitFile {
    fn default() -> Self {
        Self {
            poll: "60s".to_owned(),
            jitter: "10s".to_owned(),
            timeout: "60s".to_owned(),
            // `*` is what everybody starts with; it should not let every commit bring in what it likes.
            remote_bases: false,
            limits: GitLimitsFile::default(),
        }
    }
}

/// `git.limits`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitLimitsFile {
    /// Fetches at the same time.
    #[schemars(schema_with = "whole")]
    pub fetches: i64,
    /// The most that one fetch may bring.
    pub size: String,
    /// The most files in one revision.
    #[schemars(schema_with = "whole")]
    pub files: i64,
    /// The largest file that is read.
    pub file_size: String,
}

impl Default for GitLimitsFile {
    fn default() -> Self {
        Self {
            fetches: 8,
            size: "1GiB".to_owned(),
            files: 100_000,
            // Argo CD's cap on one app's manifests, and three times what an API server takes in one request.
            file_size: "10MiB".to_owned(),
        }
    }
}

/// `webhook`: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookFile {
    /// A key of a Secret of the daemon's namespace.
    pub secret: Option<SecretFile>,
    /// A file, from the folder of this one.
    pub file: Option<String>,
}

/// `webhook.secret`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretFile {
    /// The Secret's name.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// One of `environments`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentFile {
    /// As in the label `lockstep.dev/environment`.
    pub name: String,
    /// `apply`, `approve` or `hold`.
    #[serde(default)]
    #[schemars(schema_with = "new_commit")]
    pub new_commit: Option<String>,
    /// `heal`, `report` or `{healAfter: 5m}`.
    #[serde(default)]
    #[schemars(schema_with = "word_or_map")]
    pub drift: Option<Value>,
    /// `prune`, `approve` or `keep`.
    #[serde(default)]
    #[schemars(schema_with = "deletion")]
    pub deletion: Option<String>,
    /// How many deletions of one app go without a person.
    #[serde(default)]
    pub prune_budget: Option<PruneBudgetFile>,
}

/// `pruneBudget` of an environment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneBudgetFile {
    /// So many objects, however few the app has.
    #[serde(default)]
    #[schemars(schema_with = "whole")]
    pub objects: Option<u32>,
    /// And so many of a hundred, when that is more.
    #[serde(default)]
    #[schemars(schema_with = "whole")]
    pub percent: Option<u32>,
}

fn access(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["token", "open"]})
}

fn new_commit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["apply", "approve", "hold"], "nullable": true})
}

fn deletion(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["prune", "approve", "keep"], "nullable": true})
}

/// Checked where it is lowered.
fn word_or_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

fn whole(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}
