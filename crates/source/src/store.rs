//! One bare repository on disk: packs come in, objects go out.
//!
//! Its file `shallow` lists the commits that are here as a whole, oldest first, one a line. A pack is written and
//! indexed in quarantine, moved into place, and checked to hold everything that its commits need; only then are they
//! listed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gix::ObjectId;
use gix::hash::Kind;
use gix::objs::{CommitRef, Exists as _, Find as _, TreeRef, tree::EntryKind};
use gix::odb::{self, HandleArc};
use lockstep_tree::{Entry, ObjectHash};

use crate::cache::{SHA256_CONFIG, remove};
use crate::pack::{PackReader, Reading};

/// Past this many packs every lookup asks too many indices, and a clone of one commit is cheaper than keeping them.
const MOST_PACKS: usize = 50;

/// The slots for packs that gix reserves when it opens a repository; more than `MOST_PACKS` and what may come at once.
const PACK_SLOTS: u16 = 128;

/// A clone that grew to this many times its largest pack is worth replacing.
const GROWTH: u64 = 3;

/// Below this size growth is nobody's concern.
const SMALL_BYTES: u64 = 16 << 20;

/// How many commits are named to the server as a base for what it sends. The newest few hold nearly everything.
const HAVES: usize = 8;

/// How many commits are remembered as complete; older ones would be fetched again.
const MOST_COMMITS: usize = 4096;

/// Decoded bases kept by each of our handles: a few hundred manifests.
const PACK_CACHE_BYTES: usize = 2 << 20;

/// Handles kept for the next reader. Renders run on as many threads as there are cores, and few at once.
const HANDLES: usize = 4;

/// The largest folder object that is read: some 600,000 entries.
pub(crate) const LARGEST_FOLDER_BYTES: u64 = 32 << 20;

/// Why something could not be stored or read.
#[derive(Debug)]
pub(crate) enum StoreError {
    Full,
    Disk(io::Error),
    Corrupt(&'static str),
    NotACommit(ObjectId),
    TooLarge(&'static str, String),
    LargeObject { size: u64, limit: u64 },
    Stopped,
    BrokeOff,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

/// Limits that hold for every repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) repository_bytes: u64,
    pub(crate) object_bytes: usize,
    pub(crate) files: usize,
}

/// How much a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    packs: usize,
    bytes: u64,
    largest: u64,
}

/// One bare repository.
pub(crate) struct Store {
    path: PathBuf,
    generation: u64,
    pub(crate) hash: Kind,
    limits: Limits,
    objects: Arc<odb::Store>,
    handles: Mutex<Vec<HandleArc>>,
    /// What `shallow` says.
    complete: Mutex<Vec<ObjectId>>,
    /// Held while `shallow` is written.
    listing: Mutex<()>,
    suspect: AtomicBool,
    replaced: AtomicBool,
    pub(crate) folders: Folders,
}

/// Folders that were read lately, decoded: 300 apps of one repository ask for the same few with every push.
#[derive(Default)]
pub(crate) struct Folders {
    known: Mutex<(usize, HashMap<ObjectHash, Vec<Entry>>)>,
}

/// How many entries are kept; some 100 bytes each. Past that all are forgotten, since reading them again is cheap.
const ENTRIES_KEPT: usize = 20_000;

impl Folders {
    pub(crate) fn get(&self, hash: &ObjectHash) -> Option<Vec<Entry>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.1.get(hash).cloned()
    }

