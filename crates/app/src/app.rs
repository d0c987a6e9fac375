//! One app, as meant: what an Application says once it is read, checked and put under its environment's policy.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_manifest::marks::Deletable;
use lockstep_manifest::{Sensitive, Uid};
use serde::{Deserialize, Serialize};

use crate::kustomize::Kustomize;
use crate::policy::Policy;

/// Which Application: its namespace and name in the control-plane cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AppKey {
    /// The namespace of the Application object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A git commit, complete: 40 or 64 lowercase hex digits. Never a branch, a tag or a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

/// The text is no complete commit id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a complete commit id")]
pub struct NotARevision(String);

impl Revision {
    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if digits && (text.len() == 40 || text.len() == 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARevision(text.to_owned()))
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository's address, normalised; it never shows user information.
///
/// Shape: `http://` or `https://`, host in lower case, no user, no query, no trailing slash, `.git` kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteUrl(String);

/// The address is not one that can be fetched from.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotARemote {
    /// Another scheme than http and https.
    #[error("repository addresses start with https:// or http://; {scheme:?} is not served")]
    Scheme {
        /// What stood before `://`, or nothing.
        scheme: String,
    },
    /// User and password in the address.
    #[error(
        "the repository address carries a user or a password; put them into a repository Secret"
    )]
    UserInfo,
    /// No host, or characters that do not belong there.
    #[error("the repository address has no host")]
    Host,
}

impl RemoteUrl {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the same repository, by Argo CD's measure: case and a trailing `.git` do not count?
    pub fn same_repository(&self, other: &str) -> bool {
        let plain = |url: &str| {
            url.trim_end_matches('/')
                .trim_end_matches(".git")
                .to_ascii_lowercase()
        };
        plain(&self.0) == plain(other)
    }
}

impl FromStr for RemoteUrl {
    type Err = NotARemote;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| NotARemote::Scheme {
            scheme: String::new(),
        })?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(NotARemote::Scheme { scheme });
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(NotARemote::UserInfo);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(NotARemote::Host);
        }
        let path = path
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let host = host.to_ascii_lowercase();
        Ok(Self(if path.is_empty() {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}/{path}")
        }))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Another repository that a kustomization names, at one of its targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base {
    /// The repository.
    pub remote: RemoteUrl,
    /// Branch, tag, commit or full ref, as written; empty means `HEAD`.
    pub target: String,
}

impl Base {
    /// The commit, when the target is a complete id: then there is nothing to ask.
    pub fn pinned(&self) -> Option<Revision> {
        self.target.parse().ok()
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target.as_str() {
            "" => write!(f, "{}", self.remote),
            target => write!(f, "{}@{target}", self.remote),
        }
    }
}

/// The commits that the targets of bases name.
pub type Bases = BTreeMap<Base, Revision>;

/// Where an app's manifests come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The repository.
    pub remote: RemoteUrl,
    /// Branch, tag, commit, full ref or `HEAD`, as written; empty means `HEAD`.
    pub target: String,
    /// The folder inside the repository, without leading or trailing slash; empty is the root.
    pub path: String,
    /// How it is rendered, when the spec says so.
    pub kind: SourceType,
}

/// How a source is rendered.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum SourceType {
    /// The spec does not say: a kustomization file makes it a kustomization, else it is a directory.
    #[default]
    Detect,
    /// A directory of YAML and JSON.
    Directory(Directory),
    /// A kustomization, and what the app changes in it.
    Kustomize(Box<Kustomize>),
}

/// `spec.source.directory`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Directory {
    /// Also the folders below.
    pub recurse: bool,
    /// Globs with braces; empty takes everything.
    pub include: String,
    /// Globs with braces; wins over `include`.
    pub exclude: String,
}

/// One rule of `ignoreDifferences`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ignore {
    /// A glob.
    pub group: String,
    /// A glob.
    pub kind: String,
    /// Exact; empty is any.
    pub namespace: String,
    /// Exact; empty is any.
    pub name: String,
    /// Which values are nobody's business of ours.
    pub json_pointers: Vec<String>,
}

/// What happens to the objects when the Application is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// No finalizer: they stay.
    Orphan,
    /// `resources-finalizer.argocd.argoproj.io`: they go, in reverse order, foreground.
    Cascade(lockstep_manifest::write::Propagation),
}

/// A sync that somebody asked for: Argo CD's top-level `operation`, or our own REST call.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent switches, as Argo CD has them"
)]
pub struct RequestedSync {
    /// Who asked, as far as known.
    pub by: String,
    /// The plan's digest which the person saw; none means whatever the plan is now.
    pub plan: Option<String>,
    /// May this sync delete?
    pub prune: bool,
    /// A complete commit id to sync to, instead of the target's.
    pub revision: Option<Revision>,
    /// Plan only.
    pub dry_run: bool,
    /// Only these objects; empty is all of them.
    pub resources: Vec<Selected>,
    /// `syncStrategy.apply`: without hooks.
    pub skip_hooks: bool,
    /// `syncStrategy.*.force`: what cannot be changed is deleted and made again.
    pub force: bool,
    /// How a refused object is tried again; none is what the spec says, if it says anything.
    pub retry: Option<Retry>,
}

