//! What is measured on: many apps of four objects, in one repository, and their namespaces.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::say;
use super::watch::Watch;
use crate::World;

/// Objects of one app.
pub const OBJECTS: usize = 4;
/// Namespaces that the apps share: as many apps in each as a team has.
pub const NAMESPACES: usize = 10;
/// The sets of the bare client: one before the daemon's turn, one after, so that a server that tires is noticed.
pub const BARE: [&str; 2] = ["bare-a", "bare-b"];
/// The set of the apps.
pub const SET: &str = "fleet";

/// How long a phase may take.
pub const PATIENCE: Duration = Duration::from_mins(15);

/// The apps.
pub struct Fleet {
    /// How many.
    pub apps: usize,
    /// The commit that they are at, or should come to.
    pub revision: String,
}

impl Fleet {
    /// Commits the first state of all apps, and makes the namespaces.
    pub async fn prepare(world: &World, apps: usize) -> Result<Self> {
        for set in BARE.iter().chain([&SET]) {
            for number in 0..NAMESPACES {
                world.kube.namespace(&format!("{set}-{number}")).await?;
            }
        }
        let mut fleet = Self {
            apps,
            revision: String::new(),
        };
        fleet.commit(world, 1)?;
        Ok(fleet)
    }

    /// Commits this step of every object.
    pub fn commit(&mut self, world: &World, step: u32) -> Result<()> {
        for app in 0..self.apps {
            for object in objects(app, step, SET) {
                let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
                world.repository.write(
                    &format!("apps/{app:03}/{kind}.yaml"),
                    &format!("{object:#}\n"),
                )?;
            }
        }
        self.revision = world.repository.push(&format!("step {step}"))?;
        Ok(())
    }

    /// The Application of an app: automated, prune, selfHeal.
    pub fn application(world: &World, app: usize) -> Value {
        let mut application = world.application(&name(app), &format!("apps/{app:03}"));
        application["spec"]["destination"]["namespace"] = json!(namespace(SET, app));
        application
    }

    /// Waits until all Applications say Synced at the revision, and answers with when the last one did.
    pub async fn synced(&self, world: &World, watch: &mut Watch) -> Result<std::time::Instant> {
        let mut synced: BTreeMap<String, bool> = BTreeMap::new();
        let mut shown = 0;
        let found = watch
            .until("all apps being Synced", PATIENCE, |seen| {
                let there = seen.text("/status/sync/status") == "Synced"
                    && seen.text("/status/sync/revision") == self.revision;
                synced.insert(seen.text("/metadata/name").to_owned(), there);
                let count = synced.values().filter(|there| **there).count();
                if count / 100 > shown {
                    shown = count / 100;
                    say(&format!("  {count} of {} apps are Synced", self.apps));
                }
                count == self.apps
            })
            .await;
        match found {
            Ok(seen) => Ok(seen.at),
            Err(error) => {
                let late: Vec<&String> = synced
                    .iter()
                    .filter(|(_, there)| !**there)
                    .map(|(name, _)| name)
                    .take(10)
                    .collect();
                let log = world
                    .daemon
                    .as_ref()
                    .map(crate::daemon::Daemon::log)
                    .unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                Err(error.context(format!(
                    "of {} apps seen these are late: {late:?}; the daemon's log ends with:\n{}",
                    synced.len(),
                    lines[lines.len().saturating_sub(20)..].join("\n")
                )))
            }
        }
    }
}

/// The name of an app and of each of its objects.
pub fn name(app: usize) -> String {
    format!("web-{app:03}")
}

/// The namespace of an app of a set.
pub fn namespace(set: &str, app: usize) -> String {
    format!("{set}-{}", app % NAMESPACES)
}

/// The image of a step.
pub fn image(step: u32) -> String {
    format!("shop.example/web:{step}")
}

/// The four objects of an app, as they lie in git.
pub fn objects(app: usize, step: u32, set: &str) -> [Value; OBJECTS] {
    let name = name(app);
    let metadata = json!({
        "name": name,
        "labels": {"app.kubernetes.io/name": name, "bench.example/set": set, "bench.example/step": step.to_string()},
    });
    let selected = json!({"app.kubernetes.io/name": name});
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 0,
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": selected}, "spec": {
                "serviceAccountName": name,
                "containers": [{
                    "name": "web", "image": image(step),
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }],
            }},
        }}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": selected,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {
            "rules": [{"host": format!("{name}.example"), "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": name, "port": {"name": "http"}}},
            }]}}],
        }}),
    ]
}

/// The same objects as the bare client sends them: in the set's namespace, with the marks that the daemon adds too, so
/// that both write as many bytes.
pub fn marked(app: usize, step: u32, set: &str) -> [Value; OBJECTS] {
    objects(app, step, set).map(|mut object| {
        let namespace = namespace(set, app);
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let tracking = format!(
            "{0}:{group}/{1}:{namespace}/{0}",
            name(app),
            object["kind"].as_str().unwrap_or_default()
        );
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = json!(tracking);
        object["metadata"]["labels"]["applyset.kubernetes.io/part-of"] =
            json!("applyset-0fYWlt2cFqkXkAgUDVZ6m4Pv9YpYQ8YvQm2cGk0_dLQ-v1");
        object
    })
}

/// Waits until the controllers have nothing more to do with the Deployments of a set, so that their work for one phase
/// does not fall into the next.
pub async fn settled(world: &World, set: &str, apps: usize) -> Result<()> {
    let mut watch = Watch::open(
        &world.plane.address,
        &["Deployment"],
        "",
        &format!("bench.example/set={set}"),
    )
    .await?;
    let mut done = BTreeMap::new();
    watch
        .until("the controllers", PATIENCE, |seen| {
            let generation = &seen.object["metadata"]["generation"];
            let observed = &seen.object["status"]["observedGeneration"];
            let path = format!(
                "{}/{}",
                seen.text("/metadata/namespace"),
                seen.text("/metadata/name")
            );
            done.insert(path, generation == observed);
            done.len() == apps && done.values().all(|done| *done)
        })
        .await?;
    watch.silence(Duration::from_secs(1)).await
}
