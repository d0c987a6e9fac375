//! One rule for each kind that has one.

use serde_json::Value;

use super::{Health, count, list, number, text};
use crate::object::Manifest;

/// `status.conditions[type=kind]`.
fn condition<'a>(live: &'a Manifest, kind: &str) -> Option<&'a Value> {
    list(live, &["status", "conditions"])
        .iter()
        .find(|c| text(c, "type") == kind)
}

/// What a condition says, for people: its message, else its reason, else its type.
fn said(condition: &Value) -> String {
    ["message", "reason", "type"]
        .iter()
        .map(|key| text(condition, key))
        .find(|t| !t.is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// Has the controller not yet looked at the newest spec?
fn is_stale(live: &Manifest) -> bool {
    count(live, &["metadata", "generation"]) > count(live, &["status", "observedGeneration"])
}

const STALE: &str = "waiting for the controller to see the new spec";

fn wanted_replicas(live: &Manifest) -> i64 {
    number(live, &["spec", "replicas"]).unwrap_or(1)
}

pub(super) fn deployment(live: &Manifest) -> Health {
    if live.get(&["spec", "paused"]).and_then(Value::as_bool) == Some(true) {
        return Health::Suspended {
            why: "the Deployment is paused".to_owned(),
        };
    }
    if is_stale(live) {
        return Health::progressing(STALE);
    }
    if condition(live, "Progressing")
        .is_some_and(|c| text(c, "reason") == "ProgressDeadlineExceeded")
    {
        return Health::degraded("the Deployment made no progress within its deadline");
    }
    let status = |field| count(live, &["status", field]);
    let wanted = wanted_replicas(live);
    let (updated, replicas) = (status("updatedReplicas"), status("replicas"));
    let available = status("availableReplicas");
    if updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} replicas are updated"));
    }
    if replicas > updated {
        return Health::progressing(format!(
            "{} old replicas are still there",
            replicas - updated
        ));
    }
    if available < updated {
        return Health::progressing(format!("{available} of {updated} replicas are available"));
    }
    Health::Healthy
}

pub(super) fn stateful_set(live: &Manifest) -> Health {
    if count(live, &["status", "observedGeneration"]) == 0 || is_stale(live) {
        return Health::progressing(STALE);
    }
    let wanted = wanted_replicas(live);
    let ready = count(live, &["status", "readyReplicas"]);
    if ready < wanted {
        return Health::progressing(format!("{ready} of {wanted} replicas are ready"));
    }
    let strategy = live.text(&["spec", "updateStrategy", "type"]);
    let rolling = live
        .get(&["spec", "updateStrategy", "rollingUpdate"])
        .filter(|v| v.is_object());
    if strategy != "OnDelete" && rolling.is_some() {
        let partition = count(
            live,
            &["spec", "updateStrategy", "rollingUpdate", "partition"],
        );
        let updated = count(live, &["status", "updatedReplicas"]);
        let due = wanted.saturating_sub(partition);
        return if updated < due {
            Health::progressing(format!("{updated} of {due} replicas are updated"))
        } else {
            Health::Healthy
        };
    }
    if strategy == "OnDelete" {
        return Health::Healthy;
    }
    if live.text(&["status", "updateRevision"]) != live.text(&["status", "currentRevision"]) {
        let updated = count(live, &["status", "updatedReplicas"]);
        return Health::progressing(format!("{updated} of {wanted} replicas are updated"));
    }
    Health::Healthy
}

pub(super) fn daemon_set(live: &Manifest) -> Health {
    if is_stale(live) {
        return Health::progressing(STALE);
    }
    if live.text(&["spec", "updateStrategy", "type"]) == "OnDelete" {
        return Health::Healthy;
    }
    let status = |field| count(live, &["status", field]);
    let wanted = status("desiredNumberScheduled");
    let (updated, available) = (status("updatedNumberScheduled"), status("numberAvailable"));
    if updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} pods are updated"));
    }
    if available < wanted {
        return Health::progressing(format!("{available} of {wanted} pods are available"));
    }
    Health::Healthy
}

pub(super) fn replica_set(live: &Manifest) -> Health {
    if is_stale(live) {
        return Health::progressing(STALE);
    }
    if let Some(failure) = condition(live, "ReplicaFailure").filter(|c| text(c, "status") == "True")
    {
        return Health::degraded(said(failure));
    }
    let wanted = wanted_replicas(live);
    let available = count(live, &["status", "availableReplicas"]);
    if available < wanted {
        return Health::progressing(format!("{available} of {wanted} replicas are available"));
    }
    Health::Healthy
}

