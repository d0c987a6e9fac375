//! Bare repositories on disk, one for each remote and login: packs come in, objects go out.
//!
//! Layout of the cache directory, which belongs to one process at a time (a lock on a file descriptor, which dies with
//! the process; lock files are never looked at):
//!
//! ```text
//! lock                       held while we run
//! incoming/                  quarantine, emptied at start
//! 3f9c…-000002.git/          digest of remote and Secret, and which clone of it this is
//!   HEAD config refs/        so that `git --git-dir` can read it
//!   shallow                  the commits that are here as a whole; one line each, oldest first
//!   objects/pack/
//! ```
//!
//! Every fetch adds a pack and nothing tidies, so past a bound a fresh clone is made beside the old one and takes its
//! place; the old one goes when its last reader does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gix::ObjectId;
use gix::hash::Kind;

use crate::error::SetupError;
use crate::pack::PackReader;
use crate::store::{Limits, Store, StoreError};

/// The cache directory.
pub(crate) struct Cache {
    directory: PathBuf,
    limits: Limits,
    next: AtomicU64,
    /// Never read: dropping it releases the directory.
    _guard: File,
}

impl Cache {
    /// Takes the directory, and removes what a killed process may have left in it.
    pub(crate) fn open(directory: &Path, limits: Limits) -> Result<Self, SetupError> {
        let failed = |cause| SetupError::Directory {
            path: directory.to_owned(),
            cause,
        };
        make(directory).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        let guard = File::create(directory.join("lock")).map_err(failed)?;
        match guard.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(SetupError::InUse { path: directory }),
            Err(fs::TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        tidy(&directory).map_err(failed)?;
        Ok(Self {
            directory,
            limits,
            next: AtomicU64::new(0),
            _guard: guard,
        })
    }

    /// The repository of `digest`, when one is here.
    pub(crate) fn repository(&self, digest: &str) -> Result<Option<Store>, StoreError> {
        match newest(&self.directory, digest)? {
            // One that lacks its own files is as good as none: the next clone goes beside it.
            Some((_, path)) if !path.join("config").exists() => Ok(None),
            Some((generation, path)) => Store::open(path, generation, self.limits).map(Some),
            None => Ok(None),
        }
    }

    /// Takes a pack with a commit into `store`.
    pub(crate) fn take_in(
        &self,
        store: &Store,
        commits: &[ObjectId],
        pack: &mut PackReader,
        stop: &AtomicBool,
    ) -> Result<(), StoreError> {
        let quarantine = self.quarantine()?;
        store.take_in(&quarantine.0, commits, pack, stop)
    }

    /// Makes a repository of a pack with a commit, and puts it into the place of what `digest` had.
    pub(crate) fn clone_from(
        &self,
        digest: &str,
        hash: Kind,
        commits: &[ObjectId],
        pack: &mut PackReader,
        stop: &AtomicBool,
    ) -> Result<Store, StoreError> {
        let generation =
            newest(&self.directory, digest)?.map_or(1, |(generation, _)| generation + 1);
        let quarantine = self.quarantine()?;
        let path = quarantine.0.join("repository");
        skeleton(&path, hash)?;
        Store::open(path.clone(), generation, self.limits)?.take_in(
            &quarantine.0,
            commits,
            pack,
            stop,
        )?;
        let place = self.directory.join(format!("{digest}-{generation:06}.git"));
        fs::rename(&path, &place)?;
        Store::open(place, generation, self.limits)
    }

    fn quarantine(&self) -> Result<Quarantine, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join("incoming").join(number.to_string());
        make(&path)?;
        Ok(Quarantine(path))
    }
}

/// A directory that goes away with this value.
struct Quarantine(PathBuf);

impl Drop for Quarantine {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Makes a directory that only we can read: private repositories end up in it.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Removes a directory; one that stays costs room until the next start and is otherwise harmless.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "a directory of the git cache could not be removed");
    }
}

/// `3f9c…-000002.git` as digest and number.
fn parse_name(name: &str) -> Option<(&str, u64)> {
    let (digest, generation) = name.strip_suffix(".git")?.split_once('-')?;
    Some((digest, generation.parse().ok()?))
}

/// The newest clone of a digest.
fn newest(directory: &Path, digest: &str) -> io::Result<Option<(u64, PathBuf)>> {
    let mut newest = None;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some((is, generation)) = entry.file_name().to_str().and_then(parse_name)
            && is == digest
            && newest.as_ref().is_none_or(|(newer, _)| *newer < generation)
        {
            newest = Some((generation, entry.path()));
        }
    }
    Ok(newest)
}

/// Empties the quarantine, removes clones that were replaced, and every lock and half-moved pack.
fn tidy(directory: &Path) -> io::Result<()> {
    let incoming = directory.join("incoming");
    remove(&incoming);
    make(&incoming)?;
    let mut keep: BTreeMap<String, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some((digest, generation)) = entry.file_name().to_str().and_then(parse_name) {
            let newest = keep.entry(digest.to_owned()).or_insert(generation);
            *newest = generation.max(*newest);
            found.push((digest.to_owned(), generation, entry.path()));
        }
    }
    for (digest, generation, path) in found {
        if keep.get(&digest) != Some(&generation) {
            remove(&path);
            continue;
        }
        for folder in [path.clone(), path.join("objects/pack")] {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let file = entry?.path();
                let ending = file.extension().and_then(|ending| ending.to_str());
                let stray = match ending {
                    Some("lock" | "new" | "keep") => true,
                    Some("pack") => !file.with_extension("idx").exists(),
                    Some("idx") => !file.with_extension("pack").exists(),
                    _ => false,
                };
                if stray {
                    fs::remove_file(&file)?;
                }
            }
        }
    }
    Ok(())
}

/// The least that makes a folder a bare repository.
fn skeleton(path: &Path, hash: Kind) -> io::Result<()> {
    make(&path.join("objects/pack"))?;
    make(&path.join("refs"))?;
    fs::write(path.join("HEAD"), "ref: refs/heads/main\n")?;
    let config = match hash {
        Kind::Sha256 => SHA256_CONFIG,
        _ => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    };
    fs::write(path.join("config"), config)
}

pub(crate) const SHA256_CONFIG: &str =
    "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n";
