//! Going back to what was deployed, ending a sync, giving an object up; and how far one app's trouble reaches.

use anyhow::{Context as _, Result, ensure};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use reqwest::Method;
use serde_json::{Value, json};

use super::hooks::{ended, hook};
use super::{
    APP, absent, application, at, begun, caught_up, config_map, holds, live, of_objects, polled,
    push, settled, settled_as, to, withdraw,
};

/// Asks something of the app by REST.
async fn demand(world: &World, verb: &str, body: Value) -> Result<Value> {
    let at = format!("/api/v1/apps/default/{APP}/{verb}");
    let (status, answer) = world.rest(Method::POST, &at, Some(body)).await?;
    ensure!(status.is_success(), "{verb}: {status}: {answer:#}");
    Ok(answer)
}

/// A Secret with a value that must not be seen anywhere.
fn secret(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"key": value}})
}

/// What is stored of the app's deployments.
async fn bundles(world: &World, count: usize) -> Result<Vec<Value>> {
    let names = |log: &Value| {
        let rows = log["status"]["history"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        rows.len() == count
    };
    world.app(APP, "its history", names).await?;
    world.kube.list(&path("Bundle", &world.apps, "")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_applies_the_same_bytes_and_stays_there_until_a_newer_commit() -> Result<()> {
    let world = settled("rollback", &[config_map("front", "1"), secret("canary-1")]).await?;
    let second = push(
        &world.repository,
        APP,
        &[
            config_map("front", "2"),
            secret("canary-2"),
            config_map("new", "2"),
        ],
    )?;
    world.synced(APP, &second).await?;

    demand(
        &world,
        "rollback",
        json!({"reason": "it burns", "prune": true}),
    )
    .await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    absent(&world, "ConfigMap", "new").await?;
    let app = world
        .app(APP, "being held", |app| {
            app["status"]["lockstep"]["reason"]["code"] == "held.rollback"
        })
        .await?;
    let hold = &app["status"]["lockstep"]["hold"];
    assert_eq!(
        (&hold["reason"], &hold["who"], &hold["until"]),
        (&json!("it burns"), &json!("tester"), &json!("newer-commit"))
    );
    let key = live(&world, "Secret", "key").await?;
    assert_eq!(key["data"]["key"], "Y2FuYXJ5LTE=");
    // Drift is put back to what is held, and the target is not followed.
    caught_up(&world, "ConfigMap", "front").await?;
    polled(&world, 2).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;

    let third = push(&world.repository, APP, &[config_map("front", "3")])?;
    world.synced(APP, &third).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("3")).await?;
    live(&world, "ConfigMap", "new").await?;
    // Neither clear nor encoded: of what is secret only a digest is kept.
    for bundle in bundles(&world, 4).await? {
        let text = bundle.to_string();
        assert!(
            !text.contains("canary") && !text.contains("Y2FuYXJ5"),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_was_rolled_back_stays_there_over_a_restart_until_it_is_released() -> Result<()>
{
    let mut world = settled("held", &[config_map("front", "1")]).await?;
    let second = push(&world.repository, APP, &[config_map("front", "2")])?;
    world.synced(APP, &second).await?;
    demand(&world, "rollback", json!({"until": "release"})).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    ended(&world, "Succeeded").await?;
    world
        .kube
        .until("Record", &world.apps, APP, "the end of the run", |record| {
            record.is_some_and(|record| record.get("run").is_none())
        })
        .await?;
    world.daemon().kill()?;
    let mark = world.mark().await?;
    world.start()?;
    caught_up(&world, "ConfigMap", "front").await?;
    let third = push(&world.repository, APP, &[config_map("front", "3")])?;
    world
        .app(APP, "still being held", |app| {
            app["status"]["sync"]["revision"] == third.as_str()
                && app["status"]["lockstep"]["reason"]["code"] == "held.rollback"
        })
        .await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1");
    let writes = of_objects(world.writes_since(mark).await?);
    assert_eq!(to(&writes, "/configmaps/front").len(), 1, "{writes:#?}");
    demand(&world, "release", json!({})).await?;
    world.synced(APP, &third).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_somebody_ends_deletes_its_running_hooks_and_has_failed() -> Result<()> {
    let endless = hook(
        "before",
        "PreSync",
        json!({"test.lockstep.dev/ready": "never"}),
    );
    let (world, _) = begun("terminate", &[config_map("front", "1"), endless], |_| ()).await?;
    world
        .object_until("Job", "before", "a pod that runs", |job| {
            job.is_some_and(|job| job["status"]["active"] == 1)
        })
        .await?;
    let at = format!("/api/v1/applications/{APP}/operation");
    let (status, answer) = world.rest(Method::DELETE, &at, None).await?;
    ensure!(status.is_success(), "{status}: {answer:#}");
    let app = ended(&world, "Failed").await?;
    assert_eq!(
        app["status"]["operationState"]["message"],
        "Operation terminated"
    );
    absent(&world, "Job", "before").await?;
    assert!(world.object("ConfigMap", "front").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_given_up_lets_its_app_go_and_is_remembered() -> Result<()> {
    let mut kept = config_map("kept", "1");
    kept["metadata"]["finalizers"] = json!(["example.org/keeper"]);
    let world = settled_as("abandon", &[kept, config_map("front", "1")], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .app(APP, "saying what keeps it", |app| {
            let text = app["status"]["lockstep"]["reason"]["text"].as_str();
            text.is_some_and(|text| text.contains("example.org/keeper"))
        })
        .await?;
    let kept = json!({"group": "", "kind": "ConfigMap", "namespace": world.target, "name": "kept"});
    demand(&world, "abandon", json!({"objects": [kept]})).await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    let record = world.kube.must(&path("Record", &world.apps, APP)).await?;
    assert_eq!(record["tombstone"], true);
    assert_eq!(record["entries"][0]["name"], "kept");
    absent(&world, "ConfigMap", "front").await?;
    let free = json!({"metadata": {"finalizers": null}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "kept"), free, "hand")
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_is_tried_again_as_often_as_the_application_says() -> Result<()> {
    let world = World::started("retry").await?;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": world.target},
        "spec": {"hard": {"count/services": "0"}}});
    world.kube.create(&quota).await?;
    world
        .kube
        .until(
            "ResourceQuota",
            &world.target,
            "none",
            "being in force",
            |quota| quota.is_some_and(|quota| quota["status"]["hard"].is_object()),
        )
        .await?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
        "spec": {"ports": [{"port": 80}]}});
    let mark = world.mark().await?;
    push(&world.repository, APP, &[service, config_map("front", "1")])?;
    let mut app = world.application(APP, APP);
    app["spec"]["syncPolicy"]["retry"] =
        json!({"limit": 2, "backoff": {"duration": "1s", "factor": 1}});
    world.kube.create(&app).await?;
    let app = ended(&world, "Failed").await?;
    assert_eq!(app["status"]["operationState"]["retryCount"], 2);
    live(&world, "ConfigMap", "front").await?;
    polled(&world, 2).await?;
    let requests = world.requests_since(mark).await?;
    assert_eq!(to(&requests, "/services/front").len(), 3, "{requests:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_whose_conversion_is_broken_stops_the_apps_that_use_it_and_no_others() -> Result<()>
{
    let world = settled("conversion", &[config_map("front", "1")]).await?;
    let group = format!("{}.example.org", world.target);
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
    };
    let definition = |storage: &str, conversion: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("gears.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "conversion": conversion,
                "names": {"kind": "Gear", "plural": "gears", "singular": "gear"},
                "versions": [version("v1", storage == "v1"), version("v2", storage == "v2")]}})
    };
    world
        .kube
        .create(&definition("v1", json!({"strategy": "None"})))
        .await?;
    world
        .kube
        .until(
            "CustomResourceDefinition",
            "",
            &format!("gears.{group}"),
            "being served",
            |crd| {
                crd.is_some_and(|crd| {
                    let conditions = crd["status"]["conditions"].as_array();
                    conditions.is_some_and(|all| {
                        all.iter()
                            .any(|c| c["type"] == "Established" && c["status"] == "True")
                    })
                })
            },
        )
        .await?;
    let gear =
        json!({"apiVersion": format!("{group}/v2"), "kind": "Gear", "metadata": {"name": "one"}});
    push(&world.repository, "gears", &[gear])?;
    world
        .kube
        .create(&world.application("gears", "gears"))
        .await?;
    world
        .app("gears", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    let nobody = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
    world.kube.apply(&definition("v2", nobody), "hand").await?;
    // The other app is healed and takes commits, whatever becomes of this one.
    caught_up(&world, "ConfigMap", "front").await?;
    let revision = push(&world.repository, APP, &[config_map("front", "2")])?;
    world.synced(APP, &revision).await?;
    let gears = world.kube.must(&application(&world, "gears")).await?;
    let deleted = gears["status"]["resources"].as_array().context("rows")?;
    assert_eq!(deleted.len(), 1);
    withdraw(
        &world.repository,
        "gears",
        &[json!({"kind": "Gear", "metadata": {"name": "one"}})],
    )?;
    polled(&world, 2).await?;
    let revision = push(&world.repository, APP, &[config_map("front", "3")])?;
    world.synced(APP, &revision).await?;
    world
        .kube
        .apply(&definition("v1", json!({"strategy": "None"})), "hand")
        .await?;
    Ok(())
}
