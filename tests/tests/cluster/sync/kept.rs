//! What is kept, and who decides: a lost record, confirmations, things given up, how long a commit waits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::{PATIENCE, path};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::hooks::{ask, ended, hook};
use super::{
    APP, absent, annotated, application, at, begun, config_map, holds, live, of_objects, polled,
    push, settled, settled_as, withdraw,
};

/// The plan that is shown, by its digest.
async fn shown(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Result<String> {
    let plan = world
        .rest_until(
            &format!("/api/v1/apps/default/{APP}/plan"),
            what,
            |status, plan| status.is_success() && holds(plan),
        )
        .await?;
    let digest = plan["digest"].as_str().context("a plan has a digest")?;
    Ok(digest.to_owned())
}

/// A person lets the plan through.
async fn let_through(world: &World, digest: &str) -> Result<()> {
    let body = json!({"plan": digest, "prune": true});
    let at = format!("/api/v1/apps/default/{APP}/sync");
    let (status, answer) = world.rest(Method::POST, &at, Some(body)).await?;
    anyhow::ensure!(status.is_success(), "{status}: {answer:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_record_is_lost_an_app_deletes_nothing_by_itself() -> Result<()> {
    let (front, back) = (config_map("front", "1"), config_map("back", "1"));
    let mut world = settled("lost", &[front, back.clone()]).await?;
    world.noted(APP).await?;
    world.daemon().terminate()?;
    let revision = withdraw(&world.repository, APP, &[back])?;
    let record = path("Record", &world.apps, APP);
    world.kube.delete(&record).await?;
    let mark = world.mark().await?;
    world.start()?;
    let app = world
        .app(APP, "being held since the record was lost", |app| {
            app["status"]["sync"]["revision"] == revision.as_str()
                && app["status"]["lockstep"]["reason"]["code"] == "held.record_lost"
        })
        .await?;
    assert_eq!(app["status"]["lockstep"]["state"], "held");
    live(&world, "ConfigMap", "back").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(
        writes.iter().all(|write| write.verb != "delete"),
        "{writes:#?}"
    );
    let digest = shown(&world, "the deletion", |plan| plan["delete"] == 1).await?;
    let_through(&world, &digest).await?;
    absent(&world, "ConfigMap", "back").await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_for_a_confirmation_is_deleted_when_the_application_carries_one() -> Result<()> {
    let asks = annotated(
        config_map("asks", "1"),
        "argocd.argoproj.io/sync-options",
        "Prune=confirm",
    );
    let world = settled("confirm", &[config_map("front", "1"), asks.clone()]).await?;
    let revision = withdraw(&world.repository, APP, &[asks])?;
    world
        .app(APP, "waiting for a confirmation", |app| {
            app["status"]["sync"]["revision"] == revision.as_str()
                && app["status"]["lockstep"]["reason"]["code"] == "held.prune_confirm"
        })
        .await?;
    live(&world, "ConfigMap", "asks").await?;
    let now = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(1))?;
    let approved = json!({"metadata": {"annotations": {
        "argocd.argoproj.io/deletion-approved": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}}});
    world
        .kube
        .patch(&application(&world, APP), approved, "ada")
        .await?;
    absent(&world, "ConfigMap", "asks").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_given_the_labels_that_the_app_wants_on_it_and_new_ones_later() -> Result<()>
{
    let world = World::started("nsmeta").await?;
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    let mut app = world.application(APP, APP);
    app["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    app["spec"]["syncPolicy"]["managedNamespaceMetadata"] = json!({"labels": {"team": "a"}});
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;
    let namespace = path("Namespace", "", &world.target);
    let is = world.kube.must(&namespace).await?;
    assert_eq!(is["metadata"]["labels"]["team"], "a");
    let other =
        json!({"spec": {"syncPolicy": {"managedNamespaceMetadata": {"labels": {"team": "b"}}}}});
    world
        .kube
        .patch(&application(&world, APP), other, "ada")
        .await?;
    world
        .kube
        .until(
            "Namespace",
            "",
            &world.target,
            "its new label",
            |namespace| namespace.is_some_and(|is| is["metadata"]["labels"]["team"] == "b"),
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_leaves_says_what_keeps_it_and_since_when() -> Result<()> {
    let mut kept = config_map("kept", "1");
    kept["metadata"]["finalizers"] = json!(["example.org/keeper"]);
    let world = settled_as("stuck", &[kept, config_map("front", "1")], |app| {
        app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    })
    .await?;
    world.kube.delete(&application(&world, APP)).await?;
    let app = world
        .app(APP, "saying what keeps it", |app| {
            let text = app["status"]["lockstep"]["reason"]["text"].as_str();
            text.is_some_and(|text| text.contains("example.org/keeper"))
        })
        .await?;
    let text = app["status"]["lockstep"]["reason"]["text"].as_str();
    assert!(
        text.is_some_and(|text| text.contains("kept") && text.contains("since")),
        "{text:?}"
    );
    let free = json!({"metadata": {"finalizers": null}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "kept"), free, "hand")
        .await?;
    world
        .kube
        .until("Application", &world.apps, APP, "being gone", |app| {
            app.is_none()
        })
        .await?;
    absent(&world, "ConfigMap", "front").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_commit_waits_for_a_hook_at_work_and_for_nothing_else() -> Result<()> {
    let slow = hook(
        "before",
        "PreSync",
        json!({"test.lockstep.dev/ready": "never"}),
    );
    let (world, _) = begun("overtake", &[config_map("front", "1"), slow], |_| ()).await?;
    let job = world
        .object_until("Job", "before", "a pod that runs", |job| {
            job.is_some_and(|job| job["status"]["active"] == 1)
        })
        .await?
        .context("it was just there")?;
    let fast = hook("before", "PreSync", json!({}));
    let revision = push(&world.repository, APP, &[config_map("front", "2"), fast])?;
    polled(&world, 3).await?;
    let still = live(&world, "Job", "before").await?;
    assert_eq!(
        still["metadata"]["uid"], job["metadata"]["uid"],
        "it is let finish"
    );
    assert!(world.object("ConfigMap", "front").await?.is_none());
    // Its pod ends; the next commit runs its own.
    let pods = world.kube.list(&at(&world, "Pod", "")).await?;
    let pod = pods.first().context("the job has a pod")?;
    let name = pod["metadata"]["name"].as_str().context("with a name")?;
    let ends = json!({"metadata": {"annotations": {"test.lockstep.dev/ready": null}}});
    world
        .kube
        .patch(&at(&world, "Pod", name), ends, "hand")
        .await?;
    world.synced(APP, &revision).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("2")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_to_another_commit_stays_there_where_commits_wait_for_a_person() -> Result<()> {
    let (world, first) = begun("torevision", &[config_map("front", "1")], |app| {
        app["spec"]["syncPolicy"] = json!({});
    })
    .await?;
    ask(&world, json!({})).await?;
    ended(&world, "Succeeded").await?;
    push(&world.repository, APP, &[config_map("front", "2")])?;
    let third = push(&world.repository, APP, &[config_map("front", "3")])?;
    world
        .app(APP, "the newest commit", |app| {
            app["status"]["sync"]["revision"] == third.as_str()
        })
        .await?;
    ask(&world, json!({})).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("3")).await?;
    world.synced(APP, &third).await?;
    ask(&world, json!({"revision": first})).await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    polled(&world, 2).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["value"], "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_stands_in_the_record_heals_included() -> Result<()> {
    let world = settled("log", &[config_map("front", "1")]).await?;
    super::caught_up(&world, "ConfigMap", "front").await?;
    let record = world
        .kube
        .until(
            "Record",
            &world.apps,
            APP,
            "the heal in its log",
            |record| record.is_some_and(|record| record["log"][0]["kind"] == "heal"),
        )
        .await?
        .context("it was just there")?;
    let log = record["log"].as_array().context("a log")?;
    assert_eq!(log.len(), 2, "{log:#?}");
    assert_eq!(log[1]["kind"], "sync");
    let heal = log[0]["text"].as_str();
    assert!(
        heal.is_some_and(|text| text.contains("touched-by") && text.contains("hand")),
        "{heal:?}"
    );
    Ok(())
}

/// A policy of the cluster that lets nobody delete ConfigMaps of the target namespace.
async fn forbid_deletions(world: &World, name: &str) -> Result<String> {
    let policy = format!("no-deletions-{}", world.target);
    world
        .kube
        .create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["DELETE"], "resources": ["configmaps"]}]},
                "validations": [{"expression": "false", "message": "nothing is deleted here"}],
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
    let tried = format!("{}?dryRun=All", at(world, "ConfigMap", name));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let denying = async {
        loop {
            let (status, _) = world.kube.send(Method::DELETE, &tried, "", None).await?;
            if status == StatusCode::UNPROCESSABLE_ENTITY {
                return anyhow::Ok(());
            }
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, denying)
        .await
        .context("the policy did not come into force")??;
    Ok(policy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_refused_stays_on_record_and_is_made_when_it_is_let() -> Result<()> {
    let back = config_map("back", "1");
    let world = settled_as(
        "refuseddelete",
        &[config_map("front", "1"), back.clone()],
        |app| {
            app["spec"]["syncPolicy"]["retry"] = json!({"limit": 1, "backoff": {"duration": "1s"}});
        },
    )
    .await?;
    let policy = forbid_deletions(&world, "back").await?;
    withdraw(&world.repository, APP, &[back])?;
    let app = ended(&world, "Failed").await?;
    let message = app["status"]["operationState"]["message"].as_str();
    assert!(
        message.is_some_and(|text| text.contains("nothing is deleted here")),
        "{message:?}"
    );
    live(&world, "ConfigMap", "back").await?;
    let record = world.kube.must(&path("Record", &world.apps, APP)).await?;
    let entries = record["entries"].as_array().context("an inventory")?;
    assert!(
        entries
            .iter()
            .any(|entry| entry["name"] == "back" && entry["uid"].is_string()),
        "{entries:#?}"
    );
    let binding = path("ValidatingAdmissionPolicyBinding", "", &policy);
    world.kube.delete(&binding).await?;
    let tried = format!("{}?dryRun=All", at(&world, "ConfigMap", "back"));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !world
        .kube
        .send(Method::DELETE, &tried, "", None)
        .await?
        .0
        .is_success()
    {
        tick.tick().await;
    }
    ask(&world, json!({"prune": true})).await?;
    absent(&world, "ConfigMap", "back").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_renamed_takes_its_objects_along_and_deletes_none() -> Result<()> {
    let mut world = settled("rename", &[config_map("front", "1")]).await?;
    let before = live(&world, "ConfigMap", "front").await?;
    world.daemon().terminate()?;
    world.kube.delete(&application(&world, APP)).await?;
    world.kube.create(&world.application("store", APP)).await?;
    let mark = world.mark().await?;
    world.start()?;
    world
        .app("store", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    let after = live(&world, "ConfigMap", "front").await?;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let tracking = &after["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
    assert!(
        tracking.as_str().is_some_and(|id| id.starts_with("store:")),
        "{tracking}"
    );
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(
        writes.iter().all(|write| write.verb == "patch"),
        "{writes:#?}"
    );
    Ok(())
}
