//! What waits for what: a namespace before its content, a definition before its objects, a wave for health.

use anyhow::{Context as _, Result};
use lockstep_tests::kube::path;
use serde_json::json;

use super::{APP, absent, annotated, begun, config_map, deployment, live, push, settled, withdraw};

/// The definition of widgets in this group.
fn definition(group: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer"}}}}}}}],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_and_its_resource_come_in_one_app() -> Result<()> {
    let group = format!("crd-{:08x}.example.com", std::process::id());
    let definition = definition(&group);
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": "small"}, "spec": {"size": 1}});
    let world = settled("crd", &[definition, widget.clone()]).await?;
    let at = format!("/apis/{group}/v1/namespaces/{}/widgets/small", world.target);
    let made = world.kube.must(&at).await?;
    assert_eq!(made["spec"]["size"], 1);

    // From now on it is watched as any other kind.
    world
        .kube
        .patch(&at, json!({"spec": {"size": 7}}), "hand")
        .await?;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    let put_back = async {
        while world.kube.must(&at).await?["spec"]["size"] != 1 {
            tick.tick().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(lockstep_tests::kube::PATIENCE, put_back)
        .await
        .context("it was not put back")??;

    // And goes as any other, while its definition stays.
    let revision = withdraw(&world.repository, APP, &[widget])?;
    world.synced(APP, &revision).await?;
    assert!(world.kube.get(&at).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_nobody_serves_is_named_holds_up_nothing_else_and_comes_when_it_is_served()
-> Result<()> {
    let group = format!("nobody-{:08x}.example.com", std::process::id());
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "small"}});
    let (world, revision) = begun("unserved", &[widget, config_map("front", "1")], |_| ()).await?;
    world.condition(APP, "SyncError", &group).await?;
    live(&world, "ConfigMap", "front").await?;
    let failed = |app: &serde_json::Value| app["status"]["operationState"]["phase"] == "Failed";
    world.app(APP, "a failed sync", failed).await?;

    // A failed sync is not begun again; but here nothing was refused, it was only too early.
    world.kube.create(&definition(&group)).await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_namespace_that_is_asked_for_is_made_before_its_content() -> Result<()> {
    let world = lockstep_tests::World::started("ns").await?;
    let namespace = format!("{}-new", world.target);
    let mark = world.mark().await?;
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    let mut app = world.application(APP, APP);
    app["spec"]["destination"]["namespace"] = json!(namespace);
    app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    app["spec"]["syncPolicy"]["managedNamespaceMetadata"] = json!({"labels": {"team": "shop"}});
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;
    assert!(
        world
            .kube
            .get(&path("ConfigMap", &namespace, "front"))
            .await?
            .is_some()
    );
    let made = world.kube.must(&path("Namespace", "", &namespace)).await?;
    assert_eq!(made["metadata"]["labels"]["team"], "shop");
    // Nothing was tried before its time.
    let mut refused = world.writes_since(mark).await?;
    refused.retain(|write| write.uri.contains(&namespace) && write.code >= 400);
    assert!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_namespace_an_app_says_what_is_missing_and_goes_on_when_it_is_there()
-> Result<()> {
    let world = lockstep_tests::World::started("nons").await?;
    let namespace = format!("{}-later", world.target);
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    let mut app = world.application(APP, APP);
    app["spec"]["destination"]["namespace"] = json!(namespace);
    world.kube.create(&app).await?;
    world.condition(APP, "SyncError", &namespace).await?;
    world.kube.namespace(&namespace).await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_waits_until_the_one_before_it_is_healthy() -> Result<()> {
    let mut first = deployment("first");
    first["spec"]["template"]["metadata"]["annotations"] =
        json!({"test.lockstep.dev/ready": "never"});
    let second = annotated(
        config_map("second", "1"),
        "argocd.argoproj.io/sync-wave",
        "1",
    );
    let (world, revision) = begun("waves", &[first, second], |_| ()).await?;
    // Two seconds into a sync its status is told; the wait for health is what it says then.
    let app = world
        .app(APP, "waiting in the first wave", |app| {
            app["status"]["operationState"]["phase"] == "Running"
                && app["status"]["health"]["status"] == "Progressing"
        })
        .await?;
    let reason = app["status"]["lockstep"]["reason"]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        reason.contains("second") && reason.contains("first"),
        "{reason}"
    );
    assert!(world.object("ConfigMap", "second").await?.is_none());

    let pods = world.kube.list(&path("Pod", &world.target, "")).await?;
    assert!(!pods.is_empty());
    let ready = json!({"metadata": {"annotations": {"test.lockstep.dev/ready": null}}});
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        world
            .kube
            .patch(&path("Pod", &world.target, name), ready.clone(), "tests")
            .await?;
    }
    world
        .object_until("ConfigMap", "second", "being made", |object| {
            object.is_some()
        })
        .await?;
    let first = live(&world, "Deployment", "first").await?;
    assert_eq!(first["status"]["availableReplicas"], 1);
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_git_is_deleted_after_what_is_new_and_the_last_wave_first() -> Result<()> {
    let wave = |name: &str, wave: &str| {
        annotated(config_map(name, "1"), "argocd.argoproj.io/sync-wave", wave)
    };
    let gone = [wave("early", "0"), wave("late", "1")];
    let world = settled("backwards", &gone).await?;
    let hold = json!({"metadata": {"finalizers": ["example.com/held"]}});
    world
        .kube
        .patch(&super::at(&world, "ConfigMap", "late"), hold, "hand")
        .await?;
    world.repository.write(
        &super::file(APP, &config_map("new", "1")),
        &config_map("new", "1").to_string(),
    )?;
    let revision = withdraw(&world.repository, APP, &gone)?;
    world
        .object_until("ConfigMap", "late", "being deleted", |object| {
            object.is_some_and(|object| object["metadata"].get("deletionTimestamp").is_some())
        })
        .await?;
    live(&world, "ConfigMap", "new").await?;
    let early = live(&world, "ConfigMap", "early").await?;
    assert_eq!(early["metadata"].get("deletionTimestamp"), None);
    let release = json!({"metadata": {"finalizers": null}});
    world
        .kube
        .patch(&super::at(&world, "ConfigMap", "late"), release, "hand")
        .await?;
    absent(&world, "ConfigMap", "early").await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_somebody_deleted_is_made_again_with_its_content_and_without_hammering()
-> Result<()> {
    let world = lockstep_tests::World::started("nsgone").await?;
    let namespace = format!("{}-new", world.target);
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    let mut app = world.application(APP, APP);
    app["spec"]["destination"]["namespace"] = json!(namespace);
    app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;

    let mark = world.mark().await?;
    let at = path("Namespace", "", &namespace);
    let old = world.kube.must(&at).await?["metadata"]["uid"].clone();
    let front = world
        .kube
        .must(&path("ConfigMap", &namespace, "front"))
        .await?["metadata"]["uid"]
        .clone();
    world.kube.delete(&at).await?;
    let is_new = |uid: serde_json::Value| {
        move |object: Option<&serde_json::Value>| {
            object.is_some_and(|object| object["metadata"]["uid"] != uid)
        }
    };
    world
        .kube
        .until("Namespace", "", &namespace, "another uid", is_new(old))
        .await?;
    world
        .kube
        .until(
            "ConfigMap",
            &namespace,
            "front",
            "another uid",
            is_new(front),
        )
        .await?;
    world.synced(APP, &revision).await?;
    let writes = super::of_objects(world.writes_since(mark).await?);
    assert!(writes.len() < 20, "{writes:#?}");
    Ok(())
}
