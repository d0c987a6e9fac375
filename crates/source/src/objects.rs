//! A repository's objects, as the tree crate reads them.

use std::sync::Arc;

use bytes::Bytes;
use gix::ObjectId;
use gix::objs::TreeRef;
use gix::objs::tree::EntryKind as Mode;
use lockstep_tree::{BlobError, Blobs, Entry, EntryKind, ObjectHash};

use crate::store::{LARGEST_FOLDER_BYTES, Store, StoreError};

/// A repository, read lazily. It keeps the repository's files on disk while it lives.
pub(crate) struct Objects {
    store: Arc<Store>,
}

impl Objects {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    fn read(
        &self,
        hash: &ObjectHash,
        kind: gix::objs::Kind,
        limit: u64,
    ) -> Result<Vec<u8>, BlobError> {
        let id = ObjectId::try_from(hash.as_slice()).map_err(|_| BlobError::Missing(*hash))?;
        self.store
            .object(&id, kind, limit)
            .map_err(|error| match error {
                StoreError::LargeObject { size, limit } => BlobError::TooLarge {
                    size,
                    limit: usize::try_from(limit).unwrap_or(usize::MAX),
                },
                StoreError::Disk(cause) => BlobError::Unreadable(cause.into()),
                StoreError::Corrupt(what) => BlobError::Unreadable(what.into()),
                // Those come from fetching only.
                StoreError::Full
                | StoreError::NotACommit(_)
                | StoreError::TooLarge(..)
                | StoreError::Stopped
                | StoreError::BrokeOff => BlobError::Missing(*hash),
            })
    }
}

impl Blobs for Objects {
    fn blob(&self, hash: &ObjectHash, limit: usize) -> Result<Bytes, BlobError> {
        self.read(hash, gix::objs::Kind::Blob, limit as u64)
            .map(Bytes::from)
    }

    /// Leaves out names that are not UTF-8: no manifest can name them. A name that could lead elsewhere makes the
    /// whole folder unreadable; git does not write such, so somebody else did, for a reason.
    fn folder(&self, hash: &ObjectHash) -> Result<Vec<Entry>, BlobError> {
        if let Some(known) = self.store.folders.get(hash) {
            return Ok(known);
        }
        let data = self.read(hash, gix::objs::Kind::Tree, LARGEST_FOLDER_BYTES)?;
        let tree = TreeRef::from_bytes(&data, self.store.hash)
            .map_err(|_| BlobError::Unreadable("the folder cannot be decoded".into()))?;
        let mut entries = Vec::with_capacity(tree.entries.len());
        for entry in tree.entries {
            let Ok(name) = std::str::from_utf8(entry.filename) else {
                continue;
            };
            if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
                return Err(BlobError::Unreadable(
                    "the folder has an entry whose name is a path".into(),
                ));
            }
            let kind = match entry.mode.kind() {
                Mode::Tree => EntryKind::Folder,
                Mode::Blob => EntryKind::File,
                Mode::BlobExecutable => EntryKind::Executable,
                Mode::Link => EntryKind::Symlink,
                Mode::Commit => EntryKind::Submodule,
            };
            let hash = ObjectHash::from_slice(entry.oid.as_bytes()).ok_or_else(|| {
                BlobError::Unreadable("the folder has an entry without a hash".into())
            })?;
            entries.push(Entry {
                name: name.to_owned(),
                kind,
                hash,
            });
        }
        self.store.folders.put(*hash, &entries);
        Ok(entries)
    }
}

/// A hash as the tree crate has it.
pub(crate) fn object_hash(id: &ObjectId) -> Result<ObjectHash, StoreError> {
    ObjectHash::from_slice(id.as_slice())
        .ok_or(StoreError::Corrupt("an object id has an unknown length"))
}
