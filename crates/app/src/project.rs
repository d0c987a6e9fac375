//! What a project allows, and the only way to a write.

use std::fmt;

use lockstep_manifest::{GroupKind, Verb, Write};

use crate::app::{App, RemoteUrl};
use crate::fault::{Blame, Fault};
use crate::glob::Glob;
use crate::spec_error::SpecError;
use crate::v1alpha1::{
    AppProject, AppProjectSpec, ClusterResourceRule, ObjectMeta, ProjectDestination, ResourceRule,
};

/// How Argo CD's files name the cluster that the daemon runs in.
pub const OWN_SERVER: &str = "https://kubernetes.default.svc";

/// The same by name.
pub const OWN_CLUSTER: &str = "in-cluster";

/// Whether a kind lives in namespaces. It comes from discovery, or from `kinds` for what is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// It does.
    Namespaced,
    /// It does not.
    Cluster,
}

/// Something that a project allowed. Only [`Project::authorize`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorized<T>(T);

impl<T> Authorized<T> {
    /// What was allowed.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was allowed, to be carried out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// One list of a project's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `spec.sourceRepos`.
    SourceRepos,
    /// `spec.sourceRepos` allows the repository by `*` alone, and `git.remoteBases` of the daemon is off.
    RemoteBases,
    /// `spec.destinations`.
    Destinations,
    /// `spec.clusterResourceWhitelist`.
    ClusterResourceWhitelist,
    /// `spec.clusterResourceBlacklist`.
    ClusterResourceBlacklist,
    /// `spec.namespaceResourceWhitelist`.
    NamespaceResourceWhitelist,
    /// `spec.namespaceResourceBlacklist`.
    NamespaceResourceBlacklist,
    /// The app names another project than the one that was asked.
    Membership,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceRepos => "spec.sourceRepos",
            Self::RemoteBases => {
                "spec.sourceRepos names it only by `*`, and git.remoteBases is off"
            }
            Self::Destinations => "spec.destinations",
            Self::ClusterResourceWhitelist => "spec.clusterResourceWhitelist",
            Self::ClusterResourceBlacklist => "spec.clusterResourceBlacklist",
            Self::NamespaceResourceWhitelist => "spec.namespaceResourceWhitelist",
            Self::NamespaceResourceBlacklist => "spec.namespaceResourceBlacklist",
            Self::Membership => "spec.project",
        })
    }
}

/// The project does not allow it: by which list, and what would have to stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("project {project} does not allow {what} ({rule})")]
pub struct Refused {
    /// Which project.
    pub project: String,
    /// Which of its lists.
    pub rule: Rule,
    /// What was asked.
    pub what: String,
    /// What to write into the list, or to take out of it.
    pub hint: String,
}

impl Refused {
    /// The same as a fault: the user's move.
    pub fn fault(&self) -> Fault {
        let code = match self.rule {
            Rule::RemoteBases => "project.remote_base",
            _ => "project.refused",
        };
        Fault::new(Blame::User, code, self.to_string()).hint(self.hint.clone())
    }
}

/// A glob that may deny.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    denies: bool,
    glob: Glob,
}

impl Pattern {
    fn new(text: &str, separator: Option<char>, at: &str, errors: &mut Vec<SpecError>) -> Self {
        let (denies, body) = match text.strip_prefix('!') {
            Some(body) => (true, body),
            None => (false, text),
        };
        // Never matches: used only together with an error, which keeps the project from being made.
        let nothing = Glob::new("", None).expect("an empty pattern is a glob");
        let glob = Glob::new(body, separator).unwrap_or_else(|error| {
            errors.push(SpecError::new(at, error.to_string()));
            nothing
        });
        Self {
            text: text.to_owned(),
            denies,
            glob,
        }
    }

    /// Does it name no host, so that it speaks of no repository in particular?
    fn is_open(&self) -> bool {
        let host = self
            .text
            .split_once("://")
            .map_or(&*self.text, |(_, rest)| rest);
        host.is_empty() || host.starts_with('*')
    }

    /// As Argo CD has it: a pattern that denies matches everything that it does not deny.
    fn matches(&self, text: &str) -> bool {
        self.glob.matches(text) != self.denies
    }
}

/// One entry of `spec.destinations`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    server: Pattern,
    name: Pattern,
    namespace: Pattern,
}

