//! What the server serves: kinds, versions, scopes, from aggregated discovery.
//!
//! A group whose server does not answer is Unknown, never absent: what is Unknown is neither applied nor pruned.
//! Source: KEP-3352; `k8s.io/api/apidiscovery/v2`.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_manifest::{Digest, GroupKind, Gvk};
use serde::Deserialize;

/// The media type of an aggregated discovery answer.
pub(crate) const ACCEPT: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind as it is asked for: in which path, and whether it has namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The kind with its version.
    pub gvk: Gvk,
    /// The plural, as in the path.
    pub plural: String,
    /// Has it namespaces?
    pub namespaced: bool,
}

/// What is known about a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is served.
    Found(Resource),
    /// The server answered for its group, and does not serve it.
    NotServed,
    /// The server could not say. The text is why.
    Unknown(String),
}

/// A kind in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    version: String,
    plural: String,
    namespaced: bool,
}

/// A snapshot of what the server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The versions of each kind, in the server's order of preference; only what can be got, listed and watched.
    kinds: BTreeMap<GroupKind, Vec<Form>>,
    /// Group and version of those whose server did not answer, and why.
    broken: BTreeMap<(String, String), String>,
    /// Was the core group (`/api`) ever read? And the others (`/apis`)?
    read: (Reading, Reading),
    digest: Digest,
}

/// Was one of the two answers ever had?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Never,
    Had,
}

impl Default for Served {
    /// Nothing is known yet: every kind is Unknown.
    fn default() -> Self {
        Self {
            kinds: BTreeMap::new(),
            broken: BTreeMap::new(),
            read: (Reading::Never, Reading::Never),
            digest: Digest::of(b""),
        }
    }
}

impl Served {
    /// Looks up exactly this version of the kind.
    pub fn find(&self, gvk: &Gvk) -> Lookup {
        let found = self
            .kinds
            .get(&gvk.group_kind())
            .and_then(|versions| versions.iter().find(|served| served.version == gvk.version));
        if let Some(served) = found {
            return Lookup::Found(resource(&gvk.group_kind(), served));
        }
        match self.broken.get(&(gvk.group.clone(), gvk.version.clone())) {
            Some(why) => Lookup::Unknown(why.clone()),
            None => self.absent(&gvk.group),
        }
    }

    /// Looks up the kind in the version the server prefers. Identity has no version, so this is how an inventory's
    /// entry is found again.
    pub fn any_version(&self, kind: &GroupKind) -> Lookup {
        if let Some(served) = self.kinds.get(kind).and_then(|versions| versions.first()) {
            return Lookup::Found(resource(kind, served));
        }
        match self
            .broken
            .iter()
            .find(|((group, _), _)| *group == kind.group)
        {
            Some((_, why)) => Lookup::Unknown(why.clone()),
            None => self.absent(&kind.group),
        }
    }

    /// The versions of a kind that are served, the preferred first.
    pub fn versions(&self, kind: &GroupKind) -> Vec<String> {
        let versions = self.kinds.get(kind).map(Vec::as_slice).unwrap_or_default();
        versions
            .iter()
            .map(|served| served.version.clone())
            .collect()
    }