    pub(crate) fn put(&self, hash: ObjectHash, entries: &[Entry]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 + entries.len() > ENTRIES_KEPT {
            *known = (0, HashMap::new());
        }
        if entries.len() <= ENTRIES_KEPT && known.1.insert(hash, entries.to_vec()).is_none() {
            known.0 += entries.len();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire) {
            remove(&self.path);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(crate) fn open(path: PathBuf, generation: u64, limits: Limits) -> Result<Self, StoreError> {
        let hash = if fs::read_to_string(path.join("config"))? == SHA256_CONFIG {
            Kind::Sha256
        } else {
            Kind::Sha1
        };
        let options = odb::store::init::Options {
            slots: odb::store::init::Slots::Given(PACK_SLOTS),
            use_multi_pack_index: false,
            alloc_limit_bytes: Some(limits.object_bytes),
            current_dir: Some(path.clone()),
            ..Default::default()
        };
        let objects =
            odb::Store::at_opts(path.join("objects"), hash, &mut std::iter::empty(), options)?;
        let store = Self {
            hash,
            generation,
            limits,
            objects: Arc::new(objects),
            handles: Mutex::default(),
            complete: Mutex::default(),
            listing: Mutex::default(),
            folders: Folders::default(),
            suspect: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            path,
        };
        // What a power cut took away is not believed: packs are not flushed one by one, because all of this is a copy.
        let listed = match fs::read_to_string(store.path.join("shallow")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let complete = store.with(|handle| {
            listed
                .lines()
                .filter_map(|line| ObjectId::from_hex(line.as_bytes()).ok())
                .filter(|id| id.kind() == hash && handle.exists(id))
                .collect()
        });
        *held(&store.complete) = complete;
        Ok(store)
    }

    /// Is this commit here as a whole?
    pub(crate) fn has(&self, commit: &ObjectId) -> bool {
        !self.suspect.load(Ordering::Acquire) && held(&self.complete).contains(commit)
    }

    /// All commits that are here, oldest first.
    pub(crate) fn commits(&self) -> Vec<ObjectId> {
        held(&self.complete).clone()
    }

    /// What a pack for this repository may build on, newest first.
    pub(crate) fn haves(&self) -> Vec<ObjectId> {
        held(&self.complete)
            .iter()
            .rev()
            .take(HAVES)
            .copied()
            .collect()
    }

    /// Is it time for a fresh clone?
    pub(crate) fn is_worn(&self) -> Result<bool, StoreError> {
        let weight = self.weight()?;
        Ok(self.suspect.load(Ordering::Acquire)
            || weight.packs >= MOST_PACKS
            || weight.bytes > GROWTH * weight.largest.max(SMALL_BYTES)
            || (weight.packs > 1 && weight.bytes > self.limits.repository_bytes))
    }

    fn weight(&self) -> Result<Weight, StoreError> {
        let mut weight = Weight::default();
        for entry in fs::read_dir(self.path.join("objects/pack"))? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "pack")
            {
                let bytes = entry.metadata()?.len();
                weight.packs += 1;
                weight.bytes += bytes;
                weight.largest = weight.largest.max(bytes);
            }
        }
        Ok(weight)
    }

    /// Something that has to be here is not, or is broken: the next fetch begins afresh.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    /// Another clone has taken its place: the files go when the last reader does.
    pub(crate) fn replaced_by(&self, other: &Self) {
        if other.generation > self.generation {
            self.replaced.store(true, Ordering::Release);
        }
    }

    /// Runs `read` with a handle of its own, kept afterwards for the next reader with what it has cached.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&HandleArc) -> T) -> T {
        let kept = held(&self.handles).pop();
        let handle = kept.unwrap_or_else(|| {
            HandleArc::from(self.objects.to_handle_arc()).with_pack_cache(|| {
                Box::new(odb::pack::cache::lru::MemoryCappedHashmap::new(
                    PACK_CACHE_BYTES,
                ))
            })
        });
        let result = read(&handle);
        let mut handles = held(&self.handles);
        if handles.len() < HANDLES {
            handles.push(handle);
        }
        result
    }

    /// Reads an object of a kind and at most so many bytes. What is missing or broken makes the repository suspect.
    pub(crate) fn object(
        &self,
        id: &ObjectId,
        kind: gix::objs::Kind,
        limit: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let result = self.with(|handle| read(handle, id, kind, limit));
        if matches!(result, Err(StoreError::Corrupt(_))) {
            self.suspect();
        }
        result
    }

