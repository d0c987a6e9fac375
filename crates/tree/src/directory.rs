//! The files of a real folder, for the command line.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::blobs::{BlobError, Blobs, Entry, EntryKind, ObjectHash};
use crate::memory::hash_of;

/// Hashes name where a file lies, how long it is and when it was written; contents are read when asked for.
pub(crate) struct Directory {
    paths: Mutex<HashMap<ObjectHash, PathBuf>>,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> std::io::Result<(ObjectHash, Self)> {
        let path = path.canonicalize()?;
        if !path.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
        }
        let root = hash_of(&[b"folder\0", path.as_os_str().as_encoded_bytes()]);
        Ok((
            root,
            Self {
                paths: Mutex::new(HashMap::from([(root, path)])),
            },
        ))
    }

    fn path(&self, hash: &ObjectHash) -> Result<PathBuf, BlobError> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(hash).cloned().ok_or(BlobError::Missing(*hash))
    }

    fn entry(&self, found: &fs::DirEntry) -> std::io::Result<Option<Entry>> {
        // A name that is no UTF-8 cannot be written in a manifest either.
        let Ok(name) = found.file_name().into_string() else {
            return Ok(None);
        };
        if name.eq_ignore_ascii_case(".git") {
            return Ok(None);
        }
        let about = found.metadata()?;
        let kind = if about.is_dir() {
            EntryKind::Folder
        } else if about.is_symlink() {
            EntryKind::Symlink
        } else if !about.is_file() {
            // Sockets, pipes and devices are nobody's manifests, and reading one may never end.
            return Ok(None);
        } else if is_executable(&about) {
            EntryKind::Executable
        } else {
            EntryKind::File
        };
        let path = found.path();
        let written = about
            .modified()
            .ok()
            .map(|at| format!("{at:?} {}", about.len()));
        let hash = hash_of(&[
            format!("{kind:?}\0{}\0", written.unwrap_or_default()).as_bytes(),
            path.as_os_str().as_encoded_bytes(),
        ]);
        self.paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash, path);
        Ok(Some(Entry { name, kind, hash }))
    }
}

#[cfg(unix)]
fn is_executable(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

fn unreadable(error: std::io::Error) -> BlobError {
    BlobError::Unreadable(Box::new(error))
}

impl Blobs for Directory {
    fn blob(&self, hash: &ObjectHash, limit: usize) -> Result<Bytes, BlobError> {
        let path = self.path(hash)?;
        let about = path.symlink_metadata().map_err(unreadable)?;
        if about.is_symlink() {
            let target = fs::read_link(&path).map_err(unreadable)?;
            return Ok(Bytes::copy_from_slice(
                target.as_os_str().as_encoded_bytes(),
            ));
        }
        let too_large = |size| BlobError::TooLarge { size, limit };
        if about.len() > limit as u64 {
            return Err(too_large(about.len()));
        }
        // The file may have grown since: what is read is bounded all the same.
        let expected = usize::try_from(about.len()).unwrap_or(limit).min(limit);
        let mut bytes = Vec::with_capacity(expected + 1);
        let file = fs::File::open(&path).map_err(unreadable)?;
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() > limit {
            return Err(too_large(bytes.len() as u64));
        }
        Ok(bytes.into())
    }

    fn folder(&self, hash: &ObjectHash) -> Result<Vec<Entry>, BlobError> {
        let path = self.path(hash)?;
        let mut entries = Vec::new();
        for found in fs::read_dir(&path).map_err(unreadable)? {
            match found.and_then(|found| self.entry(&found)) {
                Ok(entry) => entries.extend(entry),
                // Gone between listing and looking: a folder that is being written to.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(entries)
    }
}