/// One entry of a list of kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KindRule {
    group: Glob,
    kind: Glob,
    name: Option<Glob>,
}

impl KindRule {
    fn matches(&self, gk: &GroupKind, name: &str) -> bool {
        self.group.matches(&gk.group)
            && self.kind.matches(&gk.kind)
            && self.name.as_ref().is_none_or(|glob| glob.matches(name))
    }
}

/// What the apps of a project may come from, go to and consist of.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Fields that stand in it and this version does not act on, as paths.
    pub not_acted_on: Vec<String>,
    sources: Vec<Pattern>,
    destinations: Vec<Place>,
    cluster_allowed: Vec<KindRule>,
    cluster_denied: Vec<KindRule>,
    namespaced_allowed: Option<Vec<KindRule>>,
    namespaced_denied: Vec<KindRule>,
}

impl Project {
    /// Lowers what was written. Errors: all at once; signed commits are asked for, which this version cannot check.
    pub fn lower(written: &AppProject) -> Result<Self, Vec<SpecError>> {
        let spec = &written.spec;
        let mut errors = Vec::new();
        if spec.source_integrity.is_some() || !spec.signature_keys.is_empty() {
            let at = if spec.source_integrity.is_some() {
                "sourceIntegrity"
            } else {
                "signatureKeys"
            };
            errors.push(
                SpecError::new(
                    format!("/spec/{at}"),
                    "commits are not checked for signatures in this version",
                )
                .hint("take it out, or leave this project's apps to Argo CD"),
            );
        }
        let sources = spec
            .source_repos
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let at = format!("/spec/sourceRepos/{i}");
                if text == "!*" {
                    errors.push(SpecError::new(at.as_str(), "`!*` denies everything"));
                }
                Pattern::new(&normal(text), Some('/'), &at, &mut errors)
            })
            .collect();
        let destinations = spec
            .destinations
            .iter()
            .enumerate()
            .map(|(i, place)| {
                let mut part = |key: &str, text: &str| {
                    Pattern::new(
                        text,
                        None,
                        &format!("/spec/destinations/{i}/{key}"),
                        &mut errors,
                    )
                };
                Place {
                    server: part("server", &place.server),
                    name: part("name", &place.name),
                    namespace: part("namespace", &place.namespace),
                }
            })
            .collect();
        let mut kinds = Kinds {
            errors: &mut errors,
        };
        let project = Self {
            name: written.metadata.name.clone().unwrap_or_default(),
            not_acted_on: not_acted_on(spec),
            sources,
            destinations,
            cluster_allowed: kinds.cluster(
                "clusterResourceWhitelist",
                spec.cluster_resource_whitelist
                    .as_deref()
                    .unwrap_or_default(),
            ),
            cluster_denied: kinds
                .cluster("clusterResourceBlacklist", &spec.cluster_resource_blacklist),
            namespaced_allowed: spec
                .namespace_resource_whitelist
                .as_deref()
                .map(|list| kinds.namespaced("namespaceResourceWhitelist", list)),
            namespaced_denied: kinds.namespaced(
                "namespaceResourceBlacklist",
                &spec.namespace_resource_blacklist,
            ),
        };
        if errors.is_empty() {
            Ok(project)
        } else {
            Err(errors)
        }
    }

    /// The project `default` as Argo CD makes it: everything is allowed.
    pub fn permissive_default() -> Self {
        Self::lower(&permissive_default("")).expect("`*` is a glob in every list")
    }

    /// Does it allow everything? It is shown then, on the page and in a metric.
    pub fn is_permissive(&self) -> bool {
        let open = Self::permissive_default();
        Self {
            name: String::new(),
            not_acted_on: Vec::new(),
            ..self.clone()
        } == Self {
            name: String::new(),
            ..open
        }
    }

    /// Allows one write of one app, or says which rule stands against it.
    ///
    /// Shape: the app's sources are looked at for what is applied, not for what is deleted, so that a source that
    /// was forbidden later keeps nobody from cleaning up. Source: `argo-cd.md` 1.8.
    pub fn authorize(
        &self,
        app: &App,
        write: Write,
        scope: Scope,
    ) -> Result<Authorized<Write>, Refused> {
        if app.project != self.name {
            return Err(self.refuse(
                Rule::Membership,
                format!(
                    "anything to app {}, which names project {}",
                    app.key, app.project
                ),
                "this is a bug in Lockstep; report it".to_owned(),
            ));
        }
        if !matches!(write.verb, Verb::Delete(_)) {
            for source in &app.sources {
                self.allows_source(&source.remote)?;
            }
        }
        self.allows_kind(&write, scope)?;
        match scope {
            Scope::Namespaced => self.allows_namespace(&write.id.namespace)?,
            Scope::Cluster => {}
        }
        Ok(Authorized(write))
    }

    /// Allows the one namespace that `CreateNamespace=true` asks for: the destination's own. Like Argo CD it needs the
    /// destination to be allowed, not the kind.
    pub fn authorize_namespace(
        &self,
        app: &App,
        write: Write,
    ) -> Result<Authorized<Write>, Refused> {
        let is_the_one = app.create_namespace
            && write.id.group.is_empty()
            && write.id.kind == "Namespace"
            && write.id.name == app.namespace
            && write.verb == Verb::Apply;
        if !is_the_one || app.project != self.name {
            return self.authorize(app, write, Scope::Cluster);
        }
        for source in &app.sources {
            self.allows_source(&source.remote)?;
        }
        self.allows_namespace(&app.namespace)?;
        Ok(Authorized(write))
    }

    /// May this project's apps come from there?
    pub fn allows_source(&self, remote: &RemoteUrl) -> Result<(), Refused> {
        let address = normal(remote.as_str());
        let mut allowed = false;
        for pattern in &self.sources {
            if pattern.matches(&address) {
                allowed = true;
            } else if pattern.denies {
                return Err(self.refuse(
                    Rule::SourceRepos,
                    format!("the repository {remote}"),
                    format!("take {:?} out of its spec.sourceRepos", pattern.text),
                ));
            }
        }
        if allowed {
            return Ok(());
        }
        Err(self.refuse(
            Rule::SourceRepos,
            format!("the repository {remote}"),
            format!("add {:?} to its spec.sourceRepos", remote.as_str()),
        ))
    }

    /// May kustomizations of this project's apps name this other repository?
    ///
    /// Shape: a repository that stands in the list may be named as well as rendered from. `*`, which allows every
    /// repository in the world, speaks of it only where `everywhere`, a setting of the daemon, says so.
    pub fn allows_base(&self, remote: &RemoteUrl, everywhere: bool) -> Result<(), Refused> {
        self.allows_source(remote)?;
        let address = normal(remote.as_str());
        let named = |pattern: &Pattern| !pattern.denies && !pattern.is_open();
        if everywhere
            || self
                .sources
                .iter()
                .any(|pattern| named(pattern) && pattern.matches(&address))
        {
            return Ok(());
        }
        Err(self.refuse(
            Rule::RemoteBases,
            format!("the repository {remote} as a remote base"),
            format!(
                "add {:?} to its spec.sourceRepos, or set git.remoteBases: true in the daemon's configuration",
                remote.as_str()
            ),
        ))
    }

    /// May this project's apps have objects in this namespace of our own cluster?
    pub fn allows_namespace(&self, namespace: &str) -> Result<(), Refused> {
        let what = format!("the namespace {namespace:?} of {OWN_SERVER}");
        let mut allowed = false;
        for place in &self.destinations {
            // An app's cluster is known by both its names here, so either may match, as in Argo CD.
            let server = place.server.matches(OWN_SERVER);
            let name = place.name.matches(OWN_CLUSTER);
            let inside = place.namespace.matches(namespace);
            if (server || name) && inside {
                allowed = true;
                continue;
            }
            let denied = [
                (server, &place.server),
                (name, &place.name),
                (inside, &place.namespace),
            ]
            .into_iter()
            .find(|(matched, pattern)| !matched && pattern.denies);
            if let Some((_, pattern)) = denied {
                return Err(self.refuse(
                    Rule::Destinations,
                    what,
                    format!("take {:?} out of its spec.destinations", pattern.text),
                ));
            }
        }
        if allowed {
            return Ok(());
        }
        Err(self.refuse(
            Rule::Destinations,
            what,
            format!(
                "add {{server: {OWN_SERVER}, namespace: {namespace}}} to its spec.destinations"
            ),
        ))
    }

    fn allows_kind(&self, write: &Write, scope: Scope) -> Result<(), Refused> {
        let gk = write.id.group_kind();
        let name = write.id.name.as_str();
        let listed = |list: &[KindRule]| list.iter().any(|kind| kind.matches(&gk, name));
        let entry = format!("{{group: {:?}, kind: {}}}", gk.group, gk.kind);
        let (allowed, allow_rule, denied, deny_rule) = match scope {
            Scope::Namespaced => (
                self.namespaced_allowed.as_deref().is_none_or(listed),
                Rule::NamespaceResourceWhitelist,
                listed(&self.namespaced_denied),
                Rule::NamespaceResourceBlacklist,
            ),
            Scope::Cluster => (
                listed(&self.cluster_allowed),
                Rule::ClusterResourceWhitelist,
                listed(&self.cluster_denied),
                Rule::ClusterResourceBlacklist,
            ),
        };
        if denied {
            return Err(self.refuse(
                deny_rule,
                write.id.to_string(),
                format!("take what covers {entry} out of its {deny_rule}"),
            ));
        }
        if !allowed {
            return Err(self.refuse(
                allow_rule,
                write.id.to_string(),
                format!("add {entry} to its {allow_rule}"),
            ));
        }
        Ok(())
    }

    fn refuse(&self, rule: Rule, what: String, hint: String) -> Refused {
        Refused {
            project: self.name.clone(),
            rule,
            what,
            hint,
        }
    }
}

