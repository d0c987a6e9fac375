//! Sources against a real `git http-backend`, on its good days and on its bad ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cache;
mod hosts;
mod server;
mod targets;

use std::path::Path;
use std::time::Duration;

use lockstep_app::app::Revision;
use lockstep_source::{FetchError, Options, Snapshot, Sources};
use lockstep_tree::{EntryKind, RelPath};
use server::Host;

fn options(cache: &Path) -> Options {
    Options {
        timeout: Duration::from_secs(20),
        fetch_timeout: Duration::from_secs(20),
        ..Options::new(cache)
    }
}

struct Shop {
    host: Host,
    cache: tempfile::TempDir,
    sources: Sources,
}

impl Shop {
    fn new() -> Self {
        Self::on(Host::new())
    }

    fn on(host: Host) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let sources = Sources::new(options(cache.path())).unwrap();
        Self {
            host,
            cache,
            sources,
        }
    }

    /// The same cache, as after a restart.
    fn restart(self) -> Self {
        let Self {
            host,
            cache,
            sources,
        } = self;
        drop(sources);
        let sources = Sources::new(options(cache.path())).unwrap();
        Self {
            host,
            cache,
            sources,
        }
    }

    async fn latest(&self, target: &str) -> Result<Snapshot, FetchError> {
        self.sources.latest(&self.host.remote(), None, target).await
    }

    fn repositories(&self) -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> = std::fs::read_dir(self.cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "git"))
            .collect();
        found.sort();
        found
    }

    fn packs(&self) -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> =
            std::fs::read_dir(self.repositories().last().unwrap().join("objects/pack"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "pack"))
                .collect();
        found.sort();
        found
    }

    fn quarantined(&self) -> usize {
        std::fs::read_dir(self.cache.path().join("incoming"))
            .unwrap()
            .count()
    }
}

fn revision(id: &str) -> Revision {
    id.parse().unwrap()
}

/// The contents of a file.
fn file(snapshot: &Snapshot, path: &str) -> Option<Vec<u8>> {
    let path = RelPath::root().join(path).unwrap();
    snapshot
        .tree
        .read(&path)
        .unwrap()
        .map(|bytes| bytes.to_vec())
}

/// The names in the root, with what each is.
fn kinds(snapshot: &Snapshot) -> Vec<(String, EntryKind)> {
    let entries = snapshot.tree.list(&RelPath::root()).unwrap().unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect()
}

/// Some 50 kB that compress badly.
fn long_text() -> String {
    let lines: Vec<String> = (0..4000)
        .map(|number| format!("{number}: {}", number * 7919))
        .collect();
    lines.join("\n")
}
