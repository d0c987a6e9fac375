//! (b) From a push and its webhook to the changed object.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::cost::Phase;
use super::fleet::{Fleet, SET, name, namespace, objects};
use super::report::{Goal, Report, Times};
use super::watch::Watch;
use super::{SECRET, say};
use crate::{World, webhook};

/// How long one push may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(30);
/// The next push comes when the Applications have said nothing for this long.
const SILENCE: Duration = Duration::from_millis(300);

/// Pushes to one app again and again.
pub async fn measure(
    world: &World,
    fleet: &mut Fleet,
    pushes: usize,
    report: &mut Report,
) -> Result<()> {
    say(&format!("{pushes} pushes"));
    let labels = format!("bench.example/set={SET}");
    let mut objects_seen = Watch::open(
        &world.plane.address,
        &["Deployment"],
        &namespace(SET, 0),
        &labels,
    )
    .await?;
    let mut apps_seen =
        Watch::open(&world.plane.address, &["Application"], &world.apps, "").await?;
    let (mut rung, mut pushed, mut told) = (Times::default(), Times::default(), Times::default());
    let phase = Phase::begin(world).await?;
    for push in 0..pushes {
        let wished = format!("shop.example/web:push-{push}");
        let mut deployment = objects(0, 2, SET)[0].clone();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(wished);
        world
            .repository
            .write("apps/000/deployment.yaml", &format!("{deployment:#}\n"))?;
        let before = Instant::now();
        fleet.revision = world.repository.push(&format!("push {push}"))?;
        let ringing = Instant::now();
        ring(world, &fleet.revision).await?;
        let changed = objects_seen
            .until(&format!("push {push} on the object"), LIMIT, |seen| {
                seen.text("/metadata/name") == name(0)
                    && seen.text("/spec/template/spec/containers/0/image") == wished
            })
            .await?;
        rung.add(changed.at.saturating_duration_since(ringing));
        pushed.add(changed.at.saturating_duration_since(before));
        let synced = apps_seen
            .until(&format!("push {push} in the status"), LIMIT, |seen| {
                seen.text("/metadata/name") == name(0)
                    && seen.text("/status/sync/status") == "Synced"
                    && seen.text("/status/sync/revision") == fleet.revision
            })
            .await?;
        told.add(synced.at.saturating_duration_since(ringing));
        apps_seen.silence(SILENCE).await?;
        if (push + 1) % 10 == 0 {
            say(&format!(
                "  {} pushes, median {:.1} ms",
                push + 1,
                rung.median()
            ));
        }
    }
    let cost = phase.end(world).await?;
    report.times(
        'b',
        "webhook sent to object changed",
        &rung,
        Goal::Below {
            median: 100.0,
            p99: 300.0,
        },
    );
    report.times('b', "git push begun to object changed", &pushed, Goal::None);
    report.times('b', "webhook sent to status Synced", &told, Goal::None);
    report.fact("push.cost", cost.json());
    Ok(())
}

/// Says to the daemon what GitHub would.
pub async fn ring(world: &World, revision: &str) -> Result<()> {
    let daemon = world.daemon.as_ref().context("there is no daemon")?;
    webhook::ring(&daemon.url, SECRET, &world.repository.url, revision).await
}
