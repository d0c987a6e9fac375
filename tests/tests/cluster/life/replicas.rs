//! Two replicas: one acts, the other stands by and takes over.

use anyhow::Result;
use lockstep_tests::World;
use lockstep_tests::audit::{self, Mark, Request};
use lockstep_tests::daemon::Daemon;
use lockstep_tests::kube::PATIENCE;

use crate::objects::{config_map, push, ready};

const SECOND: &str = "the-second-replica";

async fn writes_of(world: &World, user: &str, since: Mark) -> Result<Vec<Request>> {
    let now = world.mark().await?;
    let mut requests = audit::requests(&world.plane.address, user, since, now)?;
    requests.retain(Request::is_write);
    Ok(requests)
}

/// Waits until this replica says this of itself.
async fn says(daemon: &Daemon, wanted: &str) -> Result<()> {
    let asking = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            let text = reqwest::get(format!("{}/readyz", daemon.url))
                .await?
                .text()
                .await?;
            if text.starts_with(wanted) {
                return anyhow::Ok(());
            }
            tick.tick().await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(said) => said,
        Err(_) => anyhow::bail!("it never says {wanted:?}; its log:\n{}", daemon.log()),
    }
}

async fn leads(daemon: &Daemon) -> Result<bool> {
    let text = reqwest::get(format!("{}/metrics", daemon.url))
        .await?
        .text()
        .await?;
    Ok(text.lines().any(|line| line == "lockstep_leading 1"))
}

/// Waits until this replica holds the lease.
async fn takes_over(daemon: &Daemon) -> Result<()> {
    let asking = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        while !leads(daemon).await? {
            tick.tick().await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(taken) => taken,
        Err(_) => anyhow::bail!("it never takes over; its log:\n{}", daemon.log()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_replica_writes_nothing_until_the_first_is_killed() -> Result<()> {
    let mut world = World::started("standby").await?;
    let user = format!("{}-{SECOND}", world.user);
    ready(&world).await?;
    let mark = world.mark().await?;
    let second = world.another_as(&user, "-second", &[])?;
    says(&second, "").await?;
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
    assert!(!leads(&second).await?);
    let writes = writes_of(&world, &user, mark).await?;
    assert!(writes.is_empty(), "{writes:#?}");

    let begun = std::time::Instant::now();
    world.daemon().kill()?;
    let mark = world.mark().await?;
    takes_over(&second).await?;
    assert!(
        begun.elapsed().as_secs() < 30,
        "taking over took {:?}",
        begun.elapsed()
    );
    world.repository.remove("shop/configmap-back.json")?;
    let next = push(&world, "shop", &[config_map("front", "2")])?;
    world.synced("shop", &next).await?;
    assert!(
        world.object("ConfigMap", "back").await?.is_none(),
        "what the first made, the second prunes"
    );
    let writes = writes_of(&world, &user, mark).await?;
    assert!(
        writes.iter().any(|write| write.resource == "configmaps"),
        "{writes:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_the_second_replica_acts_at_once_and_changes_nothing() -> Result<()> {
    let mut world = World::started("handover").await?;
    let user = format!("{}-{SECOND}", world.user);
    let first = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;
    let second = world.another_as(&user, "-second", &[])?;
    says(&second, "").await?;
    let (status, _) = tokio::task::block_in_place(|| world.daemon().terminate())?;
    assert_eq!(status.code(), Some(0));
    let begun = std::time::Instant::now();
    let mark = world.mark().await?;
    takes_over(&second).await?;
    // A lease that was given back is taken at the next look, and not when its term is over.
    assert!(
        begun.elapsed().as_secs() < 12,
        "taking over took {:?}",
        begun.elapsed()
    );
    says(&second, "ready").await?;
    let next = push(&world, "shop", &[config_map("front", "2")])?;
    world.synced("shop", &next).await?;
    let writes = writes_of(&world, &user, mark).await?;
    let objects: Vec<_> = writes
        .iter()
        .filter(|write| write.resource == "configmaps")
        .collect();
    assert_eq!(objects.len(), 1, "{writes:#?}");
    Ok(())
}
