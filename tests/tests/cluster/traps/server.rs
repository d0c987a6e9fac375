//! What else the API server does: versions, names, admission, and what is not there yet.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::{PATIENCE, path};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{drift, quiet, sentinel, widget, widget_at, widget_definition, widgets};
use crate::sync::{APP, at, config_map, holds, live, push, settled};

/// Trap 4: somebody wrote it in a version that lacks a field which the version of now gives a default, and no apply is
/// taken any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_somebody_wrote_in_an_older_version_is_applied_in_the_new_one() -> Result<()>
{
    let mut world = World::new("version").await?;
    let old = json!({"size": {"type": "integer"}});
    let new = json!({"size": {"type": "integer"}, "color": {"type": "string", "default": "red"}});
    let group = widgets(&world, &[("v1beta1", old), ("v1", new)]).await?;
    world.start()?;
    let apply = async |version: &str, manager: &str, size: u32| {
        let at = widget_at(&world, &group, version);
        let at = format!("{at}?fieldManager={manager}&force=true");
        let object = widget(&group, version, json!({"size": size}));
        let kind = "application/apply-patch+yaml";
        world
            .kube
            .send(Method::PATCH, &at, kind, Some(&object))
            .await
    };
    let (status, _) = apply("v1beta1", "some-operator", 1).await?;
    assert_eq!(status, StatusCode::CREATED);
    let (status, refused) = apply("v1", "another", 2).await?;
    assert!(
        !status.is_success() && refused.to_string().contains("field not declared in schema"),
        "the trap is gone: {status} {refused}"
    );

    let small = widget(&group, "v1", json!({"size": 2}));
    let revision = push(&world.repository, APP, &[small])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let made = world.kube.must(&widget_at(&world, &group, "v1")).await?;
    assert_eq!(made["spec"], json!({"size": 2, "color": "red"}));
    Ok(())
}

/// Trap 10: an object without a name cannot be applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_a_name_is_named_by_its_kind_and_holds_up_nothing() -> Result<()> {
    let world = World::started("noname").await?;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "migrate-"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "registry.example/migrate:1"}]}}}});
    world
        .repository
        .write(&format!("{APP}/job.json"), &job.to_string())?;
    push(&world.repository, APP, &[config_map("front", "1")])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world
        .condition(APP, "ComparisonError", "a Job has no")
        .await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    let jobs = world.kube.list(&path("Job", &world.target, "")).await?;
    assert!(jobs.is_empty(), "{jobs:?}");
    Ok(())
}

