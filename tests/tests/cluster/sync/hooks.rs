//! Hooks: what runs once in a sync, on real controllers; what a fake would get wrong is what a Job comes to, and when.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use serde_json::{Value, json};

use super::{
    APP, absent, annotated, application, at, begun, config_map, live, of_objects, polled, push,
    settled, to,
};

/// A Job that is a hook of these phases, and whose pod is played like this.
pub(super) fn hook(name: &str, phases: &str, played: Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "annotations": {"argocd.argoproj.io/hook": phases}},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"annotations": played},
            "spec": {"restartPolicy": "Never",
                "containers": [{"name": "main", "image": "registry.example/job:1"}]}}}})
}

/// One that does its work at once.
pub(super) fn quick(name: &str, phases: &str) -> Value {
    hook(name, phases, json!({}))
}

pub(super) fn failing(name: &str, phases: &str) -> Value {
    hook(name, phases, json!({"test.lockstep.dev/exit-code": "1"}))
}

/// One that never ends.
fn endless(name: &str, phases: &str) -> Value {
    hook(name, phases, json!({"test.lockstep.dev/ready": "never"}))
}

fn deleted_when(policy: &str, hook: Value) -> Value {
    annotated(hook, "argocd.argoproj.io/hook-delete-policy", policy)
}

/// Waits until the last sync has ended like this, and answers with the Application.
pub(super) async fn ended(world: &World, phase: &str) -> Result<Value> {
    world
        .app(APP, &format!("a sync that has {phase}"), |app| {
            app["status"]["operationState"]["phase"] == phase
        })
        .await
}

/// What the sync says of an object in a phase.
fn result<'a>(app: &'a Value, name: &str, phase: &str) -> Option<&'a Value> {
    app["status"]["operationState"]["syncResult"]["resources"]
        .as_array()?
        .iter()
        .find(|row| row["name"] == name && row["syncPhase"] == phase)
}

