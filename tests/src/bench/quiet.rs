//! (d) What it costs to have all these apps while nothing happens.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::cost::{Phase, usage};
use super::fleet::Fleet;
use super::report::{Goal, Report};
use super::say;
use super::watch::Watch;
use crate::World;

/// How long Applications and records have to be silent before the quiet begins: what a sync was answered with is written
/// down ten seconds after it.
const BEFORE: Duration = Duration::from_secs(12);

/// Looks at the daemon while nothing happens.
#[expect(clippy::cast_precision_loss, reason = "counts of a few thousands")]
pub async fn measure(
    world: &World,
    fleet: &Fleet,
    length: Duration,
    report: &mut Report,
) -> Result<()> {
    let Some(pid) = world.daemon.as_ref().map(crate::daemon::Daemon::pid) else {
        return Ok(());
    };
    let mut watch = Watch::open(
        &world.plane.address,
        &["Application", "Record"],
        &world.apps,
        "",
    )
    .await?;
    watch.silence(BEFORE).await?;
    say(&format!(
        "{} quiet seconds with {} apps",
        length.as_secs(),
        fleet.apps
    ));
    let git = asked(world).await?;
    let phase = Phase::begin(world).await?;
    tokio::time::sleep(length).await;
    let cost = phase.end(world).await?;
    let polls = asked(world).await?.saturating_sub(git);
    let memory = usage(pid)?;
    let (mut watches, mut leases, mut others) = (0, 0, 0);
    for request in &cost.requests {
        match (request.verb.as_str(), request.resource.as_str()) {
            (_, "leases") => leases += 1,
            ("watch", _) => watches += 1,
            _ => others += 1,
        }
    }
    let cpu = 100.0 * cost.cpu_of("lockstep") / cost.wall.as_secs_f64();
    report.one(
        'd',
        "resident memory",
        "MiB",
        memory.resident as f64 / 1024.0,
        Goal::AtMost(80.0),
    );
    report.one(
        'd',
        "  of it not backed by a file",
        "MiB",
        memory.anonymous as f64 / 1024.0,
        Goal::None,
    );
    report.one(
        'd',
        "  the most it was in this run",
        "MiB",
        memory.peak as f64 / 1024.0,
        Goal::None,
    );
    report.one('d', "CPU, of one core", "%", cpu, Goal::AtMost(1.0));
    report.one(
        'd',
        "requests for leases",
        "",
        f64::from(leases),
        Goal::None,
    );
    report.one(
        'd',
        "watches that were renewed",
        "",
        f64::from(watches),
        Goal::None,
    );
    report.one(
        'd',
        "other requests to the API server",
        "",
        f64::from(others),
        Goal::AtMost(0.0),
    );
    // One poll a minute is one request, for what the branch names; one that began just before may end within.
    let minutes = (length.as_secs_f64() / 60.0).ceil();
    report.one(
        'd',
        "requests to git, one remote",
        "",
        polls as f64,
        Goal::AtMost(minutes),
    );
    report.fact("quiet.cost", cost.json());
    report.fact(
        "quiet.memoryKiB",
        json!({"resident": memory.resident, "anonymous": memory.anonymous, "peak": memory.peak}),
    );
    Ok(())
}

/// How many requests the git server has had.
async fn asked(world: &World) -> Result<u64> {
    let answer = reqwest::get(format!("{}/_control/counts", world.plane.address.git)).await?;
    let counts: Value = serde_json::from_str(&answer.text().await?)?;
    Ok(counts["total"].as_u64().unwrap_or_default())
}