    /// Every kind that can be listed and watched, in its preferred version.
    pub fn kinds(&self) -> impl Iterator<Item = Resource> + '_ {
        self.kinds
            .iter()
            .filter_map(|(kind, versions)| versions.first().map(|served| resource(kind, served)))
    }

    /// Equal snapshots, equal digests.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Group versions whose server did not answer, with why: for the page and for a metric.
    pub fn broken(&self) -> impl Iterator<Item = (String, &str)> + '_ {
        self.broken
            .iter()
            .map(|((group, version), why)| (format!("{group}/{version}"), why.as_str()))
    }

    /// The snapshot that follows from these answers; the parts that were not answered stay as they were.
    pub(crate) fn updated(&self, core: Option<List>, groups: Option<List>) -> Self {
        let mut kinds = BTreeMap::new();
        let mut broken = BTreeMap::new();
        let mut read = self.read;
        let is_core = |group: &str| group.is_empty();
        for (answer, of_core) in [(core, true), (groups, false)] {
            if let Some(list) = answer {
                if of_core {
                    read.0 = Reading::Had;
                } else {
                    read.1 = Reading::Had;
                }
                list.read_into(&mut kinds, &mut broken);
            } else {
                let kept = self
                    .kinds
                    .iter()
                    .filter(|(kind, _)| is_core(&kind.group) == of_core);
                kinds.extend(kept.map(|(kind, versions)| (kind.clone(), versions.clone())));
                let kept = self
                    .broken
                    .iter()
                    .filter(|((group, _), _)| is_core(group) == of_core);
                broken.extend(kept.map(|(at, why)| (at.clone(), why.clone())));
            }
        }
        let digest = digest(&kinds, &broken);
        Self {
            kinds,
            broken,
            read,
            digest,
        }
    }

    fn absent(&self, group: &str) -> Lookup {
        let read = if group.is_empty() {
            self.read.0
        } else {
            self.read.1
        };
        match read {
            Reading::Had => Lookup::NotServed,
            Reading::Never => {
                Lookup::Unknown("the server was not asked yet what it serves".to_owned())
            }
        }
    }
}

fn resource(kind: &GroupKind, served: &Form) -> Resource {
    Resource {
        gvk: Gvk {
            group: kind.group.clone(),
            version: served.version.clone(),
            kind: kind.kind.clone(),
        },
        plural: served.plural.clone(),
        namespaced: served.namespaced,
    }
}

fn digest(
    kinds: &BTreeMap<GroupKind, Vec<Form>>,
    broken: &BTreeMap<(String, String), String>,
) -> Digest {
    let served = kinds.iter().flat_map(|(kind, versions)| {
        versions.iter().map(move |form| {
            format!(
                "{kind} {} {} {}\n",
                form.version, form.plural, form.namespaced
            )
        })
    });
    let broken = broken
        .keys()
        .map(|(group, version)| format!("broken {group}/{version}\n"));
    let text: String = served.chain(broken).collect();
    Digest::of(text.as_bytes())
}

