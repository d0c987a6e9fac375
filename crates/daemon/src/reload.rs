//! The configuration file, read again when it changes; a bad one leaves the last good one in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::{Blame, Fault};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::News;
use crate::run::read_config;
use crate::tasks::Cause;

/// Editors and Kubernetes change a file in several steps; what counts is what stands there when they are done.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches folders and says when something in them may have changed: the folder rather than the file, because
/// Kubernetes swaps a symlink beside a mounted file and never touches the file itself.
pub(crate) struct Folders {
    _watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl Folders {
    pub(crate) fn watch(folders: &[PathBuf]) -> Result<Self, notify::Error> {
        // One waiting "look again" says as much as a hundred.
        let (send, changes) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|event| !event.kind.is_access()) {
                    let _full = send.try_send(());
                }
            })?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::Recursive)?;
        }
        Ok(Self {
            _watcher: watcher,
            changes,
        })
    }

    /// Waits for a change, and until nothing has changed for a moment. False: told to stop.
    pub(crate) async fn changed(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            change = self.changes.recv() => if change.is_none() {
                stop.cancelled().await;
                return false;
            },
        }
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
        true
    }
}

/// Follows the configuration file.
pub(crate) async fn follow(
    file: PathBuf,
    in_force: Option<Vec<u8>>,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
) -> Result<(), Cause> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let mut folders = Folders::watch(&[folder])?;
    // Looked at once before the first wait: the file may have changed between the start and the watch.
    let mut last = in_force;
    let mut watched_before = false;
    loop {
        if watched_before && !folders.changed(&stop).await {
            return Ok(());
        }
        watched_before = true;
        let now = std::fs::read(&file).ok();
        if now == last {
            continue;
        }
        last = now;
        let read = read_config(&file).map(Arc::new).map_err(|problems| {
            let more = match problems.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            let first = problems.into_iter().next().unwrap_or_default();
            Fault::new(Blame::User, "config.invalid", format!("{first}{more}")).hint(
                "lockstep validate shows every mistake; the last good configuration stays in force",
            )
        });
        if news.send(News::Config(read)).await.is_err() {
            return Ok(());
        }
    }
}
