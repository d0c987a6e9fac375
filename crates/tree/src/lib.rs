//! A read-only snapshot of files at a revision.
//!
//! Reading order: [`path`] says what a path inside a tree is, [`blobs`] where contents come from, [`tree`](mod@tree)
//! finds files and folders in them; `directory` and `memory` are two places contents can come from (the third is the
//! git object store of the source crate).

pub mod blobs;
mod directory;
mod memory;
pub mod path;
pub mod tree;

pub use blobs::{BlobError, Blobs, Entry, EntryKind, ObjectHash};
pub use path::{NotARelPath, RelPath};
pub use tree::{Found, ReadError, Tree};