    pub(crate) fn take_in(
        &self,
        quarantine: &Path,
        commits: &[ObjectId],
        pack: &mut PackReader,
        stop: &AtomicBool,
    ) -> Result<(), StoreError> {
        let result = self
            .add(quarantine, pack, stop)
            .and_then(|()| {
                commits
                    .iter()
                    .try_for_each(|commit| self.check(*commit, stop))
            })
            .and_then(|()| self.list(commits));
        // The pack may be broken because what it builds on is.
        if matches!(result, Err(StoreError::Corrupt(_))) {
            self.suspect();
        }
        result
    }

    fn add(
        &self,
        quarantine: &Path,
        pack: &mut PackReader,
        stop: &AtomicBool,
    ) -> Result<(), StoreError> {
        let options = odb::pack::bundle::write::Options {
            // Two cores and small packs: a second thread is already more than most need.
            thread_limit: Some(2),
            alloc_limit_bytes: Some(self.limits.object_bytes),
            ..Default::default()
        };
        let bases = (!held(&self.complete).is_empty())
            .then(|| HandleArc::from(self.objects.to_handle_arc()));
        let written = odb::pack::Bundle::write_to_directory(
            pack,
            Some(quarantine),
            &mut gix::progress::Discard,
            stop,
            bases,
            self.hash,
            options,
        )
        .map_err(|error| self.unwritten(&error, pack, stop))?;
        let (Some(data), Some(index)) = (written.data_path, written.index_path) else {
            return Err(StoreError::Corrupt("the pack was not written"));
        };
        // The index goes last: a pack without one is not seen.
        for file in [data, index] {
            let name = file
                .file_name()
                .ok_or(StoreError::Corrupt("the pack has no name"))?;
            fs::rename(&file, self.path.join("objects/pack").join(name))?;
        }
        Ok(())
    }

    fn unwritten(&self, error: &gix::Error, pack: &PackReader, stop: &AtomicBool) -> StoreError {
        let disk = error
            .iter_errors()
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .find(|error| error.raw_os_error().is_some());
        match pack.reading() {
            Reading::BrokeOff => StoreError::BrokeOff,
            _ if stop.load(Ordering::Relaxed) => StoreError::Stopped,
            _ if error.is_resource_exhausted() => {
                StoreError::TooLarge("an object", format!("{} bytes", self.limits.object_bytes))
            }
            Reading::Under | Reading::Ended => match disk {
                Some(error) => io::Error::from(error.kind()).into(),
                None => StoreError::Corrupt("the pack that it sent is broken"),
            },
        }
    }

