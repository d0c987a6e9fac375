//! One fact about a live object, for people: the number or word that matters most.

use serde_json::{Map, Value};

use super::{count, list, number, text};
use crate::object::Manifest;

/// The fact that stands beside the object's name: `2 of 3 ready`, `3 keys`, `ClusterIP`. None: nothing worth a line.
///
/// Shape: under 60 characters, and never a Secret's value.
pub fn fact(live: &Manifest) -> Option<String> {
    let gvk = live.gvk();
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => {
            let wanted = number(live, &["spec", "replicas"]).unwrap_or(1);
            Some(format!(
                "{} of {wanted} ready",
                count(live, &["status", "readyReplicas"])
            ))
        }
        ("apps", "DaemonSet") => Some(format!(
            "{} of {} ready",
            count(live, &["status", "numberReady"]),
            count(live, &["status", "desiredNumberScheduled"])
        )),
        ("", "Pod") => Some(pod(live)),
        ("batch", "Job") => Some(format!(
            "{} of {} done",
            count(live, &["status", "succeeded"]),
            number(live, &["spec", "completions"]).unwrap_or(1)
        )),
        ("batch", "CronJob") => said(live.text(&["spec", "schedule"])),
        ("", "ConfigMap") => Some(plural(keys(live, "data") + keys(live, "binaryData"), "key")),
        ("", "Secret") => Some(plural(keys(live, "data"), "key")),
        ("", "Service") => Some(service(live)),
        ("networking.k8s.io", "Ingress") => hosts(live),
        ("", "PersistentVolumeClaim") => {
            let phase = live.text(&["status", "phase"]);
            let size = live.text(&["status", "capacity", "storage"]);
            said(
                &[phase, size]
                    .into_iter()
                    .filter(|t| !t.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        }
        ("autoscaling", "HorizontalPodAutoscaler") => Some(format!(
            "{} replicas, {} to {} allowed",
            count(live, &["status", "currentReplicas"]),
            number(live, &["spec", "minReplicas"]).unwrap_or(1),
            count(live, &["spec", "maxReplicas"])
        )),
        ("policy", "PodDisruptionBudget") => Some(format!(
            "{} allowed",
            plural(allowed_disruptions(live), "disruption")
        )),
        ("", "Namespace") => said(live.text(&["status", "phase"])),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            Some(plural(list(live, &["rules"]).len(), "rule"))
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            Some(plural(list(live, &["subjects"]).len(), "subject"))
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            Some(plural(list(live, &["spec", "versions"]).len(), "version"))
        }
        _ => None,
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| cut(text))
}

/// At most 60 characters, because a fact shares a line with a name.
fn cut(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    text.chars().take(59).chain(['…']).collect()
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

fn keys(live: &Manifest, field: &str) -> usize {
    live.get(&[field])
        .and_then(Value::as_object)
        .map_or(0, Map::len)
}

fn allowed_disruptions(live: &Manifest) -> usize {
    usize::try_from(count(live, &["status", "disruptionsAllowed"])).unwrap_or(0)
}

fn pod(live: &Manifest) -> String {
    let restarts: i64 = list(live, &["status", "containerStatuses"])
        .iter()
        .filter_map(|c| c.get("restartCount").and_then(Value::as_i64))
        .fold(0, i64::saturating_add);
    let phase = match live.text(&["status", "phase"]) {
        "" => "Pending",
        phase => phase,
    };
    match usize::try_from(restarts) {
        Ok(0) | Err(_) => cut(phase),
        Ok(n) => cut(&format!("{phase}, {}", plural(n, "restart"))),
    }
}

fn service(live: &Manifest) -> String {
    let kind = match live.text(&["spec", "type"]) {
        "" => "ClusterIP",
        kind => kind,
    };
    let address = list(live, &["status", "loadBalancer", "ingress"])
        .first()
        .map(|at| {
            let ip = text(at, "ip");
            if ip.is_empty() {
                text(at, "hostname")
            } else {
                ip
            }
        });
    match address {
        Some(address) if !address.is_empty() => cut(&format!("{kind} at {address}")),
        _ => cut(kind),
    }
}

fn hosts(live: &Manifest) -> Option<String> {
    let hosts: Vec<&str> = list(live, &["spec", "rules"])
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .collect();
    match hosts.as_slice() {
        [] => None,
        [one] => Some(cut(one)),
        [one, rest @ ..] => Some(cut(&format!("{one} and {} more", rest.len()))),
    }
}
