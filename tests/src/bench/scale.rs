//! (c) Many apps from nothing to Synced, and one commit that changes all of them, next to a bare client.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::client::{Call, Client};
use super::cost::{Cost, Phase, all_written};
use super::fleet::{BARE, Fleet, NAMESPACES, OBJECTS, marked, settled};
use super::report::{Goal, Report};
use super::watch::Watch;
use super::{Options, push, say};
use crate::World;

/// The goal: this much of what the bare client reaches.
const SHARE: f64 = 0.7;

/// Creates everything; measured where part c is asked for, and needed by the other parts in any case.
pub async fn create(
    world: &World,
    client: &Client,
    fleet: &mut Fleet,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let measured = options.parts.contains(&'c');
    let mut bare = Vec::new();
    if measured {
        bare.push(bare_turn(world, client, fleet.apps, BARE[0], 1, report).await?);
    }
    say(&format!(
        "lockstep creates {} objects of {} apps",
        fleet.apps * OBJECTS,
        fleet.apps
    ));
    let mut watch = Watch::open(&world.plane.address, &["Application"], &world.apps, "").await?;
    let applications: Vec<Call> = (0..fleet.apps)
        .map(|app| Call::create(&Fleet::application(world, app)))
        .collect();
    let mark = world.mark().await?;
    let phase = Phase::begin(world).await?;
    let begun = Instant::now();
    client.send_all(&applications).await?;
    let written = begun.elapsed();
    let seconds = (fleet.synced(world, &mut watch).await? - begun).as_secs_f64();
    let cost = phase.end(world).await?;
    settled(world, super::fleet::SET, fleet.apps).await?;
    if measured {
        all_written(world, mark, fleet.apps).await?;
        bare.push(bare_turn(world, client, fleet.apps, BARE[1], 1, report).await?);
        tell(report, "create", fleet.apps, seconds, &bare, &cost);
        report.fact(
            "create.applicationsWrittenInSeconds",
            json!(written.as_secs_f64()),
        );
        report.fact("namespaces", json!(NAMESPACES));
    } else {
        say(&format!("  all Synced after {seconds:.1} s"));
    }
    Ok(())
}

/// One commit that changes every object.
pub async fn change(
    world: &World,
    client: &Client,
    fleet: &mut Fleet,
    report: &mut Report,
) -> Result<()> {
    let mut bare = vec![bare_turn(world, client, fleet.apps, BARE[0], 2, report).await?];
    fleet.commit(world, 2)?;
    say("lockstep changes every object");
    let mut watch = Watch::open(&world.plane.address, &["Application"], &world.apps, "").await?;
    let mark = world.mark().await?;
    let phase = Phase::begin(world).await?;
    let begun = Instant::now();
    push::ring(world, &fleet.revision).await?;
    let seconds = (fleet.synced(world, &mut watch).await? - begun).as_secs_f64();
    let cost = phase.end(world).await?;
    settled(world, super::fleet::SET, fleet.apps).await?;
    all_written(world, mark, fleet.apps).await?;
    bare.push(bare_turn(world, client, fleet.apps, BARE[1], 2, report).await?);
    tell(report, "change", fleet.apps, seconds, &bare, &cost);
    Ok(())
}

/// The bare client's turn: seconds.
async fn bare_turn(
    world: &World,
    client: &Client,
    apps: usize,
    set: &str,
    step: u32,
    report: &mut Report,
) -> Result<f64> {
    let calls: Vec<Call> = (0..apps)
        .flat_map(|app| marked(app, step, set))
        .map(|object| Call::apply(&object, "bench"))
        .collect();
    let phase = Phase::begin(world).await?;
    let begun = Instant::now();
    client.send_all(&calls).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = phase.end(world).await?.cpu;
    report.fact(&format!("bare.{set}.step{step}.cpuSeconds"), json!(cpu));
    say(&format!(
        "the bare client applied {} objects ({set}, step {step}) in {seconds:.2} s",
        calls.len()
    ));
    settled(world, set, apps).await?;
    Ok(seconds)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousands")]
fn tell(report: &mut Report, what: &str, apps: usize, seconds: f64, bare: &[f64], cost: &Cost) {
    let objects = (apps * OBJECTS) as f64;
    let rate = objects / seconds;
    let bare_rate = objects * bare.len() as f64 / bare.iter().sum::<f64>();
    report.one(
        'c',
        &format!("{what}: all apps Synced"),
        "s",
        seconds,
        Goal::None,
    );
    report.one(
        'c',
        &format!("{what}: lockstep"),
        "objects/s",
        rate,
        Goal::None,
    );
    report.one(
        'c',
        &format!("{what}: bare client"),
        "objects/s",
        bare_rate,
        Goal::None,
    );
    report.one(
        'c',
        &format!("{what}: share of the bare client"),
        "%",
        100.0 * rate / bare_rate,
        Goal::AtLeast(100.0 * SHARE),
    );
    let requests = cost.requests.len() as f64 / apps as f64;
    report.one(
        'c',
        &format!("{what}: API requests an app"),
        "",
        requests,
        Goal::None,
    );
    let cpu = 1000.0 * cost.cpu_of("lockstep") / apps as f64;
    report.one(
        'c',
        &format!("{what}: CPU of lockstep an app"),
        "ms",
        cpu,
        Goal::None,
    );
    report.fact(&format!("{what}.cost"), cost.json());
    report.fact(&format!("{what}.timeline"), cost.timeline());
    report.fact(&format!("{what}.bareSeconds"), json!(bare));
}
