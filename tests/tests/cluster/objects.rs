//! The small objects that tests of faces and of the daemon's life put into git.

use std::collections::BTreeSet;

use anyhow::Result;
use lockstep_tests::World;
use lockstep_tests::kube::path;
use serde_json::{Value, json};

/// A ConfigMap with one value.
pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})
}

/// A Deployment of one pod that never becomes ready.
pub(crate) fn stuck(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"test.lockstep.dev/ready": "never"}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]},
        },
    }})
}

/// The same object in this wave.
pub(crate) fn in_wave(wave: i32, mut object: Value) -> Value {
    object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = json!(wave.to_string());
    object
}

/// Commits these objects into a folder, besides what is there; answers with the commit.
pub(crate) fn push(world: &World, folder: &str, objects: &[Value]) -> Result<String> {
    for object in objects {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        let file = format!(
            "{folder}/{}-{}.json",
            text(&object["kind"]),
            text(&object["metadata"]["name"])
        );
        world.repository.write(&file, &format!("{object:#}\n"))?;
    }
    world.repository.push("change objects")
}

/// An Application in this environment.
pub(crate) fn in_environment(environment: &str, mut application: Value) -> Value {
    application["metadata"]["labels"]["lockstep.dev/environment"] = json!(environment);
    application
}

/// Waits until the daemon has read everything that it reads at its start.
pub(crate) async fn ready(world: &World) -> Result<()> {
    world
        .rest_until("/readyz", "being ready", |status, text| {
            status.is_success() && text == "ready\n"
        })
        .await?;
    Ok(())
}

/// The names of the ConfigMaps in the target namespace that begin like this.
pub(crate) async fn config_maps(world: &World, prefix: &str) -> Result<BTreeSet<String>> {
    let all = world
        .kube
        .list(&path("ConfigMap", &world.target, ""))
        .await?;
    let names = all
        .iter()
        .filter_map(|object| object["metadata"]["name"].as_str());
    Ok(names
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect())
}