/// One object, or several by `*`, as an operation names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty is any.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// `spec.syncPolicy.retry`, with Argo CD's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often; none is for ever.
    pub limit: Option<u32>,
    /// The first wait.
    pub first: Duration,
    /// What the wait is multiplied by.
    pub factor: u32,
    /// The longest wait.
    pub longest: Duration,
}

impl Retry {
    /// Not at all.
    pub fn never() -> Self {
        Self {
            limit: Some(0),
            ..Self::default()
        }
    }

    /// How long to wait after it was refused so many times; none when that was often enough.
    pub fn wait(&self, times: u32) -> Option<Duration> {
        if self.limit.is_some_and(|limit| times > limit) {
            return None;
        }
        let factor = self
            .factor
            .max(1)
            .saturating_pow(times.saturating_sub(1).min(16));
        let wait = self.first.saturating_mul(factor);
        Some(wait.min(self.longest.max(self.first)))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            limit: Some(5),
            first: Duration::from_secs(5),
            factor: 2,
            longest: Duration::from_mins(3),
        }
    }
}

/// One app, as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Which Application.
    pub key: AppKey,
    /// Its uid: the app's identity, whatever it is called.
    pub uid: Uid,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// The name on page, CLI and REST.
    pub name: String,
    /// The environment's name; `default` for an Application without the label.
    pub environment: String,
    /// The AppProject.
    pub project: String,
    /// Where its manifests come from, in order.
    pub sources: Vec<Source>,
    /// `spec.destination.namespace`; empty when not given.
    pub namespace: String,
    /// `spec.destination.server` or `name`, as written, for project checks and for showing.
    pub destination: Destination,
    /// What may happen by itself.
    pub policy: Policy,
    /// `CreateNamespace=true`.
    pub create_namespace: bool,
    /// `syncPolicy.managedNamespaceMetadata`: labels and annotations of that namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// See `namespace_labels`.
    pub namespace_annotations: BTreeMap<String, String>,
    /// The sync options at application level.
    pub options: SyncOptions,
    /// `spec.ignoreDifferences`.
    pub ignore: Vec<Ignore>,
    /// How a sync by itself tries again what was refused: five times when the spec does not say.
    pub retry: Retry,
    /// The same for a sync by a person: not at all when the spec does not say.
    pub retry_by_hand: Retry,
    /// How long a sync waits for one thing: `lockstep.dev/sync-timeout`, ten minutes when it does not say.
    pub sync_timeout: Duration,
    /// How many syncs are remembered in the status.
    pub history_limit: usize,
    /// What happens to the objects when the Application goes.
    pub on_delete: OnDelete,
    /// Is the Application being deleted (`metadata.deletionTimestamp`)?
    pub leaving: bool,
    /// Since when it is.
    pub leaving_since: Option<Timestamp>,
    /// `argocd.argoproj.io/deletion-approved`: when somebody confirmed deletions.
    pub deletion_approved: Option<Timestamp>,
    /// The finalizers that stand on the Application.
    pub finalizers: Vec<String>,
    /// The `argocd.argoproj.io/refresh` annotation, when it is there.
    pub refresh: Option<String>,
    /// `argocd.argoproj.io/skip-reconcile: "true"`.
    pub skip: bool,
    /// The top-level `operation`, when it is there.
    pub requested: Option<RequestedSync>,
    /// Fields that the schema accepts and this version does not act on, as paths: named in a condition.
    pub not_acted_on: Vec<String>,
    /// Digest of the source-relevant spec: when it changes, git is asked again.
    pub source_digest: String,
}

/// Where an app's objects go.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Destination {
    /// The API server's address, empty when named by `name`.
    pub server: String,
    /// The cluster's name, empty when named by `server`.
    pub name: String,
}

/// Application-level sync options that this version acts on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent switches, as Argo CD has them"
)]
pub struct SyncOptions {
    /// `Prune=false|confirm`, for objects that do not say it themselves.
    pub prune: Deletable,
    /// `Delete=false|confirm`, for objects that do not say it themselves.
    pub delete: Deletable,
    /// `PruneLast=true`.
    pub prune_last: bool,
    /// `FailOnSharedResource=true`: a sync does nothing while another app has one of the objects.
    pub fail_on_shared: bool,
    /// `SkipDryRunOnMissingResource=true`: an object whose kind is not served waits for it.
    pub waits_for_kinds: bool,
    /// `PrunePropagationPolicy`.
    pub propagation: lockstep_manifest::write::Propagation,
    /// `RespectIgnoreDifferences=true`.
    pub respect_ignore_differences: bool,
    /// `Validate=false`: what the schema does not know is dropped instead of refused.
    pub no_validate: bool,
    /// `Replace=true`: what others wrote goes, unless git says it.
    pub replace: bool,
    /// `ClientSideApplyMigration=false`: what other tools left behind stays theirs.
    pub no_takeover: bool,
    /// The annotation `argocd.argoproj.io/client-side-apply-migration-manager`: one more tool that left things behind.
    pub takes_over_from: Option<String>,
}

/// How to log in to a repository: Argo CD's repository and repo-creds Secrets, basic or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user; token-only Secrets use the name that hosts accept with a token.
    pub user: String,
    /// The password or token.
    pub password: Sensitive<String>,
    /// Which Secret it came from, for error texts: `namespace/name`.
    pub secret: String,
}
