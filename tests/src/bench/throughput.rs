//! (f) How fast objects are applied: a thousand ConfigMaps in one app, and five in each of two hundred, next to a raw
//! client that sends the same applies, as many at once as the daemon does.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::cost::{Phase, all_written};
use super::fleet::PATIENCE;
use super::push::ring;
use super::report::{Goal, Report};
use super::say;
use super::watch::Watch;
use crate::World;
use crate::audit::Request;

/// Objects of each shape.
const MAPS: usize = 1000;
/// The sets of objects: the daemon's, and the raw client's before and after it, so that both do the same.
const DAEMON: &str = "daemon";
const RAW: [&str; 2] = ["raw-a", "raw-b"];
/// How often each shape is measured, each time with new apps: what is told is the median.
const ROUNDS: u32 = 3;
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
    fn namespace(&self, set: &str) -> String {
        format!("maps-{}-{set}", self.name)
    }
}

/// A shape's turn.
struct Round<'a> {
    shape: &'a Shape,
    number: u32,
}

/// What a turn came to: applies a second, and requests an object.
struct Turn {
    rate: f64,
    raw: f64,
    requests: f64,
}

impl Round<'_> {
    fn app(&self, map: usize) -> String {
        let Shape { name, apps, .. } = self.shape;
        format!("maps-{name}-{}-{:03}", self.number, map % apps)
    }

    fn name(&self, map: usize) -> String {
        format!("map-{}-{map:04}", self.number)
    }

    /// One of the objects, as it lies in git.
    fn map(&self, map: usize, step: u32, set: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.name(map), "namespace": self.shape.namespace(set),
                "labels": {"bench.example/shape": self.shape.name}},
            "data": {"step": step.to_string(), "text": "x".repeat(200)}})
    }

    /// Lets the apps come to be, each with an object of its own: what is measured is applying, and not what an API server
    /// does to take in two hundred Applications.
    async fn begin(&self, world: &World, client: &Client) -> Result<()> {
        let apps: BTreeSet<String> = (0..MAPS).map(|map| self.app(map)).collect();
        for app in &apps {
            let seed = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("seed-{app}"), "namespace": self.shape.namespace(DAEMON)}});
            let file = format!("maps/{app}/seed.json");
            world.repository.write(&file, &format!("{seed:#}\n"))?;
        }
        world.repository.push("apps")?;
        let mark = world.mark().await?;
        let mut calls = Vec::new();
        for app in &apps {
            let mut application = world.application(app, &format!("maps/{app}"));
            application["spec"]["destination"]["namespace"] = json!(self.shape.namespace(DAEMON));
            calls.push(Call::create(&application));
        }
        client.send_all(&calls).await?;
        all_written(world, mark, apps.len()).await
    }

    fn commit(&self, world: &World, step: u32, maps: std::ops::Range<usize>) -> Result<String> {
        for map in maps {
            let object = self.map(map, step, DAEMON);
            let file = format!("maps/{}/{}.json", self.app(map), self.name(map));
            world.repository.write(&file, &format!("{object:#}\n"))?;
        }
        world.repository.push(&format!("maps, step {step}"))
    }

    /// The raw client's turn with one of its sets: applies a second.
    async fn raw(&self, client: &Client, step: u32, set: &str) -> Result<f64> {
        let marked = |map: usize| {
            let mut object = self.map(map, step, set);
            // What the daemon puts on every object.
            object["metadata"]["labels"]["applyset.kubernetes.io/part-of"] =
                json!(format!("applyset-{}", "x".repeat(43)));
            object["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id":
                format!("{}:/ConfigMap:{}/{}", self.app(map), self.shape.namespace(set), self.name(map))});
            object
        };
        let calls: Vec<Call> = (0..MAPS)
            .map(|map| Call::apply(&marked(map), "bench"))
            .collect();
        let begun = Instant::now();
        client.send_some(&calls, self.shape.at_once).await?;
        Ok(rate(MAPS, begun.elapsed().as_secs_f64()))
    }
}

/// Measures both shapes. The raw client goes before and after each turn of the daemon's.
pub async fn measure(world: &World, client: &Client, report: &mut Report) -> Result<()> {
    for shape in &SHAPES {
        for set in RAW.iter().chain(&[DAEMON]) {
            world.kube.namespace(&shape.namespace(set)).await?;
        }
        let mut turns = [Vec::new(), Vec::new()];
        for number in 1..=ROUNDS {
            let round = Round { shape, number };
            round.begin(world, client).await?;
            for (step, turns) in (1..).zip(&mut turns) {
                turns.push(turn(world, client, &round, step, report).await?);
            }
        }
        let [new, changed] = turns;
        tell(report, shape, "new", &new);
        tell(report, shape, "changed", &changed);
        let number = ROUNDS;
        unchanged(world, &Round { shape, number }, report).await?;
    }
    Ok(())
}

