//! One row for each rule.

use serde_json::{Value, json};

use super::*;

fn live(api_version: &str, kind: &str, rest: Value) -> Manifest {
    let mut value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
    merge(&mut value, rest);
    Manifest::from_value(value).expect("an object")
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn check(api_version: &str, kind: &str, rows: &[(&str, &str, Value)]) {
    for (why, word, rest) in rows {
        let got = health(&live(api_version, kind, rest.clone()));
        assert_eq!(got.word(), *word, "{kind}: {why}: {got:?}");
    }
}

#[test]
fn anything_being_deleted_is_progressing_unless_a_hook_finalizer_keeps_it() {
    check(
        "v1",
        "ConfigMap",
        &[
            (
                "deleted",
                "Progressing",
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            ),
            (
                "kept for its result",
                "",
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
                    "finalizers": ["argocd.argoproj.io/hook-finalizer"]}}),
            ),
        ],
    );
}

#[test]
fn a_deployment_is_healthy_once_every_replica_is_new_and_available() {
    let at = |updated, replicas, available| {
        json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {"observedGeneration": 2,
            "updatedReplicas": updated, "replicas": replicas, "availableReplicas": available}})
    };
    check(
        "apps/v1",
        "Deployment",
        &[
            ("all there", "Healthy", at(3, 3, 3)),
            ("paused", "Suspended", json!({"spec": {"paused": true}})),
            (
                "not seen",
                "Progressing",
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}),
            ),
            (
                "deadline",
                "Degraded",
                json!({"status": {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}}),
            ),
            ("too few updated", "Progressing", at(2, 3, 3)),
            ("old ones left", "Progressing", at(3, 4, 3)),
            ("not available", "Progressing", at(3, 3, 2)),
            ("zero wanted", "Healthy", json!({"spec": {"replicas": 0}})),
        ],
    );
}

#[test]
fn a_stateful_set_follows_its_update_strategy() {
    let at = |ready: i64, strategy: Value, status: Value| {
        let mut value = json!({"metadata": {"generation": 1}, "spec": {"replicas": 3, "updateStrategy": strategy},
            "status": {"observedGeneration": 1, "readyReplicas": ready}});
        merge(&mut value, json!({"status": status}));
        value
    };
    let rolling = |partition: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    check(
        "apps/v1",
        "StatefulSet",
        &[
            (
                "never observed",
                "Progressing",
                json!({"spec": {"replicas": 0}}),
            ),
            ("not ready", "Progressing", at(2, rolling(0), json!({}))),
            (
                "partition not reached",
                "Progressing",
                at(3, rolling(1), json!({"updatedReplicas": 1})),
            ),
            (
                "partition reached",
                "Healthy",
                at(3, rolling(1), json!({"updatedReplicas": 2})),
            ),
            (
                "on delete",
                "Healthy",
                at(3, json!({"type": "OnDelete"}), json!({})),
            ),
            (
                "two revisions",
                "Progressing",
                at(
                    3,
                    json!({"type": "RollingUpdate"}),
                    json!({"updateRevision": "b", "currentRevision": "a"}),
                ),
            ),
            (
                "one revision",
                "Healthy",
                at(
                    3,
                    json!({"type": "RollingUpdate"}),
                    json!({"updateRevision": "b", "currentRevision": "b"}),
                ),
            ),
        ],
    );
}

#[test]
fn a_daemon_set_is_healthy_once_it_is_on_every_node() {
    let at = |updated, available| json!({"status": {"desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberAvailable": available}});
    check(
        "apps/v1",
        "DaemonSet",
        &[
            (
                "not seen",
                "Progressing",
                json!({"metadata": {"generation": 1}}),
            ),
            (
                "on delete",
                "Healthy",
                json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"desiredNumberScheduled": 3}}),
            ),
            ("not updated", "Progressing", at(2, 3)),
            ("not available", "Progressing", at(3, 2)),
            ("all there", "Healthy", at(3, 3)),
        ],
    );
}

