//! What `make bench` measures: the daemon as it is shipped, on the real control plane.
//!
//! [`fleet`] is what is measured on: many small apps in one repository. [`scale`], [`heal`], [`push`] and [`quiet`] are
//! its four parts; [`throughput`] applies many small objects. They look through [`client`] and [`watch`], which share nothing with the daemon, and count what it
//! cost with [`cost`]. [`mod@render`] needs no daemon: it builds [`overlays`] beside the reference. [`report`] prints.

pub mod client;
pub mod cost;
pub mod fleet;
pub mod heal;
pub mod overlays;
pub mod push;
pub mod quiet;
pub mod render;
pub mod report;
pub mod scale;
pub mod throughput;
pub mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::World;
use client::Client;
use fleet::Fleet;
use report::Report;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which parts: `a`, `b`, `c`, `d`, `e`, `f`.
    pub parts: BTreeSet<char>,
    /// How many apps of four objects.
    pub apps: usize,
    /// How many edits by hand.
    pub edits: usize,
    /// How many pushes.
    pub pushes: usize,
    /// How long the quiet is.
    pub quiet: Duration,
    /// The reference of part e gets the overlay of 4,000 objects, too, which takes it minutes.
    pub all: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parts: "abcdef".chars().collect(),
            apps: 300,
            edits: 200,
            pushes: 50,
            quiet: Duration::from_mins(1),
            all: false,
        }
    }
}

impl Options {
    /// Reads the command line.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().with_context(|| {
                format!("{flag} needs a value; flags: --only a,b,c,d,e,f --apps N --edits N --pushes N --quiet SECONDS --all yes")
            })?;
            let number = || {
                value
                    .parse()
                    .with_context(|| format!("{flag} {value}: not a number"))
            };
            match flag.as_str() {
                "--only" => {
                    options.parts = value.chars().filter(|part| *part != ',').collect();
                    if let Some(unknown) =
                        options.parts.iter().find(|part| !"abcdef".contains(**part))
                    {
                        bail!(
                            "there is no part {unknown}: a heals, b pushes, c many apps, d quiet, e rendering, f applies"
                        );
                    }
                }
                "--apps" => options.apps = number()?,
                "--edits" => options.edits = number()?,
                "--pushes" => options.pushes = number()?,
                "--quiet" => options.quiet = Duration::from_secs(number()? as u64),
                "--all" => options.all = value == "yes",
                _ => bail!("there is no flag {flag}"),
            }
        }
        if options.apps == 0 || options.edits > options.apps * fleet::OBJECTS {
            bail!(
                "each object is edited once: {} edits need more than {} apps",
                options.edits,
                options.apps
            );
        }
        Ok(options)
    }
}

/// The daemon's secret for webhooks; it never leaves this machine.
pub const SECRET: &str = "what-both-sides-of-this-bench-know";

/// Measures everything that was asked for. What was measured before a failure is in the report all the same.
pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if options.parts.contains(&'e') {
        let (all, mut part) = (options.all, std::mem::take(report));
        let (ended, part) =
            tokio::task::spawn_blocking(move || (render::measure(all, &mut part), part)).await?;
        *report = part;
        ended?;
    }
    if options.parts.iter().all(|part| *part == 'e') {
        return Ok(());
    }
    say("the control plane starts");
    let mut world = World::new("bench").await?;
    // Everything as in production: one poll a minute, and a webhook.
    let parent = world
        .config
        .parent()
        .context("the configuration lies in a folder")?;
    std::fs::write(parent.join("webhook-secret"), SECRET)?;
    world.configure_as(&format!(
        "namespace: {}\nhttp: {{access: open}}\nwebhook: {{file: webhook-secret}}\n",
        world.apps
    ))?;
    let client = Client::open(&world.plane.address).await?;
    if options.parts.iter().any(|part| "abcd".contains(*part)) {
        measure_fleet(options, &mut world, &client, report).await?;
    } else {
        world.start()?;
        ready(&world).await?;
    }
    if options.parts.contains(&'f') {
        throughput::measure(&world, &client, report).await?;
    }
    let daemon = world.daemon();
    let warnings = daemon
        .log()
        .lines()
        .filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
        .count();
    let (ended, took) = daemon.terminate()?;
    report.fact(
        "daemon",
        json!({
            "warnings": warnings,
            "ended": ended.to_string(),
            "endedInSeconds": took.as_secs_f64(),
        }),
    );
    Ok(())
}

async fn ready(world: &World) -> Result<()> {
    world
        .rest_until("/readyz", "being ready", |status, _| status.is_success())
        .await?;
    Ok(())
}

/// The parts that are measured on many small apps.
async fn measure_fleet(
    options: &Options,
    world: &mut World,
    client: &Client,
    report: &mut Report,
) -> Result<()> {
    say(&format!(
        "{} apps are committed, namespaces are made",
        options.apps
    ));
    let mut fleet = Fleet::prepare(world, options.apps).await?;
    world.start()?;
    ready(world).await?;
    scale::create(world, client, &mut fleet, options, report).await?;
    if options.parts.contains(&'c') {
        scale::change(world, client, &mut fleet, report).await?;
    }
    if options.parts.contains(&'a') {
        heal::measure(world, client, &fleet, options.edits, report).await?;
    }
    if options.parts.contains(&'b') {
        push::measure(world, &mut fleet, options.pushes, report).await?;
    }
    if options.parts.contains(&'d') {
        quiet::measure(world, &fleet, options.quiet, report).await?;
    }
    Ok(())
}

/// One line for whoever waits.
pub fn say(what: &str) {
    eprintln!("bench: {what}");
}
