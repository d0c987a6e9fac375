//! Many apps that begin at the same moment: what they are about to touch is written down in few requests, and is known
//! to whoever comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lockstep_tests::World;
use lockstep_tests::kube::{PATIENCE, path};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::objects::{config_map, config_maps, ready};

const APPS: usize = 80;
/// The objects of each, the last of which git gives up while nobody looks.
const MAPS: [&str; 4] = ["a", "b", "c", "last"];
/// The annotation of the Lease in which claims stand until the records say them.
const CLAIMS: &str = "/metadata/annotations/lockstep.dev~1claims";

fn app(number: usize) -> String {
    format!("app-{number:02}")
}

/// Puts all of them into git, at this value, and says the commit.
fn push_all(world: &World, maps: &[&str], value: &str) -> Result<String> {
    for number in 0..APPS {
        for map in maps {
            let object = config_map(&format!("{}-{map}", app(number)), value);
            let file = format!("{}/{map}.json", app(number));
            world.repository.write(&file, &format!("{object:#}\n"))?;
        }
    }
    world.repository.push(&format!("all of them at {value}"))
}

async fn create_all(world: &World) -> Result<()> {
    let mut creating = JoinSet::new();
    for number in 0..APPS {
        let application = world.application(&app(number), &app(number));
        let kube = world.kube.clone();
        creating.spawn(async move { kube.create(&application).await.map(|_| ()) });
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    Ok(())
}

async fn all_synced(world: &World, revision: &str) -> Result<()> {
    for number in 0..APPS {
        world.synced(&app(number), revision).await?;
    }
    Ok(())
}

/// Waits until so many of their objects are there, and says which.
async fn at_least(world: &World, count: usize) -> Result<BTreeSet<String>> {
    let looking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            let there = config_maps(world, "app-").await?;
            if there.len() >= count {
                return anyhow::Ok(there);
            }
            tick.tick().await;
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(there) => there,
        Err(_) => bail!("there were never {count} objects"),
    }
}

async fn lease(world: &World) -> Result<Value> {
    world
        .kube
        .must(&path("Lease", &world.apps, "lockstep"))
        .await
}

/// Kills the daemon in the middle of what `begin` set off; says which objects there were then, after making sure that
/// the Lease is where the word about them stands.
async fn killed_in_the_middle(world: &mut World) -> Result<BTreeSet<String>> {
    ready(world).await?;
    create_all(world).await?;
    at_least(world, 60).await?;
    world.daemon().kill()?;
    let there = config_maps(world, "app-").await?;
    assert!(there.len() < APPS * MAPS.len(), "it was not in the middle");
    let claims = lease(world).await?;
    let claims = claims.pointer(CLAIMS).and_then(Value::as_str);
    assert!(
        claims.is_some_and(|text| !text.is_empty()),
        "nothing is claimed in the lease"
    );
    let records = world.kube.list(&path("Record", &world.apps, "")).await?;
    let without = (0..APPS).map(app).filter(|app| {
        let begun = there.iter().any(|map| map.starts_with(app.as_str()));
        begun
            && !records
                .iter()
                .any(|record| record["metadata"]["name"] == app.as_str())
    });
    assert!(without.count() > 10, "the records say it all already");
    Ok(there)
}

/// Takes the last object of every app out of git, and expects that what was made of them goes, too.
async fn comes_to_what_git_says(
    world: &World,
    there: &BTreeSet<String>,
    revision: &str,
) -> Result<()> {
    all_synced(world, revision).await?;
    let made = there.iter().filter(|map| map.ends_with("-last")).count();
    assert!(made > 0, "none of those that git gave up had been made");
    let wanted: BTreeSet<String> = (0..APPS)
        .flat_map(|number| {
            MAPS[..3]
                .iter()
                .map(move |map| format!("{}-{map}", app(number)))
        })
        .collect();
    let settling = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while config_maps(world, "app-").await? != wanted {
            tick.tick().await;
        }
        anyhow::Ok(())
    };
    if tokio::time::timeout(PATIENCE, settling).await.is_err() {
        let now = config_maps(world, "app-").await?;
        let leaked: Vec<_> = now.difference(&wanted).collect();
        bail!(
            "leaked: {leaked:?}; missing: {:?}",
            wanted.difference(&now).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn give_up_the_last(world: &World) -> Result<String> {
    for number in 0..APPS {
        world
            .repository
            .remove(&format!("{}/last.json", app(number)))?;
    }
    world.repository.push("without the last")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_that_begin_together_are_claimed_together_and_their_records_follow() -> Result<()> {
    let world = World::started("together").await?;
    let revision = push_all(&world, &MAPS, "1")?;
    ready(&world).await?;
    let mark = world.mark().await?;
    create_all(&world).await?;
    at_least(&world, APPS * MAPS.len()).await?;
    let requests = world.requests_since(mark).await?;
    let records = requests
        .iter()
        .filter(|request| request.resource == "records")
        .count();
    assert!(
        records < APPS / 2,
        "{records} records were written before the last object was there"
    );
    all_synced(&world, &revision).await?;
    for number in 0..APPS {
        let record = world.noted(&app(number)).await?;
        let entries = record["entries"].as_array().context("it has entries")?;
        assert!(
            entries.len() == MAPS.len() && entries.iter().all(|entry| entry["uid"].is_string()),
            "{record:#}"
        );
    }
    // The next renewal takes the word out of the lease.
    world
        .kube
        .until("Lease", &world.apps, "lockstep", "no claims", |lease| {
            lease.is_some_and(|lease| lease.pointer(CLAIMS).is_none())
        })
        .await?;
    let records = world.kube.list(&path("Record", &world.apps, "")).await?;
    assert!(
        records
            .iter()
            .all(|record| record["serial"].as_i64() >= Some(2)),
        "each was claimed and then written"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_apps_had_begun_is_known_after_a_kill() -> Result<()> {
    let mut world = World::started("together-kill").await?;
    push_all(&world, &MAPS, "1")?;
    let there = killed_in_the_middle(&mut world).await?;
    let revision = give_up_the_last(&world)?;
    world.start()?;
    comes_to_what_git_says(&world, &there, &revision).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_apps_had_begun_is_known_to_a_replica_that_stood_by() -> Result<()> {
    let mut world = World::started("together-standby").await?;
    push_all(&world, &MAPS, "1")?;
    ready(&world).await?;
    let second = world.another("-second", &[])?;
    let address = format!("{}/readyz", second.url);
    // It has read everything there was when it began, which was nothing.
    reqwest::get(address).await?;
    let there = killed_in_the_middle(&mut world).await?;
    let revision = give_up_the_last(&world)?;
    comes_to_what_git_says(&world, &there, &revision).await?;
    let holder = lease(&world).await?;
    assert!(
        holder["spec"]["leaseTransitions"].as_i64() >= Some(1),
        "{holder:#}"
    );
    drop(second);
    Ok(())
}
