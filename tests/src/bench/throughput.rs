//! (f) How fast objects are applied: a thousand ConfigMaps in one app, and five in each of two hundred, next to a raw
//! client that sends the same applies, as many at once as the daemon does.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::fleet::PATIENCE;
use super::push::ring;
use super::report::{Goal, Report};
use super::say;
use super::watch::Watch;
use crate::World;
use crate::audit::Request;

/// Objects of each shape.
const MAPS: usize = 1000;
/// The goal: this much of what the raw client reaches.
const SHARE: f64 = 90.0;

/// How the objects are spread over apps.
struct Shape {
    name: &'static str,
    apps: usize,
    /// As many applies as the daemon has under way: of one app, and of one kind.
    at_once: usize,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "one",
        apps: 1,
        at_once: 8,
    },
    Shape {
        name: "many",
        apps: 200,
        at_once: 16,
    },
];

impl Shape {
    fn app(&self, map: usize) -> String {
        format!("maps-{}-{:03}", self.name, map % self.apps)
    }

    fn namespace(&self, set: &str) -> String {
        format!("maps-{}-{set}", self.name)
    }

    /// One of the objects, as it lies in git.
    fn map(&self, map: usize, step: u32, set: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("map-{map:04}"), "namespace": self.namespace(set),
                "labels": {"bench.example/shape": self.name}},
            "data": {"step": step.to_string(), "text": "x".repeat(200)}})
    }

    fn commit(&self, world: &World, step: u32, maps: std::ops::Range<usize>) -> Result<String> {
        for map in maps {
            let object = self.map(map, step, "daemon");
            let file = format!("maps/{}/map-{map:04}.json", self.app(map));
            world.repository.write(&file, &format!("{object:#}\n"))?;
        }
        world.repository.push(&format!("maps, step {step}"))
    }

    /// The raw client's turn: applies a second.
    async fn raw(&self, client: &Client, step: u32) -> Result<f64> {
        let marked = |map: usize| {
            let mut object = self.map(map, step, "raw");
            // What the daemon puts on every object.
            object["metadata"]["labels"]["applyset.kubernetes.io/part-of"] =
                json!(format!("applyset-{}", "x".repeat(43)));
            object["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id":
                format!("{}:/ConfigMap:{}/map-{map:04}", self.app(map), self.namespace("raw"))});
            object
        };
        let calls: Vec<Call> = (0..MAPS)
            .map(|map| Call::apply(&marked(map), "bench"))
            .collect();
        let begun = Instant::now();
        client.send_some(&calls, self.at_once).await?;
        Ok(rate(MAPS, begun.elapsed().as_secs_f64()))
    }
}

/// Measures both shapes. The raw client goes before and after each turn of the daemon's.
pub async fn measure(world: &World, client: &Client, report: &mut Report) -> Result<()> {
    for shape in &SHAPES {
        for set in ["daemon", "raw"] {
            world.kube.namespace(&shape.namespace(set)).await?;
        }
        let mut watch = Watch::open(
            &world.plane.address,
            &["ConfigMap"],
            &shape.namespace("daemon"),
            "",
        )
        .await?;
        for (step, what) in [(1, "new"), (2, "changed")] {
            let before = shape.raw(client, step * 2 - 1).await?;
            say(&format!(
                "lockstep applies {MAPS} {what} ConfigMaps ({})",
                shape.name
            ));
            let mark = world.mark().await?;
            let revision = shape.commit(world, step, 0..MAPS)?;
            if step == 1 {
                let apps: BTreeSet<String> = (0..MAPS).map(|map| shape.app(map)).collect();
                let mut calls = Vec::new();
                for app in apps {
                    let mut application = world.application(&app, &format!("maps/{app}"));
                    application["spec"]["destination"]["namespace"] =
                        json!(shape.namespace("daemon"));
                    calls.push(Call::create(&application));
                }
                client.send_all(&calls).await?;
            } else {
                ring(world, &revision).await?;
            }
            let mut done: BTreeSet<String> = BTreeSet::new();
            watch
                .until("every ConfigMap being applied", PATIENCE, |seen| {
                    if seen.text("/data/step") == step.to_string() {
                        done.insert(seen.text("/metadata/name").to_owned());
                    }
                    done.len() == MAPS
                })
                .await?;
            let requests = of_maps(world.requests_since(mark).await?);
            let after = shape.raw(client, step * 2).await?;
            tell(report, shape, what, &requests, f64::midpoint(before, after))?;
        }
        unchanged(world, shape, report).await?;
    }
    Ok(())
}

/// A commit that changes one object asks for nothing of the other 999.
async fn unchanged(world: &World, shape: &Shape, report: &mut Report) -> Result<()> {
    let app = shape.app(0);
    let is_synced = |app: &Value, revision: &str| {
        app["status"]["sync"]["status"] == "Synced" && app["status"]["sync"]["revision"] == revision
    };
    let revision = world.repository.git(&["rev-parse", "HEAD"])?;
    world
        .app(&app, "being Synced", |app| is_synced(app, revision.trim()))
        .await?;
    let mark = world.mark().await?;
    let revision = shape.commit(world, 3, 0..1)?;
    ring(world, &revision).await?;
    world
        .app(&app, "being Synced", |app| is_synced(app, &revision))
        .await?;
    let requests = of_maps(world.requests_since(mark).await?);
    report.one(
        'f',
        &format!("{} app: requests for 999 unchanged objects", shape.name),
        "",
        count(requests.len().saturating_sub(1)),
        Goal::AtMost(0.0),
    );
    Ok(())
}

/// Those for ConfigMaps that are applied, in the order of their answers.
fn of_maps(mut requests: Vec<Request>) -> Vec<Request> {
    requests.retain(|request| request.resource == "configmaps" && request.verb != "watch");
    requests
}

fn tell(
    report: &mut Report,
    shape: &Shape,
    what: &str,
    requests: &[Request],
    raw: f64,
) -> Result<()> {
    let time = |text: &str| text.parse::<jiff::Timestamp>();
    let begun = requests.iter().map(|request| time(&request.received));
    let ended = requests.iter().map(|request| time(&request.answered));
    let begun = begun.collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let ended = ended.collect::<Result<Vec<_>, _>>()?.into_iter().max();
    let (begun, ended) = begun.zip(ended).context("nothing was applied")?;
    let rate = rate(MAPS, ended.duration_since(begun).as_secs_f64());
    let name = format!("{} app, {what}", shape.name);
    let mut one = |what: &str, unit: &str, value: f64, goal: Goal| {
        report.one('f', &format!("{name}: {what}"), unit, value, goal);
    };
    one("lockstep", "applies/s", rate, Goal::None);
    one("raw client", "applies/s", raw, Goal::None);
    one(
        "share of the raw client",
        "%",
        100.0 * rate / raw,
        Goal::AtLeast(SHARE),
    );
    one(
        "requests an object",
        "",
        count(requests.len()) / count(MAPS),
        Goal::AtMost(1.0),
    );
    Ok(())
}

fn rate(objects: usize, seconds: f64) -> f64 {
    count(objects) / seconds
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousands")]
fn count(number: usize) -> f64 {
    number as f64
}