pub(super) fn pod(live: &Manifest) -> Health {
    let restarts = match live.text(&["spec", "restartPolicy"]) {
        "" => "Always",
        policy => policy,
    };
    let is_hook = live.annotation("argocd.argoproj.io/hook").is_some();
    let ignores = live.annotation("argocd.argoproj.io/ignore-restart-policy") == Some("true");
    let containers = || {
        list(live, &["status", "initContainerStatuses"])
            .iter()
            .chain(list(live, &["status", "containerStatuses"]))
    };
    if restarts == "Always" || (ignores && !is_hook) {
        let failing: Vec<String> = containers()
            .filter_map(|container| {
                let waiting = container.get("state")?.get("waiting")?;
                let reason = text(waiting, "reason");
                let bad = reason.starts_with("Err")
                    || reason.ends_with("Error")
                    || reason.ends_with("BackOff");
                bad.then(|| explained(text(container, "name"), reason, text(waiting, "message")))
            })
            .collect();
        if !failing.is_empty() {
            return Health::degraded(failing.join(", "));
        }
    }
    match live.text(&["status", "phase"]) {
        "" | "Pending" => {
            match condition(live, "PodScheduled").filter(|c| text(c, "status") == "False") {
                Some(unscheduled) => Health::progressing(said(unscheduled)),
                None => Health::progressing("the pod is starting"),
            }
        }
        "Succeeded" => Health::Healthy,
        "Failed" => Health::degraded(why_it_failed(live, containers())),
        "Running" if restarts == "Always" => {
            if condition(live, "Ready").is_some_and(|c| text(c, "status") == "True") {
                return Health::Healthy;
            }
            let ended = containers().find_map(|container| {
                let last = container.get("lastState")?.get("terminated")?;
                Some((text(container, "name").to_owned(), last))
            });
            match ended {
                Some((name, last)) => Health::degraded(how_it_ended(&name, last)),
                None => Health::progressing("the pod is not ready"),
            }
        }
        "Running" => Health::progressing("the pod is running"),
        phase => Health::Unknown {
            why: format!("the pod's phase is {phase:?}"),
        },
    }
}

fn explained(name: &str, reason: &str, message: &str) -> String {
    if message.is_empty() {
        format!("container {name}: {reason}")
    } else {
        format!("container {name}: {reason}: {message}")
    }
}

fn how_it_ended(name: &str, terminated: &Value) -> String {
    let code = terminated
        .get("exitCode")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    match (text(terminated, "message"), text(terminated, "reason")) {
        ("", "OOMKilled") => format!("container {name} ran out of memory"),
        ("", _) => format!("container {name} exited with code {code}"),
        (message, _) => format!("container {name}: {message}"),
    }
}

fn why_it_failed<'a>(live: &Manifest, mut containers: impl Iterator<Item = &'a Value>) -> String {
    let message = live.text(&["status", "message"]);
    if !message.is_empty() {
        return message.to_owned();
    }
    containers
        .find_map(|container| {
            let ended = container.get("state")?.get("terminated")?;
            let failed = ended.get("exitCode").and_then(Value::as_i64) != Some(0)
                || text(ended, "reason") == "OOMKilled";
            failed.then(|| how_it_ended(text(container, "name"), ended))
        })
        .unwrap_or_else(|| "the pod failed".to_owned())
}

/// Argo CD tests for the presence of `Failed` and `Complete`, not for their status, and so do we.
pub(super) fn job(live: &Manifest) -> Health {
    if let Some(failed) = condition(live, "Failed") {
        return Health::degraded(said(failed));
    }
    if condition(live, "Complete").is_some() {
        return Health::Healthy;
    }
    if condition(live, "Suspended").is_some_and(|c| text(c, "status") == "True") {
        return Health::Suspended {
            why: "the Job is suspended".to_owned(),
        };
    }
    Health::progressing("the Job has not finished")
}

/// A suspended CronJob is Healthy: Argo CD does so because a suspended one would hold its app for ever.
pub(super) fn cron_job(live: &Manifest) -> Health {
    if live.get(&["spec", "suspend"]).and_then(Value::as_bool) == Some(true) {
        return Health::Healthy;
    }
    let scheduled = live.text(&["status", "lastScheduleTime"]);
    let succeeded = live.text(&["status", "lastSuccessfulTime"]);
    let active = !list(live, &["status", "active"]).is_empty();
    if scheduled.is_empty() || succeeded.is_empty() || active {
        return Health::Healthy;
    }
    // Both are RFC 3339 in UTC as the API server writes them, so their order is that of the texts.
    if succeeded < scheduled {
        return Health::degraded(format!("its last run, of {scheduled}, did not succeed"));
    }
    Health::Healthy
}

pub(super) fn service(live: &Manifest) -> Health {
    if live.text(&["spec", "type"]) == "LoadBalancer" {
        return has_address(live);
    }
    Health::Healthy
}

pub(super) fn ingress(live: &Manifest) -> Health {
    has_address(live)
}

fn has_address(live: &Manifest) -> Health {
    if list(live, &["status", "loadBalancer", "ingress"]).is_empty() {
        Health::progressing("waiting for an address")
    } else {
        Health::Healthy
    }
}

pub(super) fn claim(live: &Manifest) -> Health {
    match live.text(&["status", "phase"]) {
        "Bound" => Health::Healthy,
        "Lost" => Health::degraded("the volume behind the claim is lost"),
        "Pending" => Health::progressing("waiting for a volume"),
        phase => Health::Unknown {
            why: format!("the claim's phase is {phase:?}"),
        },
    }
}

