//! Files from memory: for tests, and for text that was never in a repository.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::blobs::{BlobError, Blobs, Entry, EntryKind, ObjectHash};
use crate::path::RelPath;

pub(crate) struct Memory {
    files: HashMap<ObjectHash, Bytes>,
    folders: HashMap<ObjectHash, Vec<Entry>>,
}

impl Memory {
    pub(crate) fn new<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> (ObjectHash, Self) {
        let mut memory = Self {
            files: HashMap::new(),
            folders: HashMap::new(),
        };
        let mut entries: BTreeMap<RelPath, BTreeMap<String, (EntryKind, Option<ObjectHash>)>> =
            BTreeMap::from([(RelPath::root(), BTreeMap::new())]);
        for (path, text) in files {
            let Ok(path) = path.parse::<RelPath>() else {
                continue;
            };
            let hash = hash_of(&[b"file\0", text]);
            memory.files.insert(hash, Bytes::copy_from_slice(text));
            let mut entry = (path.name().to_owned(), EntryKind::File, Some(hash));
            let mut at = path.parent();
            while let Some(folder) = at {
                entries
                    .entry(folder.clone())
                    .or_default()
                    .insert(entry.0, (entry.1, entry.2));
                entry = (folder.name().to_owned(), EntryKind::Folder, None);
                at = folder.parent();
            }
        }
        // Longer paths sort behind the folders they lie in, so going backwards every folder's own are done.
        let mut done: HashMap<RelPath, ObjectHash> = HashMap::new();
        for (path, inside) in entries.into_iter().rev() {
            let mut listed = Vec::new();
            let mut text = Vec::new();
            for (name, (kind, hash)) in inside {
                let below = path
                    .join(&name)
                    .ok()
                    .and_then(|below| done.get(&below).copied());
                let Some(hash) = hash.or(below) else { continue };
                text.extend_from_slice(format!("{kind:?} {name}\0{hash}\0").as_bytes());
                listed.push(Entry { name, kind, hash });
            }
            let hash = hash_of(&[b"folder\0", &text]);
            memory.folders.insert(hash, listed);
            done.insert(path, hash);
        }
        let root = done
            .get(&RelPath::root())
            .copied()
            .unwrap_or_else(|| hash_of(&[b"folder\0"]));
        (root, memory)
    }
}

/// The SHA-256 of these pieces.
pub(crate) fn hash_of(pieces: &[&[u8]]) -> ObjectHash {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.into()
}

impl Blobs for Memory {
    fn blob(&self, hash: &ObjectHash, limit: usize) -> Result<Bytes, BlobError> {
        let bytes = self.files.get(hash).ok_or(BlobError::Missing(*hash))?;
        if bytes.len() > limit {
            return Err(BlobError::TooLarge {
                size: bytes.len() as u64,
                limit,
            });
        }
        Ok(bytes.clone())
    }

    fn folder(&self, hash: &ObjectHash) -> Result<Vec<Entry>, BlobError> {
        self.folders
            .get(hash)
            .cloned()
            .ok_or(BlobError::Missing(*hash))
    }
}
