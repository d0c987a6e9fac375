//! Where a tree's contents come from: objects by hash.

use std::fmt;

use bytes::Bytes;

/// The hash of a file, a folder or a commit: 20 bytes (SHA-1) or 32 (SHA-256).
///
/// Equal hashes mean equal contents within one kind of store; a tree made of a real folder hashes where and when a
/// file was written instead, because reading all files to name them would cost more than rendering.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectHash {
    bytes: [u8; 32],
    short: bool,
}

impl ObjectHash {
    /// Takes the raw bytes; none when there are neither 20 nor 32.
    pub fn from_slice(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        matches!(raw.len(), 20 | 32).then_some(Self {
            bytes,
            short: raw.len() == 20,
        })
    }

    /// The raw bytes.
    pub fn as_slice(&self) -> &[u8] {
        if self.short {
            &self.bytes[..20]
        } else {
            &self.bytes
        }
    }
}

impl From<[u8; 20]> for ObjectHash {
    fn from(raw: [u8; 20]) -> Self {
        let mut bytes = [0; 32];
        bytes[..20].copy_from_slice(&raw);
        Self { bytes, short: true }
    }
}

impl From<[u8; 32]> for ObjectHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            short: false,
        }
    }
}

/// Lower-case hex.
impl fmt::Display for ObjectHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; its contents are where it points to.
    Symlink,
    /// Another repository's commit; its files are not here.
    Submodule,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without slashes.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its contents' hash.
    pub hash: ObjectHash,
}

/// An object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there, though something names it.
    #[error("object {0} is missing")]
    Missing(ObjectHash),
    /// It is larger than the caller takes. Stores say so before they read it.
    #[error("it has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size, as far as known.
        size: u64,
        /// What the caller takes.
        limit: usize,
    },
    /// It cannot be read, or is not what it should be.
    #[error("it cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Contents by hash: the git object store, a real folder, memory.
pub trait Blobs: Send + Sync {
    /// The contents of a file or symbolic link of at most `limit` bytes.
    fn blob(&self, hash: &ObjectHash, limit: usize) -> Result<Bytes, BlobError>;

    /// The entries of a folder, in any order.
    fn folder(&self, hash: &ObjectHash) -> Result<Vec<Entry>, BlobError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_twenty_or_thirty_two_bytes() {
        assert!(ObjectHash::from_slice(&[1; 19]).is_none());
        assert!(ObjectHash::from_slice(&[1; 33]).is_none());
        assert_eq!(
            ObjectHash::from_slice(&[0xab; 20]).expect("20").to_string(),
            "ab".repeat(20)
        );
        assert_ne!(ObjectHash::from([0; 20]), ObjectHash::from([0; 32]));
    }
}