    /// Looks whether everything that a commit needs is here.
    ///
    /// Folders that are the same in the newest complete commit are not looked into, so that the work follows what
    /// changed and not the size of the repository. No folder is entered twice: ten folders of ten equal entries each
    /// are cheap to send and 10^10 to walk.
    fn check(&self, commit: ObjectId, stop: &AtomicBool) -> Result<(), StoreError> {
        let before = held(&self.complete).last().copied();
        self.with(|handle| {
            let root = root_of(handle, &commit, self.hash)?;
            let before = before.and_then(|before| root_of(handle, &before, self.hash).ok());
            let mut folders = vec![(root, before)];
            let mut seen = HashSet::from([root]);
            let mut entries = 0;
            while let Some((folder, before)) = folders.pop() {
                if Some(folder) == before {
                    continue;
                }
                if stop.load(Ordering::Relaxed) {
                    return Err(StoreError::Stopped);
                }
                let data = read(handle, &folder, gix::objs::Kind::Tree, LARGEST_FOLDER_BYTES)?;
                let known = match before {
                    Some(before) => {
                        read(handle, &before, gix::objs::Kind::Tree, LARGEST_FOLDER_BYTES)?
                    }
                    None => Vec::new(),
                };
                let known: BTreeMap<&[u8], ObjectId> = entries_of(&known, self.hash)?
                    .map(|entry| (entry.filename.as_ref(), entry.oid.to_owned()))
                    .collect();
                for entry in entries_of(&data, self.hash)? {
                    entries += 1;
                    if entries > self.limits.files {
                        return Err(StoreError::TooLarge(
                            "the tree",
                            format!("{} files", self.limits.files),
                        ));
                    }
                    let id = entry.oid.to_owned();
                    let before = known.get::<[u8]>(entry.filename.as_ref()).copied();
                    if before == Some(id) {
                        continue;
                    }
                    match entry.mode.kind() {
                        EntryKind::Commit => {}
                        EntryKind::Tree => {
                            if seen.insert(id) {
                                // A file may have become a folder: then there is nothing to compare with.
                                let before = before.filter(|before| is_folder(handle, before));
                                folders.push((id, before));
                            }
                        }
                        EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {
                            if !handle.exists(&id) {
                                return Err(StoreError::Corrupt(
                                    "the pack that it sent lacks a file of the commit",
                                ));
                            }
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Lists commits as complete.
    fn list(&self, commits: &[ObjectId]) -> Result<(), StoreError> {
        // A fetch whose callers went away may still be ending beside the next one.
        let _one = held(&self.listing);
        let mut complete = held(&self.complete).clone();
        complete.retain(|id| !commits.contains(id));
        complete.extend_from_slice(commits);
        let surplus = complete.len().saturating_sub(MOST_COMMITS);
        complete.drain(..surplus);
        let next = self.path.join("shallow.new");
        let mut text = String::new();
        for id in &complete {
            text.push_str(&id.to_string());
            text.push('\n');
        }
        fs::write(&next, text)?;
        fs::rename(&next, self.path.join("shallow"))?;
        *held(&self.complete) = complete;
        Ok(())
    }
}

fn read(
    handle: &HandleArc,
    id: &ObjectId,
    kind: gix::objs::Kind,
    limit: u64,
) -> Result<Vec<u8>, StoreError> {
    let missing = StoreError::Corrupt("an object that has to be in the cache is not, or is broken");
    let Ok(Some(header)) = odb::Header::try_header(handle, id) else {
        return Err(missing);
    };
    if header.kind() != kind {
        return Err(if kind == gix::objs::Kind::Commit {
            StoreError::NotACommit(*id)
        } else {
            StoreError::Corrupt("an object is not of the kind that its folder says")
        });
    }
    if header.size() > limit {
        return Err(StoreError::LargeObject {
            size: header.size(),
            limit,
        });
    }
    let mut data = Vec::new();
    match handle.try_find(id, &mut data) {
        Ok(Some(_)) => Ok(data),
        Ok(None) | Err(_) => Err(missing),
    }
}

fn is_folder(handle: &HandleArc, id: &ObjectId) -> bool {
    odb::Header::try_header(handle, id)
        .is_ok_and(|header| header.is_some_and(|header| header.kind().is_tree()))
}

/// The largest commit object that is read. Its message is nobody's novel.
pub(crate) const LARGEST_COMMIT_BYTES: u64 = 1 << 20;

fn root_of(handle: &HandleArc, commit: &ObjectId, hash: Kind) -> Result<ObjectId, StoreError> {
    let data = read(
        handle,
        commit,
        gix::objs::Kind::Commit,
        LARGEST_COMMIT_BYTES,
    )?;
    let commit = CommitRef::from_bytes(&data, hash)
        .map_err(|_| StoreError::Corrupt("its commit cannot be read"))?;
    Ok(commit.tree())
}

fn entries_of(
    data: &[u8],
    hash: Kind,
) -> Result<impl Iterator<Item = gix::objs::tree::EntryRef<'_>>, StoreError> {
    let tree = TreeRef::from_bytes(data, hash)
        .map_err(|_| StoreError::Corrupt("one of its folders cannot be read"))?;
    Ok(tree.entries.into_iter())
}
