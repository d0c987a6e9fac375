//! Directories of Application files, applied to the cluster at start and when they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_cluster::lease::Lease;
use lockstep_cluster::{Apps, Cluster};
use lockstep_manifest::{Digest, Manifest, yaml};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::reload::Folders;
use crate::tasks::Cause;

/// The largest Application file that is read: a thousand Applications.
const LARGEST: u64 = 4 << 20;
/// How deep folders are followed.
const DEPTH: usize = 8;
/// How long to wait before what could not be applied is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// Follows the directories as long as we hold the lease. Files that go away delete nothing.
pub(crate) async fn follow(
    directories: Vec<PathBuf>,
    apps: Apps,
    lease: Arc<Lease>,
    stop: CancellationToken,
) -> Result<(), Cause> {
    let there: Vec<PathBuf> = directories.into_iter().filter(|directory| {
        let found = directory.is_dir();
        if !found {
            tracing::warn!(directory = %directory.display(), "no such directory of Application files");
        }
        found
    }).collect();
    let mut holds = lease.holds();
    if there.is_empty() {
        stop.cancelled().await;
        return Ok(());
    }
    let mut folders = Folders::watch(&there)?;
    let mut applied = BTreeMap::new();
    loop {
        while holds.borrow_and_update().is_none() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = holds.changed() => if changed.is_err() { return Ok(()) },
            }
        }
        let all_well = apply_all(&there, &apps, &mut applied).await;
        if all_well {
            if !folders.changed(&stop).await {
                return Ok(());
            }
        } else {
            let again = tokio::time::timeout(AGAIN, folders.changed(&stop)).await;
            if again == Ok(false) {
                return Ok(());
            }
        }
    }
}

/// Applies what is new or changed. False: something could not be, and is worth another try.
async fn apply_all(
    directories: &[PathBuf],
    apps: &Apps,
    applied: &mut BTreeMap<String, Digest>,
) -> bool {
    let mut files = Vec::new();
    for directory in directories {
        gather(directory, DEPTH, &mut files);
    }
    files.sort();
    let mut all_well = true;
    for file in files {
        let name = file.display().to_string();
        let manifests = match std::fs::read(&file).map(|text| yaml::read_yaml(&text)) {
            Ok(Ok(manifests)) => manifests,
            Ok(Err(error)) => {
                tracing::error!(file = name, %error, "an Application file cannot be read");
                continue;
            }
            Err(error) => {
                tracing::error!(file = name, %error, "an Application file cannot be read");
                continue;
            }
        };
        for mut manifest in manifests {
            let gvk = manifest.gvk();
            if gvk.group != "argoproj.io" || (gvk.kind != "Application" && gvk.kind != "AppProject")
            {
                tracing::warn!(file = name, kind = %gvk, "passed over: neither Application nor AppProject");
                continue;
            }
            manifest.set_namespace(Some(apps.namespace()));
            let key = manifest.id().to_string();
            let digest = manifest.digest();
            if applied.get(&key) == Some(&digest) {
                continue;
            }
            if stands_already(apps.cluster(), &manifest).await {
                applied.insert(key, digest);
                continue;
            }
            match apps.apply_application(manifest).await {
                Ok(_) => {
                    tracing::info!(file = name, object = key, "applied");
                    applied.insert(key, digest);
                }
                Err(error) => {
                    tracing::error!(file = name, object = key, %error, "an Application file could not be applied");
                    all_well = false;
                }
            }
        }
    }
    all_well
}

/// Does the cluster say all of this already? A restart then writes nothing.
async fn stands_already(cluster: &Cluster, manifest: &Manifest) -> bool {
    match cluster.get(&manifest.gvk(), &manifest.id()).await {
        Ok(Some(live)) => {
            let wanted = Value::Object(manifest.body().clone());
            holds(&Value::Object(live.body().clone()), &wanted, 64)
        }
        Ok(None) | Err(_) => false,
    }
}

/// Is everything in `wanted` in `live`? Lists count as wholes.
fn holds(live: &Value, wanted: &Value, depth: usize) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) if depth > 0 => {
            wanted.iter().all(|(key, wanted)| {
                live.get(key)
                    .is_some_and(|live| holds(live, wanted, depth - 1))
            })
        }
        _ => live == wanted,
    }
}

fn gather(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // `..data` and its like are how Kubernetes mounts a ConfigMap; the files beside them point in there.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            gather(&path, depth, files);
        } else if metadata.len() <= LARGEST
            && path
                .extension()
                .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            files.push(path);
        }
    }
}