#[test]
fn a_replica_set_fails_when_it_cannot_make_pods() {
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            (
                "not seen",
                "Progressing",
                json!({"metadata": {"generation": 1}}),
            ),
            (
                "failure",
                "Degraded",
                json!({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]}}),
            ),
            (
                "too few",
                "Progressing",
                json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 1}}),
            ),
            (
                "all there",
                "Healthy",
                json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 2}}),
            ),
        ],
    );
}

#[test]
fn a_pod_is_judged_by_its_containers_and_then_by_its_phase() {
    let waiting = |reason: &str| json!({"status": {"phase": "Running", "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason}}}]}});
    let never =
        |phase: &str| json!({"spec": {"restartPolicy": "Never"}, "status": {"phase": phase}});
    check(
        "v1",
        "Pod",
        &[
            ("crash looping", "Degraded", waiting("CrashLoopBackOff")),
            ("no image", "Degraded", waiting("ErrImagePull")),
            (
                "bad config",
                "Degraded",
                waiting("CreateContainerConfigError"),
            ),
            ("being made", "Progressing", waiting("ContainerCreating")),
            (
                "an init container crashes",
                "Degraded",
                json!({"status": {"phase": "Pending", "initContainerStatuses": [{"name": "init", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
            ),
            (
                "pending",
                "Progressing",
                json!({"status": {"phase": "Pending"}}),
            ),
            ("done", "Healthy", never("Succeeded")),
            ("failed", "Degraded", never("Failed")),
            ("running once", "Progressing", never("Running")),
            (
                "ready",
                "Healthy",
                json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
            ),
            (
                "restarted and not ready",
                "Degraded",
                json!({"status": {"phase": "Running", "containerStatuses": [{"name": "web", "lastState": {"terminated": {"exitCode": 1}}}]}}),
            ),
            (
                "not ready yet",
                "Progressing",
                json!({"status": {"phase": "Running"}}),
            ),
            (
                "node lost",
                "Unknown",
                json!({"status": {"phase": "Unknown"}}),
            ),
            (
                "runs once, and its waiting reason is not judged",
                "Progressing",
                json!({"spec": {"restartPolicy": "Never"}, "status": {"phase": "Pending",
                    "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ErrImagePull"}}}]}}),
            ),
        ],
    );
}

#[test]
fn a_failed_pod_says_which_container_failed_and_how() {
    let pod = |terminated: Value| {
        health(&live(
            "v1",
            "Pod",
            json!({"spec": {"restartPolicy": "Never"}, "status": {"phase": "Failed",
            "containerStatuses": [{"name": "job", "state": {"terminated": terminated}}]}}),
        ))
    };
    assert_eq!(
        pod(json!({"exitCode": 3})).why(),
        Some("container job exited with code 3")
    );
    assert_eq!(
        pod(json!({"exitCode": 137, "reason": "OOMKilled"})).why(),
        Some("container job ran out of memory")
    );
}

#[test]
fn a_job_is_judged_by_which_conditions_are_there() {
    let with = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    check(
        "batch/v1",
        "Job",
        &[
            ("failed", "Degraded", with("Failed", "True")),
            ("present is enough", "Degraded", with("Failed", "False")),
            ("complete", "Healthy", with("Complete", "True")),
            ("suspended", "Suspended", with("Suspended", "True")),
            ("not suspended", "Progressing", with("Suspended", "False")),
            ("running", "Progressing", json!({})),
        ],
    );
}

#[test]
fn a_cron_job_is_degraded_only_when_its_last_run_failed() {
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    let at = |scheduled: &str, succeeded: &str| json!({"status": {"lastScheduleTime": scheduled, "lastSuccessfulTime": succeeded}});
    let mut running = at(late, early);
    merge(
        &mut running,
        json!({"status": {"active": [{"name": "run"}]}}),
    );
    let mut suspended = at(late, early);
    merge(&mut suspended, json!({"spec": {"suspend": true}}));
    check(
        "batch/v1",
        "CronJob",
        &[
            ("suspended", "Healthy", suspended),
            ("never run", "Healthy", json!({})),
            (
                "no success yet",
                "Healthy",
                json!({"status": {"lastScheduleTime": late}}),
            ),
            ("running", "Healthy", running),
            ("last run failed", "Degraded", at(late, early)),
            ("last run succeeded", "Healthy", at(early, late)),
        ],
    );
}

#[test]
fn services_and_ingresses_wait_for_an_address() {
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}});
    let mut balanced = address.clone();
    merge(&mut balanced, json!({"spec": {"type": "LoadBalancer"}}));
    check(
        "v1",
        "Service",
        &[
            (
                "inside only",
                "Healthy",
                json!({"spec": {"type": "ClusterIP"}}),
            ),
            (
                "no address",
                "Progressing",
                json!({"spec": {"type": "LoadBalancer"}}),
            ),
            ("address", "Healthy", balanced),
        ],
    );
    check(
        "networking.k8s.io/v1",
        "Ingress",
        &[
            ("no address", "Progressing", json!({})),
            ("address", "Healthy", address),
        ],
    );
}

#[test]
fn a_claim_follows_its_phase() {
    let at = |phase: &str| json!({"status": {"phase": phase}});
    check(
        "v1",
        "PersistentVolumeClaim",
        &[
            ("bound", "Healthy", at("Bound")),
            ("lost", "Degraded", at("Lost")),
            ("pending", "Progressing", at("Pending")),
            ("new", "Unknown", json!({})),
        ],
    );
}

#[test]
fn an_autoscaler_is_degraded_by_the_reasons_that_stop_it() {
    let with = |kind: &str, status: &str, reason: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "reason": reason}]}});
    check(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        &[
            (
                "no scale",
                "Degraded",
                with("AbleToScale", "False", "FailedGetScale"),
            ),
            (
                "no metric",
                "Degraded",
                with("ScalingActive", "False", "FailedGetResourceMetric"),
            ),
            (
                "bad selector",
                "Degraded",
                with("ScalingActive", "False", "InvalidSelector"),
            ),
            (
                "able",
                "Healthy",
                with("AbleToScale", "True", "ReadyForNewScale"),
            ),
            (
                "limited",
                "Healthy",
                with("ScalingLimited", "True", "TooFewReplicas"),
            ),
            ("new", "Progressing", json!({})),
        ],
    );
    check(
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        &[(
            "conditions in the annotation",
            "Healthy",
            json!({"metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/conditions":
                "[{\"type\":\"AbleToScale\",\"status\":\"True\"}]"}}}),
        )],
    );
}

