//! The traps of server-side apply, one test each, on a real API server: a fake would agree with whoever wrote it.
//!
//! Each test says in its first line which trap it is. Reading order: `owners` is about whose a field is, `values` about
//! what is equal to what, `server` about what else the API server does, `replaced` about what cannot be changed.

mod owners;
mod replaced;
mod server;
mod values;

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::{PATIENCE, path};
use reqwest::Method;
use serde_json::{Value, json};

use crate::sync::{APP, caught_up, config_map, polled, push, to};

/// What the app's drift says.
const DRIFT: &str = "/api/v1/apps/default/shop/drift";

/// A world in which these objects are there already, each by this manager, before the app [`APP`] has its objects in
/// git and is synced.
async fn adopted(
    name: &str,
    there: &[(&Value, &str)],
    objects: &[Value],
    change: impl FnOnce(&mut Value),
) -> Result<World> {
    let world = World::started(name).await?;
    for (object, manager) in there {
        made_by(&world, object, manager).await?;
    }
    let revision = push(&world.repository, APP, objects)?;
    let mut app = world.application(APP, APP);
    change(&mut app);
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;
    Ok(world)
}

/// Makes an object in the target namespace as a client does that knows no server-side apply.
async fn made_by(world: &World, object: &Value, manager: &str) -> Result<Value> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let collection = path(kind, &world.target, "");
    post(
        world,
        &format!("{collection}?fieldManager={manager}"),
        object,
    )
    .await
}

async fn post(world: &World, at: &str, object: &Value) -> Result<Value> {
    let (status, answer) = world
        .kube
        .send(Method::POST, at, "application/json", Some(object))
        .await?;
    anyhow::ensure!(status.is_success(), "POST {at}: {status}: {answer}");
    Ok(answer)
}

/// Nothing is written to what ends with this, though the daemon has seen all there is to see, and has asked git. The app
/// has [`sentinel`] for that.
async fn quiet(world: &World, ending: &str) -> Result<()> {
    let mark = world.mark().await?;
    caught_up(world, "ConfigMap", "sentinel").await?;
    polled(world, 1).await?;
    let writes = world.writes_since(mark).await?;
    assert!(to(&writes, ending).is_empty(), "{writes:#?}");
    assert_eq!(to(&writes, "/configmaps/sentinel").len(), 1, "{writes:#?}");
    Ok(())
}

/// The object by which [`quiet`] finds out how far the daemon is.
fn sentinel() -> Value {
    config_map("sentinel", "1")
}

/// The entry of this manager in an object's bookkeeping.
fn entry<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    object["metadata"]["managedFields"]
        .as_array()?
        .iter()
        .find(|entry| entry["manager"] == manager)
}

/// A definition of widgets in a group of this test alone, with these versions, the last of which is stored; served, and
/// said to be, when this returns.
async fn widgets(world: &World, versions: &[(&str, Value)]) -> Result<String> {
    let group = format!("{}.example.com", world.target);
    let definition = widget_definition(&group, versions);
    world.kube.create(&definition).await?;
    let name = format!("widgets.{group}");
    world
        .kube
        .until(
            "CustomResourceDefinition",
            "",
            &name,
            "being Established",
            |crd| {
                crd.and_then(|crd| crd["status"]["conditions"].as_array())
                    .is_some_and(|all| {
                        all.iter()
                            .any(|c| c["type"] == "Established" && c["status"] == "True")
                    })
            },
        )
        .await?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let said = async {
        while !world.kube.must("/apis").await?.to_string().contains(&group) {
            tick.tick().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, said)
        .await
        .context("the group is not said to be served")??;
    Ok(group)
}

fn widget_definition(group: &str, versions: &[(&str, Value)]) -> Value {
    let last = versions.len() - 1;
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(at, (name, spec))| {
            json!({"name": name, "served": true, "storage": at == last, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}}})
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "versions": versions,
                 "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"}},
    })
}

fn widget(group: &str, version: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{group}/{version}"), "kind": "Widget",
           "metadata": {"name": "small"}, "spec": spec})
}

/// Where the widget is.
fn widget_at(world: &World, group: &str, version: &str) -> String {
    let namespace = &world.target;
    format!("/apis/{group}/{version}/namespaces/{namespace}/widgets/small")
}

/// Waits until the app's drift answers with this, and answers with it.
async fn drift(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    world
        .rest_until(DRIFT, what, |status, drift| {
            status.is_success() && holds(drift)
        })
        .await
        .context("the drift")
}