/// Asks for a sync as `kubectl` or the `argocd` command does.
pub(super) async fn ask(world: &World, sync: Value) -> Result<()> {
    let operation = json!({"operation": {"sync": sync, "initiatedBy": {"username": "ada"}}});
    world
        .kube
        .patch(&application(world, APP), operation, "ada")
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_before_and_after_the_objects_once_each_and_are_let_go() -> Result<()> {
    let world = World::started("hooks").await?;
    let mark = world.mark().await?;
    let revision = push(
        &world.repository,
        APP,
        &[
            config_map("front", "1"),
            quick("before", "PreSync"),
            quick("after", "PostSync"),
            quick("failed", "SyncFail"),
            quick("skipped", "Skip"),
        ],
    )?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let app = ended(&world, "Succeeded").await?;
    for (name, phase) in [("before", "PreSync"), ("after", "PostSync")] {
        let result = result(&app, name, phase).with_context(|| format!("{name} has a result"))?;
        assert_eq!(
            (&result["hookType"], &result["hookPhase"]),
            (&json!(phase), &json!("Succeeded"))
        );
        let job = live(&world, "Job", name).await?;
        assert_eq!(job["metadata"].get("finalizers"), None, "{job:#}");
        assert_eq!(job["status"]["succeeded"], 1);
    }
    assert!(world.object("Job", "failed").await?.is_none());
    assert!(world.object("Job", "skipped").await?.is_none());

    let writes = of_objects(world.writes_since(mark).await?);
    let made: Vec<&str> = writes
        .iter()
        .filter(|write| write.code == 201)
        .filter_map(|write| write.uri.split('?').next()?.rsplit('/').next())
        .collect();
    assert_eq!(made, ["before", "front", "after"], "{writes:#?}");
    // Each is made by one request, and let go by another.
    assert_eq!(to(&writes, "/jobs/before").len(), 2, "{writes:#?}");
    // Hooks say nothing of how the app is doing, and a settled app runs none.
    assert_eq!(app["status"]["sync"]["status"], "Synced");
    polled(&world, 2).await?;
    let job = live(&world, "Job", "before").await?;
    let again = live(&world, "Job", "before").await?;
    assert_eq!(job["metadata"]["uid"], again["metadata"]["uid"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_keeps_the_commit_out_and_is_not_tried_again_by_itself() -> Result<()> {
    let objects = [
        config_map("front", "1"),
        failing("before", "PreSync"),
        quick("tell", "SyncFail"),
    ];
    let (world, _) = begun("hookfails", &objects, |_| ()).await?;
    let app = ended(&world, "Failed").await?;
    let message = app["status"]["operationState"]["message"].as_str();
    assert!(
        message.is_some_and(|text| text.contains("completed unsuccessfully")),
        "{message:?}"
    );
    assert!(world.object("ConfigMap", "front").await?.is_none());
    let told = live(&world, "Job", "tell").await?;
    assert_eq!(told["status"]["succeeded"], 1);
    world
        .condition(APP, "SyncError", "Failed last sync attempt")
        .await?;

    let first = live(&world, "Job", "before").await?;
    let mark = world.mark().await?;
    polled(&world, 2).await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");

    // A person tries again: the hook of the earlier sync is deleted before it runs anew.
    ask(&world, json!({})).await?;
    let uid = first["metadata"]["uid"].clone();
    let again = world
        .object_until("Job", "before", "another hook", |job| {
            job.is_some_and(|job| job["metadata"]["uid"] != uid)
        })
        .await?;
    assert!(again.is_some());
    // A commit that mends it is taken by itself.
    let revision = push(&world.repository, APP, &[quick("before", "PreSync")])?;
    world.synced(APP, &revision).await?;
    live(&world, "ConfigMap", "front").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_deleted_by_their_policies_when_the_sync_has_ended() -> Result<()> {
    let objects = [
        config_map("front", "1"),
        deleted_when("HookSucceeded", quick("goes", "PreSync")),
        deleted_when("HookFailed", quick("stays", "PreSync")),
    ];
    let (world, revision) = begun("hookgoes", &objects, |_| ()).await?;
    world.synced(APP, &revision).await?;
    ended(&world, "Succeeded").await?;
    absent(&world, "Job", "goes").await?;
    live(&world, "Job", "stays").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_with_a_generated_name_is_called_as_in_argo_cd() -> Result<()> {
    let mut job = quick("x", "PreSync");
    job["metadata"] = json!({"generateName": "migrate-",
        "annotations": {"argocd.argoproj.io/hook": "PreSync"}});
    let world = World::started("hookname").await?;
    world
        .repository
        .write(&format!("{APP}/job.json"), &format!("{job:#}\n"))?;
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let jobs = world.kube.list(&at(&world, "Job", "")).await?;
    let names: Vec<&str> = jobs
        .iter()
        .filter_map(|job| job["metadata"]["name"].as_str())
        .collect();
    let beginning = format!("migrate-{}-presync-", &revision[..7]);
    assert!(
        matches!(names[..], [name] if name.starts_with(&beginning)),
        "{names:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_vanishes_before_it_has_ended_has_failed() -> Result<()> {
    let objects = [config_map("front", "1"), endless("before", "PreSync")];
    let (world, _) = begun("hooklost", &objects, |_| ()).await?;
    world
        .object_until("Job", "before", "a pod that runs", |job| {
            job.is_some_and(|job| job["status"]["active"] == 1)
        })
        .await?;
    let free = json!({"metadata": {"finalizers": null}});
    let path = at(&world, "Job", "before");
    world.kube.patch(&path, free, "hand").await?;
    world.kube.delete(&path).await?;
    let app = ended(&world, "Failed").await?;
    let result = result(&app, "before", "PreSync").context("it has a result")?;
    assert_eq!(result["hookPhase"], "Failed", "{result:#}");
    assert!(world.object("ConfigMap", "front").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_argo_cd_made_is_cleared_away_before_ours_runs() -> Result<()> {
    let world = World::started("hookargo").await?;
    let mut theirs = quick("before", "PreSync");
    theirs["metadata"]["namespace"] = json!(world.target);
    theirs["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
        json!(format!("{APP}:batch/Job:{}/before", world.target));
    let theirs = world.kube.create(&theirs).await?;
    let objects = [config_map("front", "1"), quick("before", "PreSync")];
    let revision = push(&world.repository, APP, &objects)?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let ours = live(&world, "Job", "before").await?;
    assert_ne!(ours["metadata"]["uid"], theirs["metadata"]["uid"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_nobody_knows_stops_its_commit_and_is_told_with_its_place() -> Result<()> {
    let world = settled("hookname", &[config_map("front", "1")]).await?;
    let objects = [config_map("front", "2"), quick("before", "Presync")];
    push(&world.repository, APP, &objects)?;
    world
        .condition(APP, "ComparisonError", "\"Presync\" is no hook")
        .await?;
    world
        .condition(APP, "ComparisonError", "shop/job-before.json:")
        .await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_a_deletion_run_without_git_before_and_after_the_objects_go() -> Result<()> {
    let objects = [
        config_map("front", "1"),
        quick("first", "PreDelete"),
        quick("last", "PostDelete"),
    ];
    let (mut world, revision) = begun("hookdelete", &objects, |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    world.synced(APP, &revision).await?;
    assert!(world.object("Job", "first").await?.is_none());
    let what = "the finalizers of its hooks";
    let is_guarded = |app: &Value| {
        let all = app["metadata"]["finalizers"].as_array();
        all.is_some_and(|all| all.len() == 3)
    };
    world.app(APP, what, is_guarded).await?;
    // Neither the daemon that deployed it nor git is there when it goes.
    world.daemon().terminate()?;
    let hidden = world.folder().join("hidden.git");
    std::fs::rename(world.repository.bare(), &hidden)?;
    std::fs::remove_dir_all(world.cache(""))?;
    let mark = world.mark().await?;
    world.kube.delete(&application(&world, APP)).await?;
    world.start()?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    absent(&world, "ConfigMap", "front").await?;
    absent(&world, "Job", "first").await?;
    absent(&world, "Job", "last").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    let place = |verb: &str, ending: &str| {
        writes
            .iter()
            .position(|write| {
                write.verb == verb && to(std::slice::from_ref(write), ending).len() == 1
            })
            .with_context(|| format!("{verb} {ending} in {writes:#?}"))
    };
    let first = place("patch", "/jobs/first")?;
    let front = place("delete", "/configmaps/front")?;
    let last = place("patch", "/jobs/last")?;
    assert!(first < front && front < last, "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_of_some_objects_changes_these_runs_no_hooks_and_is_not_remembered() -> Result<()> {
    let objects = [config_map("front", "1"), config_map("back", "1")];
    let (world, _) = begun("some", &objects, |app| {
        app["spec"]["syncPolicy"] = json!({});
    })
    .await?;
    ask(&world, json!({})).await?;
    ended(&world, "Succeeded").await?;
    let revision = push(
        &world.repository,
        APP,
        &[
            config_map("front", "2"),
            config_map("back", "2"),
            quick("before", "PreSync"),
        ],
    )?;
    world
        .app(APP, "the new commit", |app| {
            app["status"]["sync"]["revision"] == revision.as_str()
        })
        .await?;
    ask(
        &world,
        json!({"resources": [{"kind": "ConfigMap", "name": "back"}]}),
    )
    .await?;
    super::holds(&world, "ConfigMap", "back", "/data/value", json!("2")).await?;
    let app = world
        .app(APP, "one result", |app| {
            let state = &app["status"]["operationState"];
            state["phase"] == "Succeeded"
                && state["syncResult"]["resources"].as_array().map(Vec::len) == Some(1)
        })
        .await?;
    assert_eq!(app["status"]["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(app["status"]["sync"]["status"], "OutOfSync");
    polled(&world, 2).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1");
    assert!(world.object("Job", "before").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_gives_up_waiting_in_time_and_says_for_what() -> Result<()> {
    let objects = [
        crate::objects::stuck("web"),
        crate::objects::in_wave(1, config_map("late", "1")),
    ];
    let (world, _) = begun("timeout", &objects, |app| {
        app["metadata"]["annotations"]["lockstep.dev/sync-timeout"] = json!("1s");
    })
    .await?;
    let app = ended(&world, "Failed").await?;
    let message = app["status"]["operationState"]["message"].as_str();
    assert!(
        message.is_some_and(|text| text.contains("gave up after 1 s") && text.contains("web")),
        "{message:?}"
    );
    assert!(world.object("ConfigMap", "late").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_has_succeeded_when_it_is_applied_and_is_verified_when_it_is_healthy() -> Result<()>
{
    let (world, _) = begun("verified", &[super::deployment("web")], |_| ()).await?;
    let verified = |app: &Value| app["status"]["operationState"]["lockstep"]["verified"].clone();
    world
        .app(APP, "being verified", |app| {
            app["status"]["operationState"]["phase"] == "Succeeded"
                && verified(app)["state"] == "Verified"
        })
        .await?;
    let (world, _) = begun("unverified", &[crate::objects::stuck("web")], |app| {
        app["metadata"]["annotations"]["lockstep.dev/sync-timeout"] = json!("1s");
    })
    .await?;
    world
        .app(APP, "not being verified", |app| {
            app["status"]["operationState"]["phase"] == "Succeeded"
                && verified(app)["state"] == "NotVerified"
        })
        .await?;
    Ok(())
}
