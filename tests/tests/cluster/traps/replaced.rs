//! What cannot be changed: named, and made again only where git asks for that.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{adopted, sentinel};
use crate::sync::{APP, begun, holds, live, push, settled};

fn job(image: &str, options: Option<&str>) -> Value {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": format!("registry.example/migrate:{image}")}]}}}});
    if let Some(options) = options {
        job["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-options": options});
    }
    job
}

const IMAGE: &str = "/spec/template/spec/containers/0/image";

/// Trap 10, the other half: a Job cannot be changed, so it has to be made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_asks_for_it_is_made_again_when_git_changes_it() -> Result<()> {
    let options = Some("Force=true,Replace=true");
    let world = settled("job", &[job("1", options), sentinel()]).await?;
    let before = live(&world, "Job", "migrate").await?;
    let revision = push(&world.repository, APP, &[job("2", options)])?;
    let after = holds(
        &world,
        "Job",
        "migrate",
        IMAGE,
        json!("registry.example/migrate:2"),
    )
    .await?;
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    world.synced(APP, &revision).await?;
    let record = world.noted(APP).await?;
    let noted = record["entries"].to_string();
    let uid = after["metadata"]["uid"].as_str().unwrap_or_default();
    assert!(noted.contains(uid), "{noted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_ask_for_it_is_kept_and_told_how_to() -> Result<()> {
    let world = settled("jobkept", &[job("1", None)]).await?;
    let before = live(&world, "Job", "migrate").await?;
    push(&world.repository, APP, &[job("2", None)])?;
    let app = world.condition(APP, "SyncError", "spec.template").await?;
    let said = app["status"]["conditions"].to_string();
    assert!(said.contains("Force=true"), "{said}");
    let after = live(&world, "Job", "migrate").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    Ok(())
}

/// What Argo CD made is made again by the same rule; what somebody else made is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_marked_as_this_apps_is_made_again() -> Result<()> {
    let options = Some("Force=true");
    let mut there = job("1", options);
    there["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = json!("pending");
    let world = lockstep_tests::World::started("jobargo").await?;
    there["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
        json!(format!("{APP}:batch/Job:{}/migrate", world.target));
    super::made_by(&world, &there, "argocd-controller").await?;
    let revision = push(&world.repository, APP, &[job("2", options)])?;
    world.kube.create(&world.application(APP, APP)).await?;
    holds(
        &world,
        "Job",
        "migrate",
        IMAGE,
        json!("registry.example/migrate:2"),
    )
    .await?;
    world.synced(APP, &revision).await?;

    let world = lockstep_tests::World::started("jobforeign").await?;
    super::made_by(&world, &job("1", options), "some-operator").await?;
    push(&world.repository, APP, &[job("2", options)])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world
        .condition(APP, "SyncError", "carries no mark of this app")
        .await?;
    let after = live(&world, "Job", "migrate").await?;
    assert_eq!(
        after.pointer(IMAGE),
        Some(&json!("registry.example/migrate:1"))
    );
    Ok(())
}

/// What was left behind on an object that is there already is taken over by the same sync that changes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_by_hand_survives_the_takeover() -> Result<()> {
    let web = crate::sync::deployment("web");
    let mut there = web.clone();
    there["metadata"]["labels"]["old"] = json!("1");
    let world = adopted("restart", &[], &[sentinel()], |_| ()).await?;
    super::made_by(&world, &there, "kubectl-client-side-apply").await?;
    let mark = "kubectl.kubernetes.io/restartedAt";
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {mark: "2026-01-01T00:00:00Z"}}}}});
    world
        .kube
        .patch(
            &crate::sync::at(&world, "Deployment", "web"),
            restart,
            "kubectl-rollout",
        )
        .await?;
    let before = live(&world, "Deployment", "web").await?;
    let revision = push(&world.repository, APP, &[web])?;
    world.synced(APP, &revision).await?;
    let after = live(&world, "Deployment", "web").await?;
    assert_eq!(after["metadata"]["labels"].get("old"), None);
    assert_eq!(
        after["spec"]["template"]["metadata"]["annotations"][mark],
        "2026-01-01T00:00:00Z"
    );
    assert_eq!(after["spec"], before["spec"], "its pods were not restarted");
    Ok(())
}

/// A claim is not made again, even on request: what is in it would go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_cannot_be_changed_is_kept_whatever_it_asks_for() -> Result<()> {
    let claim = |class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "annotations": {"argocd.argoproj.io/sync-options": "Force=true"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                     "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let (world, _) = begun("claim", &[claim("slow"), sentinel()], |_| ()).await?;
    let before = world
        .object_until("PersistentVolumeClaim", "data", "being made", |claim| {
            claim.is_some()
        })
        .await?
        .context("it was just there")?;
    push(&world.repository, APP, &[claim("fast")])?;
    let app = world.condition(APP, "SyncError", "spec").await?;
    let said = app["status"]["conditions"].to_string();
    assert!(said.contains("git cannot bring back"), "{said}");
    let after = live(&world, "PersistentVolumeClaim", "data").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["metadata"].get("deletionTimestamp"), None);
    Ok(())
}
