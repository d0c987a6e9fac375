//! Ends and beginnings: nothing is written for no reason, nothing is lost, nothing is leaked.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::objects::{config_map, config_maps, in_environment, in_wave, push, ready, stuck};

/// Waits until so many apps are synced, by the daemon's own word.
async fn all_synced(world: &World, count: usize) -> Result<()> {
    world
        .rest_until(
            "/api/v1/apps?limit=200",
            "every app being synced",
            |_, apps| {
                apps["items"].as_array().is_some_and(|all| {
                    all.len() == count && all.iter().all(|app| app["state"] == "synced")
                })
            },
        )
        .await?;
    Ok(())
}

/// Waits until git has been asked once more than it had been: what a new daemon does after its first look is done.
async fn asked_again(world: &World) -> Result<()> {
    let line = format!(
        "argocd_git_request_total{{repo=\"{}\",request_type=\"ls-remote\"}}",
        world.repository.url
    );
    let before = world.metric(&line).await?.unwrap_or(0);
    world
        .metric_until(&line, "git being asked again", |now| now > before + 1)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_fifty_apps_writes_nothing() -> Result<()> {
    let mut world = World::started("fifty").await?;
    for number in 0..50 {
        let map = config_map(&format!("front-{number:02}"), "1");
        world.repository.write(
            &format!("app-{number:02}/front.json"),
            &format!("{map:#}\n"),
        )?;
    }
    world.repository.push("fifty apps")?;
    for number in 0..50 {
        let app = world.application(&format!("app-{number:02}"), &format!("app-{number:02}"));
        world.kube.create(&app).await?;
    }
    all_synced(&world, 50).await?;
    world.daemon().terminate()?;
    let mark = world.mark().await?;
    world.start()?;
    ready(&world).await?;
    all_synced(&world, 50).await?;
    asked_again(&world).await?;
    let writes = world.writes_since(mark).await?;
    assert!(writes.is_empty(), "{writes:#?}");
    // It works all the same: a commit to one app writes one object.
    let mark = world.mark().await?;
    let changed = format!("{:#}\n", config_map("front-07", "2"));
    let revision = world
        .repository
        .commit("change one", &[("app-07/front.json", &changed)])?;
    world.synced("app-07", &revision).await?;
    let mut objects = world.writes_since(mark).await?;
    objects.retain(|write| write.resource == "configmaps");
    assert_eq!(objects.len(), 1, "{objects:#?}");
    assert!(
        objects.iter().all(|write| write.uri.contains("/front-07")),
        "{objects:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_no_daemon_ran_is_found_at_the_next_start() -> Result<()> {
    let mut world = World::started("absence").await?;
    let first = push(
        &world,
        "shop",
        &["front", "back", "side"].map(|name| config_map(name, "1")),
    )?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;
    world.daemon().terminate()?;
    // A commit that prunes, a hand edit, a deletion by hand, and a cache that is lost.
    world.repository.remove("shop/configmap-side.json")?;
    let second = world.repository.push("without side")?;
    let by_hand = json!({"data": {"value": "9"}});
    world
        .kube
        .patch(&path("ConfigMap", &world.target, "front"), by_hand, "hand")
        .await?;
    world
        .kube
        .delete(&path("ConfigMap", &world.target, "back"))
        .await?;
    std::fs::remove_dir_all(world.cache(""))?;
    world.start()?;
    world.synced("shop", &second).await?;
    let front = world
        .object("ConfigMap", "front")
        .await?
        .context("it stays")?;
    assert_eq!(front["data"]["value"], "1");
    assert!(
        world.object("ConfigMap", "back").await?.is_some(),
        "it is made again"
    );
    assert!(
        world.object("ConfigMap", "side").await?.is_none(),
        "it is pruned"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_cache_a_daemon_fetches_again_and_writes_nothing() -> Result<()> {
    let mut world = World::started("cache").await?;
    let first = push(
        &world,
        "shop",
        &[config_map("front", "1"), config_map("back", "1")],
    )?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;
    all_synced(&world, 1).await?;
    world.daemon().terminate()?;
    std::fs::remove_dir_all(world.cache(""))?;
    let shop = path("Application", &world.apps, "shop");
    let told = world.kube.must(&shop).await?["status"].clone();
    let mark = world.mark().await?;
    world.start()?;
    ready(&world).await?;
    all_synced(&world, 1).await?;
    asked_again(&world).await?;
    let status = &world.kube.must(&shop).await?["status"];
    assert_eq!(*status, told, "the status says something else");
    let writes = world.writes_since(mark).await?;
    assert!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_daemon_in_time_whatever_it_is_doing() -> Result<()> {
    let mut world = World::started("sigterm").await?;
    push(
        &world,
        "slow",
        &[
            in_wave(0, stuck("front")),
            in_wave(1, config_map("back", "1")),
        ],
    )?;
    push(&world, "shop", &[config_map("side", "1")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("slow-dev", "slow"),
        ))
        .await?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world
        .app("shop", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    world
        .rest_until("/api/v1/apps/dev/slow", "a running operation", |_, app| {
            app["operation"]["phase"] == "running"
        })
        .await?;
    // A page that is open and a question that waits do not hold it up.
    let url = world.daemon().url.clone();
    let page = reqwest::get(format!("{url}/api/v1/stream")).await?;
    let (_, app) = world
        .rest(Method::GET, "/api/v1/apps/dev/slow", None)
        .await?;
    let id = app["operation"]["id"].as_str().context("it has an id")?;
    let address = url.strip_prefix("http://").context("an address")?;
    let mut question = tokio::net::TcpStream::connect(address).await?;
    let text = format!("GET /api/v1/operations/{id}?wait=60s HTTP/1.1\r\nHost: lockstep\r\n\r\n");
    question.write_all(text.as_bytes()).await?;
    reqwest::get(format!("{url}/healthz")).await?;
    let (status, took) = tokio::task::block_in_place(|| world.daemon().terminate())?;
    assert_eq!(status.code(), Some(0), "{}", world.daemon().log());
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    drop(page);
    let mut answer = String::new();
    question.read_to_string(&mut answer).await?;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains(id),
        "{answer}"
    );
    // The lease is free at once for whoever comes next.
    let lease = world
        .kube
        .must(&path("Lease", &world.apps, "lockstep"))
        .await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    assert!(holder.is_empty(), "the lease is still held by {holder}");
    // What was known was told, though the sync had not ended.
    let slow = world
        .kube
        .must(&path("Application", &world.apps, "slow-dev"))
        .await?;
    assert_eq!(
        slow["status"]["health"]["status"], "Progressing",
        "{:#}",
        slow["status"]
    );
    world.start()?;
    ready(&world).await?;
    world
        .rest_until("/api/v1/apps/default/shop", "being synced", |_, app| {
            app["state"] == "synced"
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_in_the_middle_of_forty_objects_loses_and_leaks_none() -> Result<()> {
    let mut world = World::started("sigkill").await?;
    let names: Vec<String> = (0..40).map(|number| format!("map-{number:02}")).collect();
    let maps: Vec<Value> = names.iter().map(|name| config_map(name, "1")).collect();
    let revision = push(&world, "shop", &maps)?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    // The first that is there is one of the first few that are sent.
    first_of(&world, &names).await?;
    world.daemon().kill()?;
    let made = config_maps(&world, "map-").await?;
    assert!(
        !made.is_empty() && made.len() < 40,
        "it was not killed in the middle: {} were there",
        made.len()
    );
    // What may have been touched stood in the record before it was touched.
    let record = world
        .kube
        .must(&path("Record", &world.apps, "shop"))
        .await?;
    let recorded = entries(&record);
    assert!(
        made.iter()
            .all(|name| recorded.iter().any(|(known, _)| known == name)),
        "{record:#}"
    );

    world.start()?;
    world.synced("shop", &revision).await?;
    assert_eq!(config_maps(&world, "map-").await?.len(), 40);
    let record = world
        .kube
        .until(
            "Record",
            &world.apps,
            "shop",
            "the uid of every object",
            |record| {
                record.is_some_and(|record| {
                    let entries = entries(record);
                    entries.len() == 40 && entries.iter().all(|(_, uid)| uid.is_some())
                })
            },
        )
        .await?;
    let live = world
        .kube
        .list(&path("ConfigMap", &world.target, ""))
        .await?;
    for (name, uid) in entries(record.as_ref().context("it was just there")?) {
        let object = live
            .iter()
            .find(|object| object["metadata"]["name"] == name.as_str());
        assert_eq!(
            object.and_then(|object| object["metadata"]["uid"].as_str()),
            uid.as_deref(),
            "{name}"
        );
    }
    // Killed again while it prunes all but one, which a person has to let through.
    for name in &names[1..] {
        world
            .repository
            .remove(&format!("shop/configmap-{name}.json"))?;
    }
    let revision = world.repository.push("all but one")?;
    world
        .app("shop", "held, for so much would go", |app| {
            app["status"]["lockstep"]["reason"]["code"] == "held.prune_budget"
        })
        .await?;
    assert_eq!(config_maps(&world, "map-").await?.len(), 40);
    let shop = path("Application", &world.apps, "shop");
    let order = json!({"operation": {"sync": {"prune": true}}});
    world.kube.patch(&shop, order.clone(), "ana").await?;
    world
        .object_until("ConfigMap", "map-20", "being gone", |object| {
            object.is_none()
        })
        .await?;
    world.daemon().kill()?;
    world.start()?;
    // What the person had let through is not on record: if more than ten are left, somebody is asked once more.
    let app = world
        .rest_until("/api/v1/apps/default/shop", "being decided", |_, app| {
            app["state"] == "synced" || app["state"] == "held"
        })
        .await?;
    if app["state"] == "held" {
        assert_eq!(app["reason"]["code"], "held.prune_budget", "{app:#}");
        world.kube.patch(&shop, order, "ana").await?;
    }
    world.synced("shop", &revision).await?;
    assert_eq!(
        config_maps(&world, "map-").await?,
        BTreeSet::from(["map-00".to_owned()])
    );
    world
        .kube
        .until("Record", &world.apps, "shop", "one entry", |record| {
            record.is_some_and(|record| entries(record).len() == 1)
        })
        .await?;
    Ok(())
}

/// Waits until any of these ConfigMaps is there.
async fn first_of(world: &World, names: &[String]) -> Result<()> {
    let mut waits = futures::stream::FuturesUnordered::new();
    for name in names {
        waits.push(world.object_until("ConfigMap", name, "being there", |object| object.is_some()));
    }
    futures::StreamExt::next(&mut waits)
        .await
        .context("there are names")??;
    Ok(())
}

/// The names in a record, each with its uid.
fn entries(record: &Value) -> Vec<(String, Option<String>)> {
    let all = record["entries"].as_array().into_iter().flatten();
    all.map(|entry| {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        (text("name").unwrap_or_default(), text("uid"))
    })
    .collect()
}
