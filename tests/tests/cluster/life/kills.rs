//! A daemon that is killed at any write of an app's whole life.
//!
//! A life is told once to see how many writes it takes, and then once for each of them: at that write a proxy in front
//! of the API server cuts the daemon off, which is killed with SIGKILL; another one goes on from what the cluster says.
//! The writes are cut off before the API server has them, or after it has carried them out and before the daemon is
//! told. `ledger` says what must hold of the writes of every such life. The same scenario without a cluster, in a
//! hundred thousand orders, is `crates/reconcile/tests/life/kills.rs`; what it cannot show is that the daemon writes in
//! the order in which the machine thinks, and what a real API server makes of that.

mod ledger;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use lockstep_tests::World;
use lockstep_tests::audit::Request;
use lockstep_tests::daemon::Daemon;
use lockstep_tests::kube::path;
use lockstep_tests::proxy::{Cut, Proxy};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, block_in_place};

use crate::objects::{config_map, in_wave, push};

const APP: &str = "shop";

/// How many lives are lived at the same time: each waits more than it works.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_before_any_write_of_a_life_loses_leaks_and_repeats_nothing() -> Result<()>
{
    every_death(Cut::Before).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_after_any_write_of_a_life_loses_leaks_and_repeats_nothing() -> Result<()> {
    every_death(Cut::After).await
}

/// Lives a life undisturbed, and then one for each of its writes.
async fn every_death(cut: Cut) -> Result<()> {
    let undisturbed = live(None).await?;
    let next = Arc::new(AtomicUsize::new(1));
    let mut lives = JoinSet::new();
    for _ in 0..AT_ONCE {
        let next = Arc::clone(&next);
        lives.spawn(async move {
            let mut deaths = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number > undisturbed.writes {
                    return anyhow::Ok(deaths);
                }
                let lived = live(Some((number, cut))).await;
                let lived = lived.with_context(|| format!("killed at write {number}, {cut:?}"))?;
                deaths += usize::from(lived.died);
            }
        });
    }
    let mut deaths = 0;
    while let Some(done) = lives.join_next().await {
        deaths += done??;
    }
    // What is written about an app's status depends on the moment, so that the last few may not come to be.
    ensure!(
        deaths + 5 >= undisturbed.writes,
        "only {deaths} of {} kills happened",
        undisturbed.writes
    );
    Ok(())
}

/// What is known of a life afterwards.
struct Lived {
    writes: usize,
    died: bool,
}

/// A daemon behind a proxy.
struct Mortal<'a> {
    world: &'a World,
    proxy: &'a Proxy,
    kubeconfig: PathBuf,
    daemon: Daemon,
}

impl<'a> Mortal<'a> {
    fn born(world: &'a World, proxy: &'a Proxy) -> Result<Self> {
        let kubeconfig = world.kubeconfig_through(proxy)?;
        let daemon = block_in_place(|| world.another_with(&kubeconfig, "", &[]))?;
        Ok(Self {
            world,
            proxy,
            kubeconfig,
            daemon,
        })
    }

    /// Is killed when it is told, if ever, and another one begins. Answers with what the first one logged.
    async fn dies(&mut self, told: oneshot::Receiver<()>) -> Result<Option<String>> {
        if told.await.is_err() {
            return Ok(None);
        }
        block_in_place(|| self.daemon.kill())?;
        let log = self.daemon.log();
        self.proxy.mend().await?;
        self.world.end_term().await?;
        let next = || self.world.another_with(&self.kubeconfig, "", &[]);
        self.daemon = block_in_place(next)?;
        Ok(Some(log))
    }
}