pub(super) fn autoscaler(live: &Manifest) -> Health {
    // autoscaling/v1 has no place for conditions and carries them as JSON in an annotation.
    let carried: Vec<Value> = live
        .annotation("autoscaling.alpha.kubernetes.io/conditions")
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    let conditions: Vec<&Value> = list(live, &["status", "conditions"])
        .iter()
        .chain(carried.iter())
        .collect();
    for condition in &conditions {
        let bad: &[&str] = match text(condition, "type") {
            "AbleToScale" => &["FailedGetScale", "FailedUpdateScale"],
            "ScalingActive" => &[
                "FailedGetResourceMetric",
                "FailedGetObjectMetric",
                "FailedGetPodsMetric",
                "FailedGetExternalMetric",
                "FailedComputeMetricsReplicas",
                "InvalidSelector",
            ],
            _ => &[],
        };
        if bad.contains(&text(condition, "reason")) {
            return Health::degraded(said(condition));
        }
    }
    let works = conditions.iter().any(|c| {
        matches!(text(c, "type"), "AbleToScale" | "ScalingLimited") && text(c, "status") == "True"
    });
    if works {
        Health::Healthy
    } else {
        Health::progressing("waiting to autoscale")
    }
}

pub(super) fn api_service(live: &Manifest) -> Health {
    match condition(live, "Available") {
        Some(available) if text(available, "status") == "True" => Health::Healthy,
        Some(available) => Health::progressing(said(available)),
        None => Health::progressing("waiting to be available"),
    }
}

pub(super) fn disruption_budget(live: &Manifest) -> Health {
    let conditions = list(live, &["status", "conditions"]);
    if conditions.is_empty() {
        return Health::progressing("waiting for the controller to look at it");
    }
    let failed = conditions
        .iter()
        .find(|c| text(c, "status") == "False" && text(c, "reason") != "InsufficientPods");
    failed.map_or(Health::Healthy, |c| Health::degraded(said(c)))
}

pub(super) fn definition(live: &Manifest) -> Health {
    let is = |kind, status| condition(live, kind).filter(|c| text(c, "status") == status);
    if list(live, &["status", "conditions"]).is_empty() {
        return Health::progressing("waiting to be established");
    }
    if is("Terminating", "True").is_some() {
        return Health::progressing("pending deletion");
    }
    if let Some(bad) = is("NamesAccepted", "False").or_else(|| is("NonStructuralSchema", "True")) {
        return Health::degraded(said(bad));
    }
    match condition(live, "Established") {
        Some(c) if text(c, "status") == "True" => Health::Healthy,
        Some(c) if text(c, "reason") == "Installing" => Health::progressing(said(c)),
        Some(c) => Health::degraded(said(c)),
        None => Health::degraded("it was never established"),
    }
}

pub(super) fn workflow(live: &Manifest) -> Health {
    let message = live.text(&["status", "message"]);
    let why = |otherwise: &str| {
        if message.is_empty() {
            otherwise
        } else {
            message
        }
        .to_owned()
    };
    match live.text(&["status", "phase"]) {
        "" | "Pending" | "Running" => Health::progressing(why("the Workflow has not finished")),
        "Succeeded" => Health::Healthy,
        "Failed" | "Error" => Health::degraded(why("the Workflow failed")),
        phase => Health::Unknown {
            why: format!("the Workflow's phase is {phase:?}"),
        },
    }
}

/// An Application inside an app: its own health, so that waves of apps work. Missing and Unknown count for
/// nothing, as in Argo CD: the child tells about itself.
pub(super) fn application(live: &Manifest) -> Health {
    let message = live.text(&["status", "health", "message"]);
    let why = |otherwise: &str| {
        if message.is_empty() {
            otherwise
        } else {
            message
        }
        .to_owned()
    };
    match live.text(&["status", "health", "status"]) {
        "Healthy" => Health::Healthy,
        "Progressing" => Health::progressing(why("the app is progressing")),
        "Degraded" => Health::degraded(why("the app is degraded")),
        "Suspended" => Health::Suspended {
            why: why("the app is suspended"),
        },
        "" => Health::progressing("the app was not looked at yet"),
        _ => Health::None,
    }
}

/// kstatus's generic rules. Where it is optimistic, because nothing says anything, we say nothing.
pub(super) fn custom(live: &Manifest) -> Health {
    let generation = number(live, &["metadata", "generation"]);
    let observed = number(live, &["status", "observedGeneration"]);
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return Health::progressing(STALE);
    }
    for condition in list(live, &["status", "conditions"]) {
        match (text(condition, "type"), text(condition, "status")) {
            ("Reconciling", "True") => return Health::progressing(said(condition)),
            ("Stalled", "True") => return Health::degraded(said(condition)),
            _ => {}
        }
    }
    match condition(live, "Ready") {
        Some(ready) if text(ready, "status") == "True" => Health::Healthy,
        Some(ready) => Health::progressing(said(ready)),
        None => Health::None,
    }
}