#[test]
fn an_api_service_is_healthy_when_available() {
    let at =
        |status: &str| json!({"status": {"conditions": [{"type": "Available", "status": status}]}});
    check(
        "apiregistration.k8s.io/v1",
        "APIService",
        &[
            ("yes", "Healthy", at("True")),
            ("no", "Progressing", at("False")),
            ("new", "Progressing", json!({})),
        ],
    );
}

#[test]
fn a_disruption_budget_with_too_few_pods_is_healthy_all_the_same() {
    let at = |reason: &str| json!({"status": {"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": reason}]}});
    check(
        "policy/v1",
        "PodDisruptionBudget",
        &[
            ("new", "Progressing", json!({})),
            ("too few pods", "Healthy", at("InsufficientPods")),
            ("cannot work", "Degraded", at("SyncFailed")),
        ],
    );
}

#[test]
fn a_definition_is_healthy_when_established() {
    let at = |kind: &str, status: &str, reason: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "reason": reason}]}});
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            ("new", "Progressing", json!({})),
            ("terminating", "Progressing", at("Terminating", "True", "")),
            (
                "names taken",
                "Degraded",
                at("NamesAccepted", "False", "PluralConflict"),
            ),
            (
                "bad schema",
                "Degraded",
                at("NonStructuralSchema", "True", ""),
            ),
            ("established", "Healthy", at("Established", "True", "")),
            (
                "installing",
                "Progressing",
                at("Established", "False", "Installing"),
            ),
            (
                "refused",
                "Degraded",
                at("Established", "False", "NotAccepted"),
            ),
            ("never", "Degraded", at("NamesAccepted", "True", "")),
        ],
    );
}