/// Trap 13: what admission changes differs from git for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_admission_changes_is_no_difference() -> Result<()> {
    let world = World::started("mutated").await?;
    let policy = format!("stamp-{}", world.target);
    let expression = "Object{metadata: Object.metadata{labels: {'stamped': 'yes'}}, \
         data: {'value': object.data['value'] + ', stamped'}}";
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
                "matchConditions": [{"name": "front",
                    "expression": "object.metadata.name in ['front', 'tried'] && !object.data['value'].endsWith('stamped')"}],
                "mutations": [{"patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": expression}}],
            },
        }))
        .await?;
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": policy},
            "spec": {"policyName": policy, "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.target}}}},
        }))
        .await?;
    tried(&world, |status, answer| {
        status.is_success() && answer["metadata"]["labels"]["stamped"] == "yes"
    })
    .await?;
    let objects = [config_map("front", "1"), sentinel()];
    let revision = push(&world.repository, APP, &objects)?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1, stamped");
    quiet(&world, "/configmaps/front").await?;

    // A change by hand is one all the same.
    let by_hand = json!({"data": {"value": "2, stamped"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    holds(
        &world,
        "ConfigMap",
        "front",
        "/data/value",
        json!("1, stamped"),
    )
    .await?;
    Ok(())
}

/// Trap 14: where admission takes no dry runs, nobody says what would change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_said_also_where_admission_takes_no_dry_run() -> Result<()> {
    let world = World::started("nodry").await?;
    deny(&world, "!request.dryRun", "no dry runs here").await?;
    tried(&world, |_, answer| {
        answer.to_string().contains("no dry runs here")
    })
    .await?;
    let mut front = config_map("front", "1");
    front["data"]["more"] = json!("of git");
    let revision = push(&world.repository, APP, &[front])?;
    let mut app = world.application(APP, APP);
    app["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false);
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;
    let by_hand = json!({"data": {"value": "by hand", "theirs": "x"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    let said = drift(&world, "the field", |drift| {
        drift["objects"][0]["fields"][0]["path"] == "data.value"
    })
    .await?;
    let fields = &said["objects"][0]["fields"];
    assert_eq!(fields.as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(fields[0]["path"], "data.value");
    assert_eq!(
        (&fields[0]["git"], &fields[0]["live"]),
        (&json!("1"), &json!("by hand"))
    );
    assert_eq!(fields[0]["by"][0]["manager"], "hand");
    Ok(())
}

/// Trap 15: a dry run of what is in a namespace, or of a kind, that the same commit brings finds neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_same_commit_brings_first_is_planned_and_not_failed() -> Result<()> {
    let world = World::started("notyet").await?;
    let group = format!("{}.example.com", world.target);
    let definition = widget_definition(&group, &[("v1", json!({"size": {"type": "integer"}}))]);
    let namespace = format!("{}-new", world.target);
    let mut small = widget(&group, "v1", json!({"size": 1}));
    small["metadata"]["namespace"] = json!(namespace);
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    push(&world.repository, APP, &[definition, made, small])?;
    let app = crate::objects::in_environment("prod", world.application("shop-prod", APP));
    world.kube.create(&app).await?;
    let plan = world
        .rest_until("/api/v1/apps/prod/shop/plan", "three steps", |_, plan| {
            plan["create"] == 3
        })
        .await?;
    assert_eq!(plan["left"], json!([]), "nothing is left out: {plan}");
    let digest = json!({"plan": plan["digest"]});
    world
        .rest(Method::POST, "/api/v1/apps/prod/shop/sync", Some(digest))
        .await?;
    let app = world
        .app("shop-prod", "the end of the sync", |app| {
            app["status"]["operationState"]["phase"] == "Succeeded"
        })
        .await?;
    let results = app["status"]["operationState"]["syncResult"]["resources"].to_string();
    assert!(!results.contains("SyncFailed"), "{results}");
    let at = format!("/apis/{group}/v1/namespaces/{namespace}/widgets/small");
    assert_eq!(world.kube.must(&at).await?["spec"]["size"], 1);
    Ok(())
}

/// Trap 19: one object may be served by two groups, and to prune it under one name deletes it under the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_git_calls_by_another_group_is_not_deleted() -> Result<()> {
    let at_time = "2026-01-01T00:00:00.000000Z";
    let world = World::started("alias").await?;
    let about = json!({"kind": "Namespace", "apiVersion": "v1", "name": world.target, "namespace": world.target});
    let old = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "released"},
        "involvedObject": about, "reason": "Released", "message": "as planned", "type": "Normal",
        "eventTime": at_time, "action": "Release", "reportingComponent": "example.com/release",
        "reportingInstance": "release-1"});
    let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "released"},
        "regarding": about, "reason": "Released", "note": "as planned", "type": "Normal",
        "eventTime": at_time, "action": "Release", "reportingController": "example.com/release",
        "reportingInstance": "release-1"});
    let revision = push(&world.repository, APP, &[old, sentinel()])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let at = format!("/api/v1/namespaces/{}/events/released", world.target);
    let before = world.kube.must(&at).await?;
    let mark = world.mark().await?;
    let revision = push(&world.repository, APP, &[new])?;
    world.synced(APP, &revision).await?;
    world.noted(APP).await?;
    let after = world.kube.must(&at).await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let writes = world.writes_since(mark).await?;
    assert!(
        writes.iter().all(|write| write.verb != "delete"),
        "{writes:#?}"
    );
    Ok(())
}

/// Trap 20: a refusal may speak of what is immutable and mean something else; nothing is deleted for a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_because_a_refusal_sounds_as_if_it_had_to_be() -> Result<()> {
    let forced = |value: &str| {
        let mut object = config_map("front", value);
        object["metadata"]["annotations"] =
            json!({"argocd.argoproj.io/sync-options": "Force=true,Replace=true"});
        object
    };
    let world = settled("sounds", &[forced("1")]).await?;
    let before = live(&world, "ConfigMap", "front").await?;
    deny(
        &world,
        "!('value' in object.data) || object.data['value'] != 'forbidden'",
        "data.value: field is immutable",
    )
    .await?;
    tried_with(&world, &config_map("tried", "forbidden"), |_, answer| {
        answer.to_string().contains("immutable")
    })
    .await?;
    let mark = world.mark().await?;
    push(&world.repository, APP, &[forced("forbidden")])?;
    world.condition(APP, "SyncError", "immutable").await?;
    let after = live(&world, "ConfigMap", "front").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["data"]["value"], "1");
    let writes = world.writes_since(mark).await?;
    assert!(
        writes.iter().all(|write| write.verb != "delete"),
        "{writes:#?}"
    );
    Ok(())
}

/// Forbids ConfigMaps of which this is not true, in this world's namespace alone.
async fn deny(world: &World, allowed: &str, message: &str) -> Result<()> {
    let policy = format!("deny-{}", world.target);
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
                "validations": [{"expression": allowed, "message": message}],
            },
        }))
        .await?;
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"], "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.target}}}},
        }))
        .await?;
    Ok(())
}

/// A policy takes some moments to be in force: tried by dry run until the answer shows it.
async fn tried(world: &World, shows: impl Fn(StatusCode, &Value) -> bool) -> Result<()> {
    tried_with(world, &config_map("tried", "1"), shows).await
}

async fn tried_with(
    world: &World,
    object: &Value,
    shows: impl Fn(StatusCode, &Value) -> bool,
) -> Result<()> {
    let at = format!("{}?dryRun=All", at(world, "ConfigMap", ""));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let trying = async {
        loop {
            let (status, answer) = world
                .kube
                .send(Method::POST, &at, "application/json", Some(object))
                .await?;
            if shows(status, &answer) {
                return anyhow::Ok(());
            }
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, trying)
        .await
        .context("the policy did not come into force")?
}
