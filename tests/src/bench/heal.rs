//! (a) From a hand's edit to its being put back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::cost::Phase;
use super::fleet::{Fleet, OBJECTS, SET, name, namespace};
use super::report::{Goal, Report, Times};
use super::say;
use super::watch::{Watch, version};
use crate::World;
use crate::kube::path;

/// At most so many edits a second: hands are not faster, and what one heal leaves to do does not meet the next.
const BETWEEN: Duration = Duration::from_millis(200);
/// How long one heal may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// What is edited by hand, of each kind: a field that git sets, and the hand's value.
const FIELDS: [(&str, &str, &str); OBJECTS] = [
    (
        "Deployment",
        "/spec/template/spec/containers/0/image",
        "shop.example/web:by-hand",
    ),
    ("Service", "/spec/ports/0/targetPort", "by-hand"),
    (
        "ServiceAccount",
        "/metadata/labels/bench.example~1step",
        "by-hand",
    ),
    ("Ingress", "/spec/rules/0/host", "by-hand.example"),
];

/// Edits one object after the other, each of them once, so that the back-off has no part in it.
pub async fn measure(
    world: &World,
    client: &Client,
    fleet: &Fleet,
    edits: usize,
    report: &mut Report,
) -> Result<()> {
    say(&format!("{edits} edits by hand"));
    let kinds = FIELDS.map(|(kind, ..)| kind);
    let mut watch = Watch::open(
        &world.plane.address,
        &kinds,
        "",
        &format!("bench.example/set={SET}"),
    )
    .await?;
    let (mut healed, mut sent) = (Times::default(), Times::default());
    let mut by_kind: BTreeMap<&str, Times> = BTreeMap::new();
    let mut pace = tokio::time::interval(BETWEEN);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let phase = Phase::begin(world).await?;
    for edit in 0..edits {
        pace.tick().await;
        let app = edit % fleet.apps;
        let (kind, field, wrong) = FIELDS[(app + edit / fleet.apps) % OBJECTS];
        let object = path(kind, &namespace(SET, app), &name(app));
        let call = Call::edit(
            &object,
            &json!([{"op": "replace", "path": field, "value": wrong}]),
        );
        let begun = Instant::now();
        let answer: Value = serde_json::from_slice(&client.send(&call).await?)?;
        let answered = Instant::now();
        let edited = version(&answer);
        let back = watch
            .until(
                &format!("edit {edit} of {object} being put back"),
                LIMIT,
                |seen| {
                    seen.kind == kind
                        && seen.text("/metadata/name") == name(app)
                        && seen.version() > edited
                        && seen
                            .object
                            .pointer(field)
                            .is_some_and(|value| *value != wrong)
                },
            )
            .await
            .with_context(|| {
                world
                    .daemon
                    .as_ref()
                    .map(crate::daemon::Daemon::log)
                    .unwrap_or_default()
                    .lines()
                    .rev()
                    .take(10)
                    .collect::<Vec<_>>()
                    .join("\n")
            })?;
        let took = back.at.saturating_duration_since(answered);
        healed.add(took);
        by_kind.entry(kind).or_default().add(took);
        sent.add(back.at.saturating_duration_since(begun));
        if (edit + 1) % 50 == 0 {
            say(&format!(
                "  {} edits, median {:.1} ms",
                edit + 1,
                healed.median()
            ));
        }
    }
    let cost = phase.end(world).await?;
    report.times(
        'a',
        "edit answered to healed",
        &healed,
        Goal::Below {
            median: 30.0,
            p99: 100.0,
        },
    );
    report.times('a', "edit sent to healed", &sent, Goal::None);
    for (kind, times) in &by_kind {
        report.times('a', &format!("  of them {kind}"), times, Goal::None);
    }
    report.fact("heal.cost", cost.json());
    Ok(())
}
