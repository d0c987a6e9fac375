//! What a phase cost: CPU of each process, requests of the daemon.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet::PATIENCE;
use crate::World;
use crate::audit::{Mark, Request};

/// Ticks of a second in `/proc/PID/stat`: 100 on every Linux that we run on.
const TICKS: f64 = 100.0;

/// A process at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu: f64,
    /// Resident memory in KiB.
    pub resident: u64,
    /// Of it, not backed by files.
    pub anonymous: u64,
    /// The most it ever was.
    pub peak: u64,
}

/// Reads `/proc`.
pub fn usage(pid: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; what follows it is numbers.
    let after = stat
        .rsplit_once(')')
        .context("/proc/PID/stat has a name")?
        .1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or_default()
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |key: &str| {
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(key)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or_default()
    };
    Ok(Usage {
        cpu: (ticks(11) + ticks(12)) / TICKS,
        resident: kib("VmRSS:"),
        anonymous: kib("RssAnon:"),
        peak: kib("VmHWM:"),
    })
}

/// How long the daemon writes nothing when it has written all: it notes what it learnt at most ten seconds later.
const QUIET: Duration = Duration::from_secs(11);

/// Waits for what the daemon writes when nobody waits for it, statuses, records and stored deployments, whatever order
/// they come in: whoever is measured next has the server for itself, as the daemon had.
pub async fn all_written(world: &World, mark: Mark, apps: usize) -> Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let written = async {
        let mut last = (0, Instant::now());
        loop {
            tick.tick().await;
            let requests = world.requests_since(mark).await?;
            let stored = requests
                .iter()
                .filter(|request| request.resource == "bundles");
            let writes = requests.iter().filter(|request| request.is_write()).count();
            if writes != last.0 {
                last = (writes, Instant::now());
            }
            if stored.count() >= apps && last.1.elapsed() > QUIET {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, written)
        .await
        .context("not every deployment was stored")?
}

/// A phase that has begun.
pub struct Phase {
    mark: Mark,
    cpu: BTreeMap<String, f64>,
    begun: Instant,
}

/// What it cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// How long it was.
    pub wall: Duration,
    /// CPU seconds of each process.
    pub cpu: BTreeMap<String, f64>,
    /// What the daemon asked of the API server.
    pub requests: Vec<Request>,
}

impl Phase {
    /// Begins.
    pub async fn begin(world: &World) -> Result<Self> {
        Ok(Self {
            mark: world.mark().await?,
            cpu: processes(world)?,
            begun: Instant::now(),
        })
    }

    /// Ends.
    pub async fn end(self, world: &World) -> Result<Cost> {
        let wall = self.begun.elapsed();
        let now = processes(world)?;
        let cpu = now
            .into_iter()
            .map(|(name, cpu)| {
                let before = self.cpu.get(&name).copied().unwrap_or_default();
                (name, cpu - before)
            })
            .collect();
        Ok(Cost {
            wall,
            cpu,
            requests: world.requests_since(self.mark).await?,
        })
    }
}

impl Cost {
    /// CPU seconds of a process.
    pub fn cpu_of(&self, name: &str) -> f64 {
        self.cpu.get(name).copied().unwrap_or_default()
    }

    /// How many requests there were of each verb and resource.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.requests {
            let resource = if request.resource.is_empty() {
                &request.uri
            } else {
                &request.resource
            };
            *counts
                .entry(format!("{} {resource}", request.verb))
                .or_default() += 1;
        }
        counts
    }

    /// How many requests of each kind were answered in each second, and how long they took, in milliseconds: where
    /// a phase had to wait, and for what.
    pub fn timeline(&self) -> Value {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let begun = self
            .requests
            .iter()
            .filter_map(|request| time(&request.received))
            .min();
        let mut seconds: BTreeMap<i64, BTreeMap<String, (i64, i64)>> = BTreeMap::new();
        for request in &self.requests {
            let times = (begun, time(&request.received), time(&request.answered));
            let (Some(begun), Some(received), Some(answered)) = times else {
                continue;
            };
            let second = answered.duration_since(begun).as_secs();
            let took = answered.duration_since(received).as_millis();
            let name = format!("{} {}", request.verb, request.resource);
            let entry = seconds.entry(second).or_default().entry(name).or_default();
            entry.0 += 1;
            entry.1 += i64::try_from(took).unwrap_or(i64::MAX);
        }
        let rows = seconds.into_iter().map(|(second, kinds)| {
            let kinds: BTreeMap<String, Value> = kinds
                .into_iter()
                .map(|(name, (count, took))| {
                    (name, json!({"count": count, "meanMs": took / count}))
                })
                .collect();
            json!({"second": second, "requests": kinds})
        });
        rows.collect()
    }

    /// Everything, for the report.
    pub fn json(&self) -> Value {
        json!({
            "seconds": self.wall.as_secs_f64(),
            "cpuSeconds": self.cpu,
            "requests": self.counts(),
            "refused": self.requests.iter().filter(|request| request.code >= 400).count(),
        })
    }
}

fn processes(world: &World) -> Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    for (name, pid) in &world.plane.address.pids {
        found.insert(name.clone(), usage(*pid)?.cpu);
    }
    if let Some(daemon) = &world.daemon {
        found.insert("lockstep".to_owned(), usage(daemon.pid())?.cpu);
    }
    found.insert("bench".to_owned(), usage(std::process::id())?.cpu);
    Ok(found)
}
