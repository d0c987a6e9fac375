//! How a live object is doing, from the object alone.
//!
//! Source: Argo CD's rules for built-in kinds (`argo-cd.md` 2.11), kstatus for everything that follows its
//! conventions (`apply-and-health.md` 2.10). The clock is no part of it: equal objects, equal health.

use serde_json::Value;

use crate::kinds;
use crate::object::Manifest;

mod fact;
mod rules;

pub use fact::fact;

/// How one object, or a whole app, is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// Not there yet, and on its way.
    Progressing {
        /// What it waits for.
        why: String,
    },
    /// Something failed, and it does not look as if it mended itself.
    Degraded {
        /// What failed.
        why: String,
    },
    /// Stopped on purpose.
    Suspended {
        /// By what.
        why: String,
    },
    /// It is not in the cluster.
    Missing,
    /// It could not be found out.
    Unknown {
        /// Why not.
        why: String,
    },
    /// There is no rule for its kind: neutral, neither good nor bad.
    None,
}

impl Health {
    /// Argo CD's word for it, as in `status.health.status`; empty when there is no rule.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Progressing { .. } => "Progressing",
            Self::Degraded { .. } => "Degraded",
            Self::Suspended { .. } => "Suspended",
            Self::Missing => "Missing",
            Self::Unknown { .. } => "Unknown",
            Self::None => "",
        }
    }

    /// What it waits for, or what failed.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Progressing { why }
            | Self::Degraded { why }
            | Self::Suspended { why }
            | Self::Unknown { why } => Some(why),
            Self::Healthy | Self::Missing | Self::None => None,
        }
    }

    /// May the next wave begin? A kind without a rule holds nobody up.
    pub fn lets_the_next_wave_begin(&self) -> bool {
        matches!(self, Self::Healthy | Self::Suspended { .. } | Self::None)
    }

    /// Argo CD's order, from good to bad.
    pub fn badness(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Healthy => 1,
            Self::Suspended { .. } => 2,
            Self::Progressing { .. } => 3,
            Self::Missing => 4,
            Self::Degraded { .. } => 5,
            Self::Unknown { .. } => 6,
        }
    }

    fn progressing(why: impl Into<String>) -> Self {
        Self::Progressing { why: why.into() }
    }

    fn degraded(why: impl Into<String>) -> Self {
        Self::Degraded { why: why.into() }
    }
}

/// The worst of an app's objects, by Argo CD's measure.
///
/// Shape: no rule counts for nothing; a missing object does not drag the app down unless nothing of the app is
/// there at all; no objects are healthy. Of equally bad ones the first is taken.
pub fn worst<'a>(all: impl Iterator<Item = &'a Health>) -> Health {
    let mut worst = Health::Healthy;
    let (mut any, mut all_missing) = (false, true);
    for health in all {
        any = true;
        all_missing &= matches!(health, Health::Missing);
        if !matches!(health, Health::Missing) && health.badness() > worst.badness() {
            worst = health.clone();
        }
    }
    if any && all_missing {
        Health::Missing
    } else {
        worst
    }
}

/// How this live object is doing.
///
/// Source: the first rule of the module's documents that matches. An object that is being deleted is Progressing,
/// unless a hook's finalizer keeps it.
pub fn health(live: &Manifest) -> Health {
    if live.is_terminating() && !has_hook_finalizer(live) {
        return Health::progressing("pending deletion");
    }
    let gvk = live.gvk();
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps" | "extensions", "Deployment") => rules::deployment(live),
        ("apps", "StatefulSet") => rules::stateful_set(live),
        ("apps" | "extensions", "DaemonSet") => rules::daemon_set(live),
        ("apps" | "extensions", "ReplicaSet") => rules::replica_set(live),
        ("", "Pod") => rules::pod(live),
        ("batch", "Job") => rules::job(live),
        ("batch", "CronJob") => rules::cron_job(live),
        ("", "Service") => rules::service(live),
        ("networking.k8s.io" | "extensions", "Ingress") => rules::ingress(live),
        ("", "PersistentVolumeClaim") => rules::claim(live),
        ("autoscaling", "HorizontalPodAutoscaler") => rules::autoscaler(live),
        ("apiregistration.k8s.io", "APIService") => rules::api_service(live),
        ("policy", "PodDisruptionBudget") => rules::disruption_budget(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => rules::definition(live),
        ("argoproj.io", "Workflow") => rules::workflow(live),
        ("argoproj.io", "Application") => rules::application(live),
        _ if kinds::is_cluster_scoped(&gvk.group_kind()).is_some() => Health::None,
        _ => rules::custom(live),
    }
}

/// The finalizer that Argo CD puts on hooks so that they outlive their own deletion until the result is recorded.
fn has_hook_finalizer(live: &Manifest) -> bool {
    live.get(&["metadata", "finalizers"])
        .and_then(Value::as_array)
        .is_some_and(|list| {
            list.iter()
                .any(|f| f.as_str() == Some("argocd.argoproj.io/hook-finalizer"))
        })
}

/// The number under these keys, when it is there.
fn number(live: &Manifest, path: &[&str]) -> Option<i64> {
    live.get(path).and_then(Value::as_i64)
}

/// The number under these keys; Kubernetes leaves zeroes out.
fn count(live: &Manifest, path: &[&str]) -> i64 {
    number(live, path).unwrap_or(0)
}

/// The list under these keys, or none.
fn list<'a>(live: &'a Manifest, path: &[&str]) -> &'a [Value] {
    live.get(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The text under this key of a value, or none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
