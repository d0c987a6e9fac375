//! What others do to our objects: put back where git says something, left alone where it does not.

use anyhow::Result;
use serde_json::json;

use super::{
    APP, application, at, caught_up, config_map, deployment, holds, live, of_objects, polled, push,
    settled, settled_as, to,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_somebody_changed_is_put_back() -> Result<()> {
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(1);
    let world = settled("field", &[config_map("front", "1"), web]).await?;
    let by_hand = json!({"data": {"value": "by hand"}});
    let changed = world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    assert_eq!(changed["data"]["value"], "by hand");
    let front = holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    assert_eq!(front["metadata"]["uid"], changed["metadata"]["uid"]);

    let none = json!({"spec": {"replicas": 0}});
    let scaled = world
        .kube
        .patch(&at(&world, "Deployment", "web"), none, "hand")
        .await?;
    assert_eq!(scaled["spec"]["replicas"], 0);
    holds(&world, "Deployment", "web", "/spec/replicas", json!(1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_somebody_removed_is_put_back() -> Result<()> {
    let world = settled("unfield", &[config_map("front", "1")]).await?;
    let by_hand = json!({"data": {"value": null}});
    let changed = world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    assert_eq!(changed.pointer("/data/value"), None);
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_somebody_deleted_is_made_again() -> Result<()> {
    let world = settled(
        "object",
        &[config_map("front", "1"), config_map("back", "1")],
    )
    .await?;
    let old = live(&world, "ConfigMap", "front").await?["metadata"]["uid"].clone();
    world.kube.delete(&at(&world, "ConfigMap", "front")).await?;
    world
        .object_until("ConfigMap", "front", "another uid", |object| {
            object.is_some_and(|object| object["metadata"]["uid"] != old)
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_mark_somebody_removed_is_marked_again() -> Result<()> {
    let world = settled("mark", &[config_map("front", "1")]).await?;
    let before = live(&world, "ConfigMap", "front").await?;
    let unmark = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": null}}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), unmark, "hand")
        .await?;
    let label = "/metadata/labels/applyset.kubernetes.io~1part-of";
    let mark = before.pointer(label).cloned().unwrap_or_default();
    let after = holds(&world, "ConfigMap", "front", label, mark).await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_git_does_not_set_are_left_to_whoever_sets_them() -> Result<()> {
    let world = settled(
        "foreign",
        &[config_map("front", "1"), config_map("sentinel", "1")],
    )
    .await?;
    let mark = world.mark().await?;
    let foreign = json!({
        "metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/seen": "yes"},
                     "finalizers": ["example.com/held"]},
        "data": {"added": "by another controller"},
    });
    world
        .kube
        .patch(
            &at(&world, "ConfigMap", "front"),
            foreign,
            "another-controller",
        )
        .await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    polled(&world, 1).await?;
    let writes = world.writes_since(mark).await?;
    assert!(to(&writes, "/configmaps/front").is_empty(), "{writes:#?}");
    assert_eq!(to(&writes, "/configmaps/sentinel").len(), 1, "{writes:#?}");
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(
        front["data"],
        json!({"value": "1", "added": "by another controller"})
    );
    assert_eq!(front["metadata"]["labels"]["team"], "shop");
    assert_eq!(front["metadata"]["annotations"]["example.com/seen"], "yes");
    let release = json!({"metadata": {"finalizers": null}});
    world
        .kube
        .patch(
            &at(&world, "ConfigMap", "front"),
            release,
            "another-controller",
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_field_survives_a_commit_that_changes_the_object() -> Result<()> {
    let world = settled("survives", &[config_map("front", "1")]).await?;
    let foreign = json!({"data": {"added": "by another controller"}});
    world
        .kube
        .patch(
            &at(&world, "ConfigMap", "front"),
            foreign,
            "another-controller",
        )
        .await?;
    push(&world.repository, APP, &[config_map("front", "2")])?;
    let front = holds(&world, "ConfigMap", "front", "/data/value", json!("2")).await?;
    assert_eq!(front["data"]["added"], "by another controller");
    Ok(())
}

fn autoscaler(of: &str) -> serde_json::Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": of},
        "spec": {"minReplicas": 1, "maxReplicas": 5,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": of}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_git_does_not_set_are_the_autoscalers() -> Result<()> {
    let world = settled(
        "hpa",
        &[deployment("web"), deployment("sentinel"), autoscaler("web")],
    )
    .await?;
    let mark = world.mark().await?;
    let scale = format!("{}/scale", at(&world, "Deployment", "web"));
    world
        .kube
        .patch(&scale, json!({"spec": {"replicas": 3}}), "autoscaler")
        .await?;
    caught_up(&world, "Deployment", "sentinel").await?;
    let writes = world.writes_since(mark).await?;
    assert!(to(&writes, "/deployments/web").is_empty(), "{writes:#?}");

    // Nor does a later commit to the Deployment take them back.
    let mut changed = deployment("web");
    changed["metadata"]["labels"]["touched-by"] = json!("git-again");
    push(&world.repository, APP, &[changed])?;
    let label = "/metadata/labels/touched-by";
    let web = holds(&world, "Deployment", "web", label, json!("git-again")).await?;
    assert_eq!(web["spec"]["replicas"], 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_git_sets_are_the_autoscalers_of_the_same_app_once_it_scales() -> Result<()> {
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(1);
    let world = settled(
        "hpaset",
        &[web.clone(), deployment("sentinel"), autoscaler("web")],
    )
    .await?;
    assert_eq!(
        live(&world, "Deployment", "web").await?["spec"]["replicas"],
        1
    );
    let mark = world.mark().await?;
    let scale = format!("{}/scale", at(&world, "Deployment", "web"));
    world
        .kube
        .patch(&scale, json!({"spec": {"replicas": 3}}), "autoscaler")
        .await?;
    caught_up(&world, "Deployment", "sentinel").await?;
    let writes = world.writes_since(mark).await?;
    assert!(to(&writes, "/deployments/web").is_empty(), "{writes:#?}");

    web["metadata"]["labels"]["touched-by"] = json!("git-again");
    push(&world.repository, APP, &[web])?;
    let label = "/metadata/labels/touched-by";
    let web = holds(&world, "Deployment", "web", label, json!("git-again")).await?;
    assert_eq!(web["spec"]["replicas"], 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_under_ignore_differences_is_no_drift() -> Result<()> {
    let objects = [config_map("front", "1"), config_map("sentinel", "1")];
    let world = settled_as("ignore", &objects, |app| {
        app["spec"]["ignoreDifferences"] =
            json!([{"kind": "ConfigMap", "name": "front", "jsonPointers": ["/data/value"]}]);
    })
    .await?;
    let mark = world.mark().await?;
    let tuned = json!({"data": {"value": "tuned"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), tuned, "tuner")
        .await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/front").is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "tuned"
    );
    world
        .app(APP, "being Synced all the same", |app| {
            app["status"]["sync"]["status"] == "Synced"
                && app["status"]["lockstep"]["state"] == "synced"
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_policy_only_reports_is_said_and_left() -> Result<()> {
    let world = settled_as("report", &[config_map("front", "1")], |app| {
        app["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false);
    })
    .await?;
    let mark = world.mark().await?;
    let by_hand = json!({"data": {"value": "by hand"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    world
        .app(APP, "saying that it drifted", |app| {
            app["status"]["sync"]["status"] == "OutOfSync"
                && app["status"]["lockstep"]["state"] == "drifted"
        })
        .await?;
    polled(&world, 1).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "by hand"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignore_differences_count_from_when_they_are_written() -> Result<()> {
    let world = settled(
        "ignorenow",
        &[config_map("front", "1"), config_map("sentinel", "1")],
    )
    .await?;
    let rules = json!([{"kind": "ConfigMap", "name": "front", "jsonPointers": ["/data/value"]}]);
    let ignore = json!({"spec": {"ignoreDifferences": rules}});
    world
        .kube
        .patch(&application(&world, APP), ignore, "hand")
        .await?;
    polled(&world, 2).await?;
    let mark = world.mark().await?;
    let tuned = json!({"data": {"value": "tuned"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), tuned, "tuner")
        .await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/front").is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "tuned"
    );

    // And no longer from when they are gone.
    let none = json!({"spec": {"ignoreDifferences": null}});
    world
        .kube
        .patch(&application(&world, APP), none, "hand")
        .await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_differences_survive_a_sync_from_when_the_app_says_so() -> Result<()> {
    let world = settled_as("respect", &[config_map("front", "1")], |app| {
        app["spec"]["ignoreDifferences"] =
            json!([{"kind": "ConfigMap", "jsonPointers": ["/data/value"]}]);
    })
    .await?;
    let respect =
        json!({"spec": {"syncPolicy": {"syncOptions": ["RespectIgnoreDifferences=true"]}}});
    world
        .kube
        .patch(&application(&world, APP), respect, "hand")
        .await?;
    polled(&world, 2).await?;
    let tuned = json!({"data": {"value": "tuned"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), tuned, "tuner")
        .await?;
    // Another field is put back by an apply of the whole object, and so is a commit brought.
    caught_up(&world, "ConfigMap", "front").await?;
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "tuned"
    );
    let mut changed = config_map("front", "2");
    changed["data"]["more"] = json!("of git");
    push(&world.repository, APP, &[changed.clone()])?;
    let front = holds(&world, "ConfigMap", "front", "/data/more", json!("of git")).await?;
    assert_eq!(front["data"]["value"], "tuned");

    // Without the option a sync brings git's value, whatever counts as drift.
    let no_respect = json!({"spec": {"syncPolicy": {"syncOptions": []}}});
    world
        .kube
        .patch(&application(&world, APP), no_respect, "hand")
        .await?;
    changed["data"]["more"] = json!("of git again");
    push(&world.repository, APP, &[changed])?;
    let front = holds(
        &world,
        "ConfigMap",
        "front",
        "/data/more",
        json!("of git again"),
    )
    .await?;
    assert_eq!(front["data"]["value"], "2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_drift_ends_when_it_is_said_to_be_ignored() -> Result<()> {
    let world = settled_as("accepted", &[config_map("front", "1")], |app| {
        app["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false);
    })
    .await?;
    let tuned = json!({"data": {"value": "tuned"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), tuned, "tuner")
        .await?;
    let is = |status: &'static str| {
        move |app: &serde_json::Value| app["status"]["sync"]["status"] == status
    };
    world.app(APP, "being OutOfSync", is("OutOfSync")).await?;
    let mark = world.mark().await?;
    let rules = json!([{"kind": "ConfigMap", "jsonPointers": ["/data/value"]}]);
    let ignore = json!({"spec": {"ignoreDifferences": rules}});
    world
        .kube
        .patch(&application(&world, APP), ignore, "hand")
        .await?;
    world.app(APP, "being Synced", is("Synced")).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "tuned"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_that_came_to_be_ignored_while_nobody_ran_are_left_at_the_next_start()
-> Result<()> {
    let objects = [config_map("front", "1"), config_map("sentinel", "1")];
    let mut world = settled("ignorestart", &objects).await?;
    polled(&world, 2).await?;
    world.daemon().terminate()?;
    let tuned = json!({"data": {"value": "tuned"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), tuned, "tuner")
        .await?;
    let rules = json!([{"kind": "ConfigMap", "name": "front", "jsonPointers": ["/data/value"]}]);
    let ignore = json!({"spec": {"ignoreDifferences": rules}});
    world
        .kube
        .patch(&application(&world, APP), ignore, "hand")
        .await?;
    let mark = world.mark().await?;
    world.start()?;
    polled(&world, 1).await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/front").is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "tuned"
    );
    Ok(())
}
