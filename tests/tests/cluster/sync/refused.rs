//! What the API server, or this version, does not take: named, and nothing else held up by it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::{PATIENCE, path};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{APP, at, begun, caught_up, config_map, deployment, holds, live, push, settled, to};

fn ingress(name: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"defaultBackend": {"service": {"name": name, "port": {"number": 80}}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_cannot_be_changed_is_named_and_the_rest_of_the_commit_goes_on() -> Result<()>
{
    let world = settled("immutable", &[config_map("front", "1"), deployment("web")]).await?;
    let before = live(&world, "Deployment", "web").await?;
    let mut changed = deployment("web");
    changed["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    changed["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    // The ConfigMap comes before the Deployment in the order of kinds, the Ingress after it.
    let revision = push(
        &world.repository,
        APP,
        &[config_map("front", "2"), changed, ingress("web")],
    )?;
    world.condition(APP, "SyncError", "spec.selector").await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("2")).await?;
    world
        .object_until("Ingress", "web", "being made", |object| object.is_some())
        .await?;
    let after = live(&world, "Deployment", "web").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"]["selector"], before["spec"]["selector"]);
    let app = world
        .app(APP, "a failed operation", |app| {
            app["status"]["operationState"]["phase"] == "Failed"
        })
        .await?;
    assert_eq!(app["status"]["sync"]["status"], "OutOfSync");
    assert_eq!(app["status"]["sync"]["revision"], revision.as_str());

    // A commit that takes it back mends it.
    let revision = push(&world.repository, APP, &[deployment("web")])?;
    let app = world.synced(APP, &revision).await?;
    assert_eq!(app["status"].get("conditions"), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_object_is_named_and_not_tried_again_until_git_changes() -> Result<()> {
    let service = |port: u32| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": port}]}})
    };
    let objects = [config_map("front", "1"), service(70_000), ingress("web")];
    let (world, _) = begun("invalid", &objects, |_| ()).await?;
    world
        .condition(APP, "SyncError", "spec.ports[0].port")
        .await?;
    live(&world, "ConfigMap", "front").await?;
    world
        .object_until("Ingress", "web", "being made", |object| object.is_some())
        .await?;
    assert!(world.object("Service", "web").await?.is_none());

    let mark = world.mark().await?;
    caught_up(&world, "ConfigMap", "front").await?;
    super::polled(&world, 2).await?;
    let writes = world.writes_since(mark).await?;
    assert!(to(&writes, "/services/web").is_empty(), "{writes:#?}");

    let revision = push(&world.repository, APP, &[service(80)])?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_of_the_cluster_denies_is_told_in_its_words() -> Result<()> {
    let world = World::started("denied").await?;
    let policy = format!("no-forbidden-{}", world.target);
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
                "validations": [{
                    "expression": "!has(object.data) || !('forbidden' in object.data)",
                    "message": "the key forbidden is not for here"}],
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
    let mut forbidden = config_map("forbidden", "1");
    forbidden["data"]["forbidden"] = json!("yes");
    in_force(&world, &forbidden).await?;

    push(
        &world.repository,
        APP,
        &[forbidden, config_map("front", "1"), ingress("web")],
    )?;
    world.kube.create(&world.application(APP, APP)).await?;
    let app = world
        .condition(APP, "SyncError", "the key forbidden is not for here")
        .await?;
    let conditions = app["status"]["conditions"].to_string();
    assert!(
        conditions.contains(&policy) && conditions.contains("forbidden"),
        "{conditions}"
    );
    live(&world, "ConfigMap", "front").await?;
    world
        .object_until("Ingress", "web", "being made", |object| object.is_some())
        .await?;
    assert!(world.object("ConfigMap", "forbidden").await?.is_none());

    let revision = push(
        &world.repository,
        APP,
        &[config_map("forbidden", "no longer")],
    )?;
    world.synced(APP, &revision).await?;
    Ok(())
}

/// An admission policy takes some moments to be in force: tried by dry run until it denies.
async fn in_force(world: &World, denied: &Value) -> Result<()> {
    let at = format!("{}?dryRun=All", at(world, "ConfigMap", ""));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let denying = async {
        loop {
            let (status, _) = world
                .kube
                .send(Method::POST, &at, "application/json", Some(denied))
                .await?;
            if status == StatusCode::UNPROCESSABLE_ENTITY {
                return anyhow::Ok(());
            }
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, denying)
        .await
        .context("the policy did not come into force")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_is_not_configured_is_an_error_that_lists_those_that_are() -> Result<()>
{
    let (world, _) = begun("qa", &[config_map("front", "1")], |app| {
        app["metadata"]["labels"] = json!({"lockstep.dev/environment": "qa"});
    })
    .await?;
    let app = world.condition(APP, "InvalidSpecError", "qa").await?;
    let conditions = app["status"]["conditions"].to_string();
    for name in ["dev", "staging", "prod"] {
        assert!(conditions.contains(name), "{conditions}");
    }
    assert_eq!(app["status"]["lockstep"]["state"], "held");
    assert!(world.object("ConfigMap", "front").await?.is_none());

    let mend = json!({"metadata": {"labels": {"lockstep.dev/environment": "dev"}}});
    world
        .kube
        .patch(&path("Application", &world.apps, APP), mend, "hand")
        .await?;
    world
        .object_until("ConfigMap", "front", "being made", |object| {
            object.is_some()
        })
        .await?;
    Ok(())
}