/// An `APIGroupDiscoveryList`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List {
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Version {
    #[serde(default, rename = "version")]
    name: String,
    #[serde(default)]
    resources: Vec<Described>,
    #[serde(default)]
    freshness: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    resource: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

impl List {
    /// Reads an answer. Errors: it is something else, as an old server's is.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let list: Self = serde_json::from_slice(bytes).map_err(|error| {
            // The position is enough, and the text could be anything.
            format!(
                "no discovery answer, at line {} column {}",
                error.line(),
                error.column()
            )
        })?;
        if list.kind == "APIGroupDiscoveryList" {
            Ok(list)
        } else {
            Err("it does not know aggregated discovery; Kubernetes 1.30 or later does".to_owned())
        }
    }

    fn read_into(
        self,
        kinds: &mut BTreeMap<GroupKind, Vec<Form>>,
        broken: &mut BTreeMap<(String, String), String>,
    ) {
        for group in self.items {
            for version in group.versions {
                // A version whose server does not answer comes as `Stale`, with what it had last or with nothing.
                if version.freshness == "Stale" {
                    let why = format!(
                        "the server behind {}/{} does not answer",
                        group.metadata.name, version.name
                    );
                    broken.insert((group.metadata.name.clone(), version.name), why);
                    continue;
                }
                for described in version.resources {
                    let Some(kind) = described.response_kind.filter(|k| !k.kind.is_empty()) else {
                        continue;
                    };
                    // Reviews, bindings and the like can only be posted; they are nobody's desired state.
                    if !["get", "list", "watch"]
                        .iter()
                        .all(|verb| described.verbs.contains(*verb))
                    {
                        continue;
                    }
                    let key = GroupKind::new(group.metadata.name.clone(), kind.kind);
                    let versions = kinds.entry(key).or_default();
                    if versions.iter().all(|served| served.version != version.name) {
                        versions.push(Form {
                            version: version.name.clone(),
                            plural: described.resource,
                            namespaced: described.scope == "Namespaced",
                        });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},
        "items":[{"metadata":{"creationTimestamp":null},"versions":[{"version":"v1","freshness":"Current","resources":[
          {"resource":"bindings","responseKind":{"group":"","version":"","kind":"Binding"},"scope":"Namespaced","singularResource":"binding","verbs":["create"]},
          {"resource":"namespaces","responseKind":{"group":"","version":"","kind":"Namespace"},"scope":"Cluster","singularResource":"namespace","verbs":["create","delete","get","list","patch","update","watch"],
           "subresources":[{"subresource":"status","responseKind":{"group":"","version":"","kind":"Namespace"},"verbs":["get","patch","update"]}]}]}]}]}"#;

    const GROUPS: &str = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},
        "items":[
         {"metadata":{"name":"autoscaling"},"versions":[
          {"version":"v2","freshness":"Current","resources":[{"resource":"horizontalpodautoscalers","responseKind":{"group":"","version":"","kind":"HorizontalPodAutoscaler"},"scope":"Namespaced","verbs":["get","list","watch","patch"]}]},
          {"version":"v1","freshness":"Current","resources":[{"resource":"horizontalpodautoscalers","responseKind":{"group":"","version":"","kind":"HorizontalPodAutoscaler"},"scope":"Namespaced","verbs":["get","list","watch","patch"]}]}]},
         {"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]}]}"#;

    fn both() -> Served {
        Served::default().updated(
            Some(List::parse(CORE.as_bytes()).expect("recorded")),
            Some(List::parse(GROUPS.as_bytes()).expect("recorded")),
        )
    }

    #[test]
    fn a_kind_is_found_in_its_version_with_plural_and_scope() {
        let served = both();
        let namespace = Gvk::from_api_version("v1", "Namespace");
        assert_eq!(
            served.find(&namespace),
            Lookup::Found(Resource {
                gvk: namespace,
                plural: "namespaces".into(),
                namespaced: false
            })
        );
        let old = Gvk::from_api_version("autoscaling/v2beta2", "HorizontalPodAutoscaler");
        assert_eq!(served.find(&old), Lookup::NotServed);
        let Lookup::Found(preferred) = served.any_version(&old.group_kind()) else {
            panic!("the kind is served");
        };
        assert_eq!(preferred.gvk.version, "v2");
        assert_eq!(served.versions(&old.group_kind()), ["v2", "v1"]);
    }

    #[test]
    fn what_can_only_be_posted_is_not_served() {
        assert_eq!(
            both().find(&Gvk::from_api_version("v1", "Binding")),
            Lookup::NotServed
        );
    }

    #[test]
    fn a_group_whose_server_is_away_is_unknown_and_not_absent() {
        let served = both();
        let metrics = Gvk::from_api_version("metrics.k8s.io/v1beta1", "PodMetrics");
        assert!(matches!(served.find(&metrics), Lookup::Unknown(_)));
        assert!(matches!(
            served.any_version(&metrics.group_kind()),
            Lookup::Unknown(_)
        ));
    }

    #[test]
    fn before_the_first_answer_everything_is_unknown() {
        let config_map = Gvk::from_api_version("v1", "ConfigMap");
        assert!(matches!(
            Served::default().find(&config_map),
            Lookup::Unknown(_)
        ));
    }

    #[test]
    fn a_half_that_was_not_answered_stays_as_it_was() {
        let core = List::parse(CORE.as_bytes()).expect("recorded");
        let after = both().updated(Some(core), None);
        assert_eq!(after, both());
        assert_ne!(after.digest(), Served::default().digest());
    }

    #[test]
    fn an_old_servers_answer_is_refused_with_the_version_it_would_take() {
        let old = br#"{"kind":"APIVersions","versions":["v1"]}"#;
        assert!(
            List::parse(old)
                .expect_err("it is no list")
                .contains("1.30")
        );
    }
}
