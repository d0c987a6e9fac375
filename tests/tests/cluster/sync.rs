//! Commits become objects, and objects stay what git says: on a real API server, each test in its own namespaces.
//!
//! Reading order: `basics` is the life of an object, `drift` what others do to it, `order` what waits for what,
//! `hooks` what runs once in a sync, `refused` what the API server does not take, `source` git on its bad days, `bases` other repositories that a
//! kustomization names, `claims` whose an object is.

mod back;
mod bases;
mod basics;
mod claims;
mod drift;
mod hooks;
mod kept;
mod order;
mod refused;
mod source;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lockstep_tests::World;
use lockstep_tests::audit::Request;
use lockstep_tests::git::Repository;
use lockstep_tests::kube::{PATIENCE, path};
use serde_json::{Value, json};

/// The app of most tests.
pub(crate) const APP: &str = "shop";

/// A ConfigMap with one value, and the label that [`caught_up`] needs.
pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"touched-by": "git"}},
        "data": {"value": value}})
}

/// A Deployment of one pod.
pub(crate) fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": name, "labels": {"touched-by": "git"}},
    "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}, "annotations": {}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]},
        },
    }})
}

/// The same object with an annotation.
pub(crate) fn annotated(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = json!(value);
    object
}

/// Where an object stands in a folder of git.
fn file(folder: &str, object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    format!(
        "{folder}/{}-{}.json",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Commits these objects into a folder, besides what is there; answers with the commit.
pub(crate) fn push(repository: &Repository, folder: &str, objects: &[Value]) -> Result<String> {
    for object in objects {
        repository.write(&file(folder, object), &format!("{object:#}\n"))?;
    }
    repository.push("change objects")
}

/// Commits that these objects are gone from a folder; answers with the commit.
pub(crate) fn withdraw(repository: &Repository, folder: &str, objects: &[Value]) -> Result<String> {
    for object in objects {
        repository.remove(&file(folder, object))?;
    }
    repository.push("remove objects")
}

/// A world whose app [`APP`] has these objects, and is synced.
pub(crate) async fn settled(name: &str, objects: &[Value]) -> Result<World> {
    settled_as(name, objects, |_| ()).await
}

/// The same, with the Application as the test wants it.
pub(crate) async fn settled_as(
    name: &str,
    objects: &[Value],
    change: impl FnOnce(&mut Value),
) -> Result<World> {
    let (world, revision) = begun(name, objects, change).await?;
    world.synced(APP, &revision).await?;
    Ok(world)
}

/// The same, without waiting for anything.
pub(crate) async fn begun(
    name: &str,
    objects: &[Value],
    change: impl FnOnce(&mut Value),
) -> Result<(World, String)> {
    let world = World::started(name).await?;
    let revision = push(&world.repository, APP, objects)?;
    let mut app = world.application(APP, APP);
    change(&mut app);
    world.kube.create(&app).await?;
    Ok((world, revision))
}

/// Waits until an object of the target namespace holds this at a JSON pointer, and answers with it.
pub(crate) async fn holds(
    world: &World,
    kind: &str,
    name: &str,
    pointer: &str,
    value: Value,
) -> Result<Value> {
    let what = format!("{pointer} being {value}");
    let found = world
        .object_until(kind, name, &what, |object| {
            object.is_some_and(|object| object.pointer(pointer) == Some(&value))
        })
        .await?;
    found.context("the object was just there")
}

/// Waits until there is no such object in the target namespace.
pub(crate) async fn absent(world: &World, kind: &str, name: &str) -> Result<()> {
    world
        .object_until(kind, name, "being gone", |object| object.is_none())
        .await?;
    Ok(())
}

/// What has to be in the target namespace.
pub(crate) async fn live(world: &World, kind: &str, name: &str) -> Result<Value> {
    world
        .object(kind, name)
        .await?
        .with_context(|| format!("{kind} {name} is not there"))
}

/// Where an object of the target namespace is.
pub(crate) fn at(world: &World, kind: &str, name: &str) -> String {
    path(kind, &world.target, name)
}

/// Changes an object's label by hand and waits until it is put back: a watch says things in their order, so whatever
/// the daemon was to be told of this kind before, it has been told, and has begun to do what it does about it.
pub(crate) async fn caught_up(world: &World, kind: &str, name: &str) -> Result<()> {
    let by_hand = json!({"metadata": {"labels": {"touched-by": "hand"}}});
    world
        .kube
        .patch(&at(world, kind, name), by_hand, "hand")
        .await?;
    holds(
        world,
        kind,
        name,
        "/metadata/labels/touched-by",
        json!("git"),
    )
    .await?;
    Ok(())
}

/// Waits until the daemon has asked the repository so many times more.
pub(crate) async fn polled(world: &World, times: u64) -> Result<()> {
    let begun = asked(world).await?;
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while asked(world).await? < begun + times {
            tick.tick().await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(result) => result,
        Err(_) => bail!("the repository was asked {begun} times, and not {times} times more"),
    }
}

async fn asked(world: &World) -> Result<u64> {
    let counts = reqwest::get(format!("{}/_control/counts", world.plane.address.git)).await?;
    let counts: Value = serde_json::from_str(&counts.text().await?)?;
    let name = world.repository.url.rsplit('/').next().unwrap_or_default();
    Ok(counts["perRepository"][name]["uploadPack"]
        .as_u64()
        .unwrap_or(0))
}

/// Those of the writes that change what an app is made of, rather than what is known about it.
fn of_objects(mut writes: Vec<Request>) -> Vec<Request> {
    writes.retain(|write| {
        !matches!(
            write.resource.as_str(),
            "applications" | "records" | "bundles" | "appprojects" | "events"
        )
    });
    writes
}

/// Those of the requests whose path ends with this.
pub(crate) fn to<'a>(requests: &'a [Request], ending: &str) -> Vec<&'a Request> {
    let path = |request: &&Request| {
        request
            .uri
            .split('?')
            .next()
            .is_some_and(|path| path.ends_with(ending))
    };
    requests.iter().filter(path).collect()
}

/// The row of `status.resources` about an object.
fn row<'a>(app: &'a Value, kind: &str, name: &str) -> Option<&'a Value> {
    app["status"]["resources"]
        .as_array()?
        .iter()
        .find(|row| row["kind"] == kind && row["name"] == name)
}

/// Which Application tests look at.
pub(crate) fn application(world: &World, name: &str) -> String {
    path("Application", &world.apps, name)
}
