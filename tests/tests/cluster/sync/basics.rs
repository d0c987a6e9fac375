//! The life of an object: made, changed, left in peace, removed.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use serde_json::{Value, json};

use super::{
    APP, absent, annotated, application, at, config_map, file, holds, live, of_objects, polled,
    push, row, settled, settled_as, to, withdraw,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_object_is_made_with_our_marks_after_the_record_names_it() -> Result<()> {
    let world = World::started("create").await?;
    let begin = world.mark().await?;
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    world.kube.create(&world.application(APP, APP)).await?;
    let app = world.synced(APP, &revision).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1");
    assert_eq!(
        front["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"],
        format!("{APP}:/ConfigMap:{}/front", world.target)
    );
    let set = front["metadata"]["labels"]["applyset.kubernetes.io/part-of"]
        .as_str()
        .unwrap_or_default();
    assert!(set.starts_with("applyset-"), "{set}");
    let managers = front["metadata"]["managedFields"]
        .as_array()
        .context("the server keeps them")?;
    assert!(
        managers
            .iter()
            .all(|m| m["manager"] == "lockstep" && m["operation"] == "Apply"),
        "{managers:?}"
    );

    assert_eq!(app["status"]["health"]["status"], "Healthy");
    assert_eq!(app["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(
        row(&app, "ConfigMap", "front").context("a row")?["status"],
        "Synced"
    );

    let uid = &front["metadata"]["uid"];
    world
        .kube
        .until(
            "Record",
            &world.apps,
            APP,
            "the uid of the object",
            |record| {
                record.is_some_and(|record| {
                    record["entries"].as_array().is_some_and(|all| {
                        all.iter()
                            .any(|entry| entry["name"] == "front" && entry["uid"] == *uid)
                    })
                })
            },
        )
        .await?;
    // The log has a request when it is answered, and the object is asked for after the record's answer.
    let writes = world.writes_since(begin).await?;
    let first = |resource: &str| {
        writes
            .iter()
            .position(|w| w.resource == resource && w.code < 300)
    };
    let named = first("records").context("a record was written")?;
    let made = first("configmaps").context("an object was written")?;
    assert!(named < made, "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_changes_the_object_in_place_and_takes_away_what_it_leaves_out() -> Result<()> {
    let mut before = config_map("front", "1");
    before["data"]["old"] = json!("still here");
    let world = settled("update", &[before]).await?;
    let made = live(&world, "ConfigMap", "front").await?;

    let revision = push(&world.repository, APP, &[config_map("front", "2")])?;
    let front = holds(&world, "ConfigMap", "front", "/data/value", json!("2")).await?;
    assert_eq!(front["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(front["data"].get("old"), None);
    let app = world.synced(APP, &revision).await?;
    assert_eq!(app["status"]["history"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_changes_nothing_of_the_app_writes_only_its_status_once() -> Result<()> {
    let world = settled("noop", &[config_map("front", "1")]).await?;
    world.noted(APP).await?;
    polled(&world, 2).await?;
    let mark = world.mark().await?;
    let revision = world
        .repository
        .commit("elsewhere", &[("other/readme.txt", "nothing of yours\n")])?;
    world.synced(APP, &revision).await?;
    polled(&world, 2).await?;
    let writes = world.writes_since(mark).await?;
    assert!(
        writes.iter().all(|write| write.resource == "applications"),
        "{writes:#?}"
    );
    assert_eq!(writes.len(), 1, "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_app_asks_git_and_nothing_else() -> Result<()> {
    let world = settled("idle", &[config_map("front", "1"), config_map("back", "1")]).await?;
    world.noted(APP).await?;
    polled(&world, 2).await?;
    let mark = world.mark().await?;
    polled(&world, 3).await?;
    let mut requests = world.requests_since(mark).await?;
    // A watch is renewed after some minutes; the lease is the replica's heartbeat.
    requests.retain(|request| request.resource != "leases" && request.verb != "watch");
    // What was deployed is stored once, a while after.
    let (stored, requests): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .partition(|request| request.resource == "bundles");
    let times = stored.iter().filter(|request| request.verb == "create");
    assert!(times.count() <= 1, "{stored:#?}");
    assert!(requests.is_empty(), "{requests:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_left_git_is_deleted() -> Result<()> {
    let (front, back) = (config_map("front", "1"), config_map("back", "1"));
    let world = settled("prune", &[front, back.clone()]).await?;
    let revision = withdraw(&world.repository, APP, &[back])?;
    absent(&world, "ConfigMap", "back").await?;
    let app = world.synced(APP, &revision).await?;
    assert!(row(&app, "ConfigMap", "back").is_none());
    live(&world, "ConfigMap", "front").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_carries_no_mark_is_not_deleted() -> Result<()> {
    let (front, back) = (config_map("front", "1"), config_map("back", "1"));
    let world = settled_as("unmarked", &[front, back.clone()], |app| {
        app["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false);
    })
    .await?;
    let unmark = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": null}}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "back"), unmark, "hand")
        .await?;
    let mark = world.mark().await?;
    withdraw(&world.repository, APP, &[back])?;
    world.condition(APP, "PruneRefusedWarning", "back").await?;
    let back = live(&world, "ConfigMap", "back").await?;
    assert_eq!(back["metadata"].get("deletionTimestamp"), None);
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_the_same_name_that_somebody_else_made_is_not_deleted() -> Result<()> {
    let (front, back) = (config_map("front", "1"), config_map("back", "1"));
    let mut world = settled("stranger", &[front, back.clone()]).await?;
    world.daemon().terminate()?;
    world.kube.delete(&at(&world, "ConfigMap", "back")).await?;
    let mut strange = config_map("back", "somebody else's");
    strange["metadata"]["namespace"] = json!(world.target);
    let strange = world.kube.create(&strange).await?;
    let revision = withdraw(&world.repository, APP, &[back])?;
    world.start()?;
    world.synced(APP, &revision).await?;
    let back = live(&world, "ConfigMap", "back").await?;
    assert_eq!(back["metadata"]["uid"], strange["metadata"]["uid"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_with_prune_off_stays_and_the_app_says_so() -> Result<()> {
    let kept = annotated(
        config_map("kept", "1"),
        "argocd.argoproj.io/sync-options",
        "Prune=false",
    );
    let world = settled("keep", &[config_map("front", "1"), kept.clone()]).await?;
    let mark = world.mark().await?;
    let revision = withdraw(&world.repository, APP, &[kept])?;
    let is_named = |app: &Value| {
        app["status"]["sync"]["revision"] == revision.as_str()
            && row(app, "ConfigMap", "kept").is_some_and(|row| row["requiresPruning"] == true)
    };
    let app = world
        .app(APP, "a row that requires pruning", is_named)
        .await?;
    assert_eq!(app["status"]["sync"]["status"], "OutOfSync");
    live(&world, "ConfigMap", "kept").await?;
    polled(&world, 2).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/kept").is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_any_object_is_held_until_it_is_allowed() -> Result<()> {
    let front = config_map("front", "1");
    let world = settled("empty", std::slice::from_ref(&front)).await?;
    let mark = world.mark().await?;
    world.repository.write(
        &format!("{APP}/readme.txt"),
        "so that git keeps the folder\n",
    )?;
    withdraw(&world.repository, APP, &[front])?;
    world
        .condition(APP, "SyncError", "auto-sync will wipe out all resources")
        .await?;
    live(&world, "ConfigMap", "front").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");

    let allow = json!({"spec": {"syncPolicy": {"automated": {"allowEmpty": true}}}});
    world
        .kube
        .patch(&application(&world, APP), allow, "hand")
        .await?;
    absent(&world, "ConfigMap", "front").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_gone_from_git_prunes_nothing() -> Result<()> {
    let front = config_map("front", "1");
    let world = settled("folder", std::slice::from_ref(&front)).await?;
    let mark = world.mark().await?;
    world
        .repository
        .write("readme.txt", "so that there is something to commit\n")?;
    world.repository.remove(&file(APP, &front))?;
    world.repository.push("remove the folder")?;
    world.condition(APP, "ComparisonError", APP).await?;
    polled(&world, 2).await?;
    live(&world, "ConfigMap", "front").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_pointed_at_another_namespace_moves_there() -> Result<()> {
    let world = settled("move", &[config_map("front", "1")]).await?;
    let other = format!("{}-other", world.target);
    world.kube.namespace(&other).await?;
    let there = json!({"spec": {"destination": {"namespace": other}}});
    world
        .kube
        .patch(&application(&world, APP), there, "hand")
        .await?;
    let what = "being made in the other namespace";
    world
        .kube
        .until("ConfigMap", &other, "front", what, |object| {
            object.is_some()
        })
        .await?;
    absent(&world, "ConfigMap", "front").await?;
    let app = world
        .app(APP, "being Synced there", |app| {
            app["status"]["sync"]["status"] == "Synced"
                && row(app, "ConfigMap", "front")
                    .is_some_and(|row| row["namespace"] == other.as_str())
        })
        .await?;
    assert_eq!(app["status"]["resources"].as_array().map(Vec::len), Some(1));
    assert!(
        world
            .kube
            .get(&path("ConfigMap", &other, "front"))
            .await?
            .is_some()
    );
    Ok(())
}