/// New objects (step 1), or the same ones changed (step 2).
async fn turn(
    world: &World,
    client: &Client,
    round: &Round<'_>,
    step: u32,
    report: &mut Report,
) -> Result<Turn> {
    let what = if step == 1 { "new" } else { "changed" };
    let shape = round.shape.name;
    let before = round.raw(client, step, RAW[0]).await?;
    let mut watch = Watch::open(
        &world.plane.address,
        &["ConfigMap"],
        &round.shape.namespace(DAEMON),
        "",
    )
    .await?;
    say(&format!(
        "lockstep applies {MAPS} {what} ConfigMaps ({shape}, round {})",
        round.number
    ));
    let mark = world.mark().await?;
    let phase = Phase::begin(world).await?;
    let revision = round.commit(world, step, 0..MAPS)?;
    ring(world, &revision).await?;
    let prefix = format!("map-{}-", round.number);
    let mut done: BTreeSet<String> = BTreeSet::new();
    watch
        .until("every ConfigMap being applied", PATIENCE, |seen| {
            let name = seen.text("/metadata/name");
            if name.starts_with(&prefix) && seen.text("/data/step") == step.to_string() {
                done.insert(name.to_owned());
            }
            done.len() == MAPS
        })
        .await?;
    let cost = phase.end(world).await?;
    all_written(world, mark, round.shape.apps).await?;
    let after = round.raw(client, step, RAW[1]).await?;
    report.fact(
        &format!("{shape}.{what}.{}.cost", round.number),
        cost.json(),
    );
    let requests = of_maps(cost.requests);
    Ok(Turn {
        rate: rate_of(&requests)?,
        raw: f64::midpoint(before, after),
        requests: count(requests.len()) / count(MAPS),
    })
}

/// A commit that changes one object asks for nothing of the other 999.
async fn unchanged(world: &World, round: &Round<'_>, report: &mut Report) -> Result<()> {
    let app = round.app(0);
    let is_synced = |app: &Value, revision: &str| {
        app["status"]["sync"]["status"] == "Synced" && app["status"]["sync"]["revision"] == revision
    };
    let revision = world.repository.git(&["rev-parse", "HEAD"])?;
    world
        .app(&app, "being Synced", |app| is_synced(app, revision.trim()))
        .await?;
    let mark = world.mark().await?;
    let revision = round.commit(world, 3, 0..1)?;
    ring(world, &revision).await?;
    world
        .app(&app, "being Synced", |app| is_synced(app, &revision))
        .await?;
    let requests = of_maps(world.requests_since(mark).await?);
    report.one(
        'f',
        &format!(
            "{} app: requests for 999 unchanged objects",
            round.shape.name
        ),
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

/// From the first request to the last answer.
fn rate_of(requests: &[Request]) -> Result<f64> {
    let time = |text: &str| text.parse::<jiff::Timestamp>();
    let begun = requests.iter().map(|request| time(&request.received));
    let ended = requests.iter().map(|request| time(&request.answered));
    let begun = begun.collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let ended = ended.collect::<Result<Vec<_>, _>>()?.into_iter().max();
    let (begun, ended) = begun.zip(ended).context("nothing was applied")?;
    Ok(rate(MAPS, ended.duration_since(begun).as_secs_f64()))
}

fn tell(report: &mut Report, shape: &Shape, what: &str, turns: &[Turn]) {
    let name = format!("{} app, {what}", shape.name);
    let mut one = |what: &str, unit: &str, of: &dyn Fn(&Turn) -> f64, goal: Goal| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        report.one('f', &format!("{name}: {what}"), unit, median, goal);
    };
    one("lockstep", "applies/s", &|turn| turn.rate, Goal::None);
    one("raw client", "applies/s", &|turn| turn.raw, Goal::None);
    let share = |turn: &Turn| 100.0 * turn.rate / turn.raw;
    one("share of the raw client", "%", &share, Goal::AtLeast(SHARE));
    let requests = |turn: &Turn| turn.requests;
    one("requests an object", "", &requests, Goal::AtMost(1.0));
}

fn rate(objects: usize, seconds: f64) -> f64 {
    count(objects) / seconds
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousands")]
fn count(number: usize) -> f64 {
    number as f64
}