#[test]
fn workflows_and_child_apps_tell_about_themselves() {
    let at = |phase: &str| json!({"status": {"phase": phase}});
    check(
        "argoproj.io/v1alpha1",
        "Workflow",
        &[
            ("new", "Progressing", json!({})),
            ("running", "Progressing", at("Running")),
            ("done", "Healthy", at("Succeeded")),
            ("failed", "Degraded", at("Error")),
        ],
    );
    let child = |word: &str| json!({"status": {"health": {"status": word}}});
    check(
        "argoproj.io/v1alpha1",
        "Application",
        &[
            ("new", "Progressing", json!({})),
            ("healthy", "Healthy", child("Healthy")),
            ("degraded", "Degraded", child("Degraded")),
            ("missing counts for nothing", "", child("Missing")),
        ],
    );
}

#[test]
fn kinds_without_a_rule_are_neutral() {
    for kind in ["ConfigMap", "Secret", "ServiceAccount", "Namespace"] {
        assert_eq!(health(&live("v1", kind, json!({}))), Health::None);
    }
    assert_eq!(
        health(&live("rbac.authorization.k8s.io/v1", "Role", json!({}))),
        Health::None
    );
}

#[test]
fn custom_resources_follow_the_conventions_they_use() {
    let with = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    check(
        "example.org/v1",
        "Widget",
        &[
            ("says nothing", "", json!({"spec": {}})),
            (
                "stale",
                "Progressing",
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}),
            ),
            ("reconciling", "Progressing", with("Reconciling", "True")),
            ("stalled", "Degraded", with("Stalled", "True")),
            ("ready", "Healthy", with("Ready", "True")),
            ("not ready", "Progressing", with("Ready", "False")),
            ("unknown", "Progressing", with("Ready", "Unknown")),
        ],
    );
}

#[test]
fn the_worst_counts_but_one_missing_object_does_not_drag_the_app_down() {
    let progressing = Health::Progressing {
        why: "a".to_owned(),
    };
    let degraded = Health::Degraded {
        why: "b".to_owned(),
    };
    let unknown = Health::Unknown {
        why: "c".to_owned(),
    };
    let of = |all: &[Health]| worst(all.iter());
    assert_eq!(of(&[]), Health::Healthy);
    assert_eq!(of(&[Health::None, Health::Healthy]), Health::Healthy);
    assert_eq!(
        of(&[Health::Healthy, progressing.clone(), Health::Missing]),
        progressing
    );
    assert_eq!(of(&[progressing.clone(), degraded.clone()]), degraded);
    assert_eq!(of(&[unknown.clone(), degraded]), unknown);
    assert_eq!(of(&[Health::Missing, Health::Missing]), Health::Missing);
    assert_eq!(of(&[Health::Missing, Health::None]), Health::Healthy);
}

#[test]
fn facts_are_one_line_and_show_no_secret() {
    let of = |api_version, kind, rest| fact(&live(api_version, kind, rest));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        of(
            "apps/v1",
            "Deployment",
            json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}})
        ),
        some("2 of 3 ready")
    );
    assert_eq!(
        of(
            "v1",
            "ConfigMap",
            json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": ""}})
        ),
        some("3 keys")
    );
    assert_eq!(
        of(
            "v1",
            "Secret",
            json!({"data": {"password": "aHVudGVyMg=="}})
        ),
        some("1 key")
    );
    assert_eq!(
        of("v1", "Service", json!({"spec": {"type": "ClusterIP"}})),
        some("ClusterIP")
    );
    assert_eq!(
        of(
            "v1",
            "Service",
            json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}})
        ),
        some("LoadBalancer at 10.0.0.1")
    );
    assert_eq!(
        of(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.example"}, {"host": "b.example"}]}})
        ),
        some("a.example and 1 more")
    );
    assert_eq!(
        of(
            "v1",
            "Pod",
            json!({"status": {"phase": "Running", "containerStatuses": [{"restartCount": 2}]}})
        ),
        some("Running, 2 restarts")
    );
    assert_eq!(
        of("batch/v1", "Job", json!({"status": {"succeeded": 1}})),
        some("1 of 1 done")
    );
    assert_eq!(
        of(
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "0 * * * *"}})
        ),
        some("0 * * * *")
    );
    assert_eq!(of("v1", "ServiceAccount", json!({})), None);
}
