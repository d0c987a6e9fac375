//! Whose an object is: of two apps, of one that goes, of one that lets go.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    APP, annotated, application, at, caught_up, config_map, file, holds, live, of_objects, polled,
    push, settled, settled_as, to, withdraw,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_apps_with_the_same_object_the_first_has_it_until_it_lets_go() -> Result<()> {
    let (shared, own) = (config_map("shared", "1"), config_map("own", "1"));
    let world = settled("shared", &[shared.clone(), own]).await?;
    let before = live(&world, "ConfigMap", "shared").await?;
    push(
        &world.repository,
        "second",
        &[config_map("shared", "2"), config_map("second", "1")],
    )?;
    let mark = world.mark().await?;
    world
        .kube
        .create(&world.application("second", "second"))
        .await?;
    let app = world
        .condition("second", "SharedResourceWarning", "shared")
        .await?;
    let conditions = app["status"]["conditions"].to_string();
    assert!(
        conditions.contains(APP),
        "it names the first app: {conditions}"
    );
    world
        .object_until("ConfigMap", "second", "being made", |object| {
            object.is_some()
        })
        .await?;
    polled(&world, 2).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/shared").is_empty(), "{writes:#?}");
    assert_eq!(
        live(&world, "ConfigMap", "shared").await?["data"]["value"],
        "1"
    );

    let mark = world.mark().await?;
    withdraw(&world.repository, APP, &[shared])?;
    let after = holds(&world, "ConfigMap", "shared", "/data/value", json!("2")).await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let revision = world.repository.git(&["rev-parse", "HEAD"])?;
    world.synced("second", revision.trim()).await?;
    world.synced(APP, revision.trim()).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(
        writes.iter().all(|write| write.verb != "delete"),
        "{writes:#?}"
    );
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let tracking = &after["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert!(
        tracking
            .as_str()
            .is_some_and(|id| id.starts_with("second:")),
        "{tracking}"
    );

    // It is the second's to put back, and the second's to delete.
    caught_up(&world, "ConfigMap", "shared").await?;
    Ok(())
}

/// Both apps render the commit at the same moment: the one that loses the object must not be faster at deleting than
/// the other at wanting. Ten moves, since the order is a race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_moves_between_two_apps_in_one_commit_is_handed_over() -> Result<()> {
    let moved = config_map("moved", "1");
    let world = settled("moving", &[moved.clone(), config_map("own", "1")]).await?;
    push(&world.repository, "second", &[config_map("second", "1")])?;
    world
        .kube
        .create(&world.application("second", "second"))
        .await?;
    let revision = world.repository.git(&["rev-parse", "HEAD"])?;
    world.synced("second", revision.trim()).await?;
    let before = live(&world, "ConfigMap", "moved").await?;
    for turn in 0..10 {
        let (from, to) = if turn % 2 == 0 {
            (APP, "second")
        } else {
            ("second", APP)
        };
        let file = world.repository.git(&["ls-files", from])?;
        let file = file
            .lines()
            .find(|file| file.contains("moved"))
            .unwrap_or_default();
        let name = file.rsplit('/').next().unwrap_or_default();
        world
            .repository
            .git(&["mv", file, &format!("{to}/{name}")])?;
        let revision = world.repository.push("move it")?;
        world.synced(APP, &revision).await?;
        world.synced("second", &revision).await?;
        let after = live(&world, "ConfigMap", "moved").await?;
        assert_eq!(
            after["metadata"]["uid"], before["metadata"]["uid"],
            "move {turn}"
        );
        let tracking = &after["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
        assert!(
            tracking.as_str().is_some_and(|id| id.starts_with(to)),
            "{tracking}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_with_the_finalizer_takes_its_objects_with_it_the_last_wave_first() -> Result<()> {
    let late = annotated(config_map("late", "1"), "argocd.argoproj.io/sync-wave", "1");
    let kept = annotated(
        config_map("kept", "1"),
        "argocd.argoproj.io/sync-options",
        "Delete=false",
    );
    let world = settled_as("leave", &[config_map("early", "1"), late, kept], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    let hold = json!({"metadata": {"finalizers": ["example.com/held"]}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "late"), hold, "hand")
        .await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .object_until("ConfigMap", "late", "being deleted", |object| {
            object.is_some_and(|object| object["metadata"].get("deletionTimestamp").is_some())
        })
        .await?;
    let early = live(&world, "ConfigMap", "early").await?;
    assert_eq!(early["metadata"].get("deletionTimestamp"), None);
    assert!(world.kube.get(&application(&world, APP)).await?.is_some());

    let release = json!({"metadata": {"finalizers": null}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "late"), release, "hand")
        .await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    assert!(world.object("ConfigMap", "late").await?.is_none());
    assert!(world.object("ConfigMap", "early").await?.is_none());
    live(&world, "ConfigMap", "kept").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_the_finalizer_leaves_its_objects_standing() -> Result<()> {
    let world = settled("orphan", &[config_map("front", "1")]).await?;
    push(&world.repository, "other", &[config_map("sentinel", "1")])?;
    world
        .kube
        .create(&world.application("other", "other"))
        .await?;
    world
        .object_until("ConfigMap", "sentinel", "being made", |object| {
            object.is_some()
        })
        .await?;
    let mark = world.mark().await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .kube
        .until("Record", &world.apps, APP, "being gone", |record| {
            record.is_none()
        })
        .await?;
    // Git changes, and a hand changes: it is nobody's any more.
    let by_hand = json!({"data": {"value": "by hand"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_hand, "hand")
        .await?;
    world
        .repository
        .remove(&file(APP, &config_map("front", "1")))?;
    let revision = world.repository.push("remove what is nobody's")?;
    world.synced("other", &revision).await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    assert_eq!(
        live(&world, "ConfigMap", "front").await?["data"]["value"],
        "by hand"
    );
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(to(&writes, "/configmaps/front").is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_made_again_takes_up_what_the_old_one_left() -> Result<()> {
    let world = settled("again", &[config_map("front", "1")]).await?;
    let before = live(&world, "ConfigMap", "front").await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .kube
        .until("Record", &world.apps, APP, "being gone", |record| {
            record.is_none()
        })
        .await?;
    world.kube.create(&world.application(APP, APP)).await?;
    let revision = world.repository.git(&["rev-parse", "HEAD"])?;
    world.synced(APP, revision.trim()).await?;
    let after = live(&world, "ConfigMap", "front").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    caught_up(&world, "ConfigMap", "front").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_goes_leaves_to_another_what_that_one_has_in_git_too() -> Result<()> {
    let (shared, own) = (config_map("shared", "1"), config_map("own", "1"));
    let world = settled_as("inherit", &[shared, own], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    let before = live(&world, "ConfigMap", "shared").await?;
    push(&world.repository, "second", &[config_map("shared", "2")])?;
    world
        .kube
        .create(&world.application("second", "second"))
        .await?;
    world
        .condition("second", "SharedResourceWarning", "shared")
        .await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    assert!(world.object("ConfigMap", "own").await?.is_none());
    let after = holds(&world, "ConfigMap", "shared", "/data/value", json!("2")).await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    world
        .app("second", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_repository_is_gone_can_still_be_deleted_with_its_objects() -> Result<()> {
    let world = settled_as("leavegone", &[config_map("front", "1")], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    let name = world.repository.url.rsplit('/').next().unwrap_or_default();
    let bare = world.plane.address.git_root.join(name);
    std::fs::rename(&bare, bare.with_extension("aside"))?;
    world.condition(APP, "ComparisonError", "").await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    assert!(world.object("ConfigMap", "front").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_spec_became_impossible_can_still_be_deleted_with_its_objects() -> Result<()> {
    let world = settled_as("impossible", &[config_map("a", "1")], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    let app = lockstep_tests::kube::path("Application", &world.apps, APP);
    let helm = json!({"spec": {"source": {"helm": {"releaseName": "x"}}}});
    world.kube.patch(&app, helm, "tests").await?;
    world.condition(APP, "InvalidSpecError", "helm").await?;
    world.kube.delete(&app).await?;
    world
        .object_until("ConfigMap", "a", "being deleted with its app", |object| {
            object.is_none()
        })
        .await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    Ok(())
}

/// What Argo CD does: whoever deletes an Application that has the finalizer has decided, whatever a sync may prune.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_syncs_only_by_hand_takes_its_objects_with_it_all_the_same() -> Result<()> {
    let world = settled_as("byhand", &[config_map("front", "1")], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    let by_hand = json!({"spec": {"syncPolicy": null}});
    world
        .kube
        .patch(&application(&world, APP), by_hand, "hand")
        .await?;
    world
        .app(APP, "waiting for a person with deletions", |app| {
            app["status"]["lockstep"]["policy"]["deletion"]["value"] == "approve"
        })
        .await?;
    world.kube.delete(&application(&world, APP)).await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await
        .with_context(|| "it waits for an approval that nobody can have meant")?;
    assert!(world.object("ConfigMap", "front").await?.is_none());
    Ok(())
}