/// Lives one life, with a death in it or without, and looks at what is left of it.
async fn live(death: Option<(usize, Cut)>) -> Result<Lived> {
    let world = World::new("kills").await?;
    world.configure_git("{poll: 1s, jitter: 0s}", "")?;
    let begin = world.mark().await?;
    let proxy = Proxy::start(&world.plane.address).await?;
    let mut mortal = Mortal::born(&world, &proxy)?;
    let told = match death {
        Some((number, cut)) => proxy.cut_at(number, cut),
        None => oneshot::channel().1,
    };
    let (story, died) = {
        let mut told = Box::pin(mortal.dies(told));
        let mut story = Box::pin(tell(&world));
        tokio::select! {
            died = &mut told => (story.await, Some(died?)),
            story = &mut story => (story, None),
        }
    };
    let writes = proxy.writes();
    let all = |log: &str| {
        let lines: Vec<String> = writes.iter().map(ToString::to_string).collect();
        format!(
            "{log}\n{}\nwrites:\n{}",
            mortal.daemon.log(),
            lines.join("\n")
        )
    };
    let log = died.flatten();
    let kept = story.and_then(|()| ledger::keeps(&writes));
    kept.with_context(|| all(log.as_deref().unwrap_or_default()))?;
    let mut audited = world.requests_since(begin).await?;
    audited.retain(Request::is_write);
    ledger::is_the_audit_log(&writes, &audited)?;
    Ok(Lived {
        writes: proxy.came(),
        died: log.is_some(),
    })
}

/// A life: objects in two waves are created, changed, pruned, put back and deleted with their app, and hooks run.
async fn tell(world: &World) -> Result<()> {
    let first = [
        config_map("front", "1"),
        config_map("back", "1"),
        in_wave(1, config_map("last", "1")),
        hook("PreSync", "HookSucceeded", job("migrate")),
        hook("PostSync", "BeforeHookCreation", config_map("report", "1")),
        hook(
            "PreDelete",
            "BeforeHookCreation",
            config_map("farewell", "1"),
        ),
        hook("PostDelete", "HookSucceeded", job("clean")),
    ];
    let created = push(world, APP, &first)?;
    let mut app = world.application(APP, APP);
    app["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    world.kube.create(&app).await?;
    world.synced(APP, &created).await?;

    world
        .repository
        .remove(&format!("{APP}/job-migrate.json"))?;
    let changed = push(world, APP, &[config_map("front", "2")])?;
    world.synced(APP, &changed).await?;

    world
        .repository
        .remove(&format!("{APP}/configmap-back.json"))?;
    let pruned = world.repository.push("without back")?;
    world.synced(APP, &pruned).await?;
    let there = [("front", "2"), ("last", "1"), ("report", "1")];
    let there = there.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ensure!(ours(world).await? == there, "{:?}", ours(world).await?);

    let front = path("ConfigMap", &world.target, "front");
    let by_hand = json!({"data": {"value": "hand"}});
    world.kube.patch(&front, by_hand, "hand").await?;
    let is_back = |front: Option<&Value>| front.is_some_and(|front| front["data"]["value"] == "2");
    world
        .object_until("ConfigMap", "front", "being put back", is_back)
        .await?;

    // Its own finalizer, and those that let it wait for the hooks of its deletion.
    let is_guarded =
        |app: &Value| app["metadata"]["finalizers"].as_array().map(Vec::len) == Some(3);
    world.app(APP, "being guarded", is_guarded).await?;
    world
        .kube
        .delete(&path("Application", &world.apps, APP))
        .await?;
    for kind in ["Application", "Record"] {
        world
            .kube
            .until(kind, &world.apps, APP, "being gone", |it| it.is_none())
            .await?;
    }
    ensure!(ours(world).await?.is_empty(), "{:?}", ours(world).await?);
    Ok(())
}

/// What carries our mark in the target namespace: name and value; a Job has none.
async fn ours(world: &World) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for kind in ["ConfigMap", "Job"] {
        let marked = path(kind, &world.target, "");
        let marked = format!("{marked}?labelSelector=applyset.kubernetes.io/part-of");
        for object in world.kube.list(&marked).await? {
            found.push((
                text(&object["metadata"]["name"]),
                text(&object["data"]["value"]),
            ));
        }
    }
    Ok(found)
}

fn hook(phase: &str, delete: &str, mut object: Value) -> Value {
    let annotations = &mut object["metadata"]["annotations"];
    annotations["argocd.argoproj.io/hook"] = json!(phase);
    annotations["argocd.argoproj.io/hook-delete-policy"] = json!(delete);
    object
}

/// A Job of one pod that ends well, and soon.
fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "registry.example/main:1"}],
    }}}})
}