/// The AppProject `default` as Argo CD makes it, for a namespace that has none.
pub fn permissive_default(namespace: &str) -> AppProject {
    let every = || "*".to_owned();
    AppProject {
        metadata: ObjectMeta {
            name: Some("default".to_owned()),
            namespace: Some(namespace.to_owned()).filter(|n| !n.is_empty()),
            ..ObjectMeta::default()
        },
        spec: AppProjectSpec {
            source_repos: vec![every()],
            destinations: vec![ProjectDestination {
                server: every(),
                name: String::new(),
                namespace: every(),
            }],
            cluster_resource_whitelist: Some(vec![ClusterResourceRule {
                group: every(),
                kind: every(),
                name: String::new(),
            }]),
            ..AppProjectSpec::default()
        },
        status: None,
    }
}

/// Collects the errors of several lists of kinds.
struct Kinds<'a> {
    errors: &'a mut Vec<SpecError>,
}

impl Kinds<'_> {
    fn cluster(&mut self, list: &str, rules: &[ClusterResourceRule]) -> Vec<KindRule> {
        let rules = rules.iter().enumerate();
        rules
            .map(|(i, rule)| KindRule {
                group: self.glob(list, i, "group", &rule.group),
                kind: self.glob(list, i, "kind", &rule.kind),
                name: (!rule.name.is_empty()).then(|| self.glob(list, i, "name", &rule.name)),
            })
            .collect()
    }

    fn namespaced(&mut self, list: &str, rules: &[ResourceRule]) -> Vec<KindRule> {
        let rules = rules.iter().enumerate();
        rules
            .map(|(i, rule)| KindRule {
                group: self.glob(list, i, "group", &rule.group),
                kind: self.glob(list, i, "kind", &rule.kind),
                name: None,
            })
            .collect()
    }

    fn glob(&mut self, list: &str, index: usize, key: &str, text: &str) -> Glob {
        Glob::new(text, None).unwrap_or_else(|error| {
            self.errors.push(SpecError::new(
                format!("/spec/{list}/{index}/{key}"),
                error.to_string(),
            ));
            Glob::new("", None).expect("an empty pattern is a glob")
        })
    }
}

/// Case and a trailing `.git` do not count, as in Argo CD.
fn normal(address: &str) -> String {
    let lower = address.trim().to_lowercase();
    let plain = lower.trim_end_matches('/');
    plain.strip_suffix(".git").unwrap_or(plain).to_owned()
}

fn not_acted_on(spec: &AppProjectSpec) -> Vec<String> {
    let lists = [
        ("spec.orphanedResources", spec.orphaned_resources.is_some()),
        ("spec.roles", !spec.roles.is_empty()),
        ("spec.syncWindows", !spec.sync_windows.is_empty()),
        ("spec.sourceNamespaces", !spec.source_namespaces.is_empty()),
        (
            "spec.permitOnlyProjectScopedClusters",
            spec.permit_only_project_scoped_clusters == Some(true),
        ),
        (
            "spec.destinationServiceAccounts",
            !spec.destination_service_accounts.is_empty(),
        ),
    ];
    lists
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(path, _)| path.to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
