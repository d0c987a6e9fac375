//! The order of the objects in the output.

use std::cmp::Ordering;

use super::file::Sort;
use super::resource::{Gvk, Resource};

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Sorts as the top kustomization asks: by kind and name, unless it wants the order in which they were loaded.
pub(crate) fn sort(resources: &mut [Resource], options: Option<&Sort>) {
    if options.is_some_and(|options| options.fifo) {
        return;
    }
    let own = |kinds: &[String], kind: &str| kinds.iter().position(|one| one == kind);
    let rank = |kind: &str| -> i64 {
        let lists =
            options.and_then(|options| Some((options.first.as_ref()?, options.last.as_ref()?)));
        let (first, count, last) = if let Some((first, last)) = lists {
            (own(first, kind), first.len(), own(last, kind))
        } else {
            let at = |kinds: &[&str]| kinds.iter().position(|one| *one == kind);
            (at(&FIRST), FIRST.len(), at(&LAST))
        };
        let number = |at: usize| i64::try_from(at).unwrap_or_default();
        match (first, last) {
            (Some(at), _) => number(at) - number(count),
            (None, Some(at)) => number(at) + 1,
            (None, None) => 0,
        }
    };
    resources.sort_by_cached_key(|resource| Key::new(resource, rank(resource.kind())));
}

#[derive(PartialEq, Eq)]
struct Key {
    rank: i64,
    gvk: Gvk,
    shown: String,
    whole: String,
}

fn or<'t>(text: &'t str, none: &'t str) -> &'t str {
    if text.is_empty() { none } else { text }
}

impl Key {
    fn new(resource: &Resource, rank: i64) -> Self {
        let gvk = resource.gvk();
        let (group, version, kind) = (
            or(&gvk.group, "~G"),
            or(&gvk.version, "~V"),
            or(&gvk.kind, "~K"),
        );
        let shown = format!("{group}_{version}_{kind}");
        let namespace = or(resource.namespace(), "~X");
        let name = or(resource.name(), "~N");
        let parts = |text: &str, none: &str| {
            if text.is_empty() {
                none.to_owned()
            } else {
                text.to_owned()
            }
        };
        let whole = format!(
            "{}.{}.{}|{namespace}|{name}",
            parts(&gvk.kind, "[noKind]"),
            parts(&gvk.version, "[noVer]"),
            parts(&gvk.group, "[noGrp]")
        );
        Self {
            rank,
            gvk,
            shown,
            whole,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then_with(|| {
            if self.gvk == other.gvk {
                return self.whole.cmp(&other.whole);
            }
            let by_text = self.shown.cmp(&other.shown);
            let namespaces = self.gvk.kind == "Namespace" && other.gvk.kind == "Namespace";
            if namespaces && (self.gvk.group.is_empty() || other.gvk.group.is_empty()) {
                by_text.reverse()
            } else {
                by_text
            }
        })
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
