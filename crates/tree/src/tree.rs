//! Finding files and folders from a root, links followed, never outside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::blobs::{BlobError, Blobs, Entry, EntryKind, ObjectHash};
use crate::directory::Directory;
use crate::memory::Memory;
use crate::path::RelPath;

/// Links followed for one path before it is called a loop; Linux gives up at 40 too.
const MOST_LINKS: usize = 40;

/// A link's text is a path, and no path is longer.
const LONGEST_LINK: usize = 4096;

/// Manifests larger than this do not exist: an API server takes 3 MiB at most, so this leaves room for a bundle.
const LARGEST_FILE: usize = 16 << 20;

/// A path of a tree cannot be read. That nothing is there is no error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The contents cannot be had.
    #[error("cannot read {path}")]
    Blob {
        /// What was asked for.
        path: RelPath,
        /// Why not.
        #[source]
        cause: BlobError,
    },
    /// A symbolic link on the way points outside.
    #[error("cannot read {path}: the symbolic link {link} leaves the tree")]
    LinkLeaves {
        /// What was asked for.
        path: RelPath,
        /// The link.
        link: RelPath,
    },
    /// More symbolic links on the way than anybody means.
    #[error("cannot read {path}: more than {MOST_LINKS} symbolic links on the way")]
    LinkLoop {
        /// What was asked for.
        path: RelPath,
    },
    /// It lies in another repository.
    #[error("cannot read {path}: {submodule} is a submodule, and those are not fetched")]
    Submodule {
        /// What was asked for.
        path: RelPath,
        /// The submodule.
        submodule: RelPath,
    },
}

/// What stands at a path when all links are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path without links.
    pub path: RelPath,
    /// Folder, file, executable or submodule.
    pub kind: EntryKind,
    /// The hash of its contents.
    pub hash: ObjectHash,
}

impl Found {
    /// Is it a file?
    pub fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File | EntryKind::Executable)
    }
}

/// A snapshot of files. Cloning it is cheap; folders are read once.
#[derive(Clone)]
pub struct Tree {
    root: ObjectHash,
    blobs: Arc<dyn Blobs>,
    folders: Arc<Mutex<HashMap<ObjectHash, Arc<Vec<Entry>>>>>,
    largest_file: usize,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// The tree whose root folder has this hash.
    pub fn new(root: ObjectHash, blobs: Arc<dyn Blobs>) -> Self {
        Self {
            root,
            blobs,
            folders: Arc::default(),
            largest_file: LARGEST_FILE,
        }
    }

    /// The files of a real folder, read when they are asked for. Links may not lead out of it.
    pub fn from_directory(path: &Path) -> std::io::Result<Self> {
        let (root, directory) = Directory::open(path)?;
        Ok(Self::new(root, Arc::new(directory)))
    }

    /// The real tree that a folder is part of, and the folder's path in it: the nearest folder above with a `.git`
    /// in it, or the whole file system where there is none.
    pub fn around(folder: &Path) -> std::io::Result<(Self, RelPath)> {
        let folder = folder.canonicalize()?;
        let top = folder.ancestors().find(|above| above.join(".git").exists());
        let top = top.or_else(|| folder.ancestors().last()).unwrap_or(&folder);
        let not_a_path = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
        let below = folder.strip_prefix(top).unwrap_or(&folder);
        let below = below
            .to_str()
            .ok_or_else(|| not_a_path("the path is not UTF-8".to_owned()))?;
        let below = below.parse().map_err(|e| not_a_path(format!("{e}")))?;
        Ok((Self::from_directory(top)?, below))
    }

    /// Files from memory: path and contents. A path that is none is left out.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter();
        Self::from_contents(files.map(|(path, text)| (path, text.as_bytes())))
    }

    /// The same with contents that need not be text.
    pub fn from_contents<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (root, memory) = Memory::new(files);
        Self::new(root, Arc::new(memory))
    }

    /// The same tree with another limit for the size of one file, in bytes.
    #[must_use]
    pub fn with_largest_file(mut self, bytes: usize) -> Self {
        self.largest_file = bytes;
        self
    }

    /// Bytes that a file may have.
    pub fn largest_file(&self) -> usize {
        self.largest_file
    }

    /// The contents of the file at `path`; none when no file is there.
    ///
    /// Bounds: 16 MiB unless [`Self::with_largest_file`] says otherwise.
    pub fn read(&self, path: &RelPath) -> Result<Option<Bytes>, ReadError> {
        match self.find(path)? {
            Some(found) if found.is_file() => self
                .blobs
                .blob(&found.hash, self.largest_file)
                .map(Some)
                .map_err(|cause| ReadError::Blob {
                    path: path.clone(),
                    cause,
                }),
            Some(Found {
                kind: EntryKind::Submodule,
                path: submodule,
                ..
            }) => Err(ReadError::Submodule {
                path: path.clone(),
                submodule,
            }),
            _ => Ok(None),
        }
    }

    /// The entries of the folder at `path`, sorted by name; none when no folder is there.
    pub fn list(&self, path: &RelPath) -> Result<Option<Vec<Entry>>, ReadError> {
        match self.find(path)? {
            Some(found) if found.kind == EntryKind::Folder => {
                Ok(Some(self.folder(&found.hash, path)?.to_vec()))
            }
            Some(Found {
                kind: EntryKind::Submodule,
                path: submodule,
                ..
            }) => Err(ReadError::Submodule {
                path: path.clone(),
                submodule,
            }),
            _ => Ok(None),
        }
    }

    /// The hash of the file or folder at `path`: equal hashes, nothing changed there.
    pub fn hash(&self, path: &RelPath) -> Result<Option<ObjectHash>, ReadError> {
        Ok(self.find(path)?.map(|found| found.hash))
    }

    /// What stands at `path`, links followed.
    pub fn find(&self, path: &RelPath) -> Result<Option<Found>, ReadError> {
        let mut above: Vec<(String, ObjectHash)> = Vec::new();
        let mut todo: Vec<String> = path.parts().rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                // Only a link's text brings these in, and it was checked against the root when it was taken.
                above.pop();
                continue;
            }
            let here = above.last().map_or(self.root, |(_, hash)| *hash);
            let entries = self.folder(&here, path)?;
            let Ok(at) = entries.binary_search_by(|entry| entry.name.as_str().cmp(&part)) else {
                return Ok(None);
            };
            let Some(entry) = entries.get(at) else {
                return Ok(None);
            };
            let here = || {
                let parts = above
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .chain([part.as_str()]);
                parts
                    .collect::<Vec<_>>()
                    .join("/")
                    .parse::<RelPath>()
                    .unwrap_or_default()
            };
            match entry.kind {
                EntryKind::Folder => above.push((part, entry.hash)),
                EntryKind::File | EntryKind::Executable | EntryKind::Submodule
                    if todo.is_empty() =>
                {
                    return Ok(Some(Found {
                        path: here(),
                        kind: entry.kind,
                        hash: entry.hash,
                    }));
                }
                EntryKind::File | EntryKind::Executable => return Ok(None),
                EntryKind::Submodule => {
                    return Err(ReadError::Submodule {
                        path: path.clone(),
                        submodule: here(),
                    });
                }
                EntryKind::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(ReadError::LinkLoop { path: path.clone() });
                    }
                    let leaves = || ReadError::LinkLeaves {
                        path: path.clone(),
                        link: here(),
                    };
                    let target = self
                        .blobs
                        .blob(&entry.hash, LONGEST_LINK)
                        .map_err(|cause| ReadError::Blob {
                            path: path.clone(),
                            cause,
                        })?;
                    let target = std::str::from_utf8(&target).map_err(|_| leaves())?;
                    if !stays(target, above.len()) {
                        return Err(leaves());
                    }
                    let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
                    todo.extend(parts.rev().map(str::to_owned));
                }
            }
        }
        let parts = above
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join("/");
        let hash = above.last().map_or(self.root, |(_, hash)| *hash);
        let path = parts.parse().unwrap_or_default();
        Ok(Some(Found {
            path,
            kind: EntryKind::Folder,
            hash,
        }))
    }

    fn folder(&self, hash: &ObjectHash, path: &RelPath) -> Result<Arc<Vec<Entry>>, ReadError> {
        let known = self
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut entries = self.blobs.folder(hash).map_err(|cause| ReadError::Blob {
            path: path.clone(),
            cause,
        })?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let entries = Arc::new(entries);
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(folders.entry(*hash).or_insert(entries)))
    }
}

/// Does a link's text, seen from a folder this deep, stay inside the tree all the way?
fn stays(target: &str, depth: usize) -> bool {
    if target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = depth;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        text.parse().expect("a path")
    }

    #[test]
    fn files_and_folders_are_found_and_nothing_else_is() {
        let tree = Tree::from_files([("a/b.yaml", "x"), ("a/c/d.yaml", "y"), ("e", "z")]);
        assert_eq!(
            tree.read(&path("a/b.yaml")).expect("readable").as_deref(),
            Some(&b"x"[..])
        );
        assert_eq!(tree.read(&path("a")).expect("readable"), None);
        assert_eq!(tree.read(&path("e/f")).expect("readable"), None);
        assert_eq!(tree.list(&path("e")).expect("readable"), None);
        let names = |at: &str| -> Vec<String> {
            let entries = tree.list(&path(at)).expect("readable").expect("a folder");
            entries.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(""), ["a", "e"]);
        assert_eq!(names("a"), ["b.yaml", "c"]);
    }

    #[test]
    fn a_folder_whose_files_did_not_change_keeps_its_hash() {
        let one = Tree::from_files([("a/x", "1"), ("b/x", "1")]);
        let two = Tree::from_files([("a/x", "1"), ("b/x", "2")]);
        let hash = |tree: &Tree, at: &str| tree.hash(&path(at)).expect("readable").expect("there");
        assert_eq!(hash(&one, "a"), hash(&two, "a"));
        assert_ne!(hash(&one, "b"), hash(&two, "b"));
        assert_ne!(hash(&one, ""), hash(&two, ""));
        assert_eq!(one.hash(&path("c")).expect("readable"), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("real/deep")).expect("made");
        std::fs::write(at("real/deep/f"), "x").expect("written");
        symlink("real/deep", at("in")).expect("linked");
        symlink("../real/../real/deep/f", at("real/up")).expect("linked");
        symlink("/etc", at("absolute")).expect("linked");
        symlink("real/../../x", at("out")).expect("linked");
        symlink("loop", at("loop")).expect("linked");
        let tree = Tree::from_directory(folder.path()).expect("opened");
        assert_eq!(
            tree.read(&path("in/f")).expect("readable").as_deref(),
            Some(&b"x"[..])
        );
        assert_eq!(
            tree.read(&path("real/up")).expect("readable").as_deref(),
            Some(&b"x"[..])
        );
        let found = tree.find(&path("in/f")).expect("readable").expect("there");
        assert_eq!(found.path, path("real/deep/f"));
        assert!(matches!(
            tree.read(&path("absolute/passwd")),
            Err(ReadError::LinkLeaves { .. })
        ));
        assert!(matches!(
            tree.read(&path("out")),
            Err(ReadError::LinkLeaves { .. })
        ));
        assert!(matches!(
            tree.read(&path("loop")),
            Err(ReadError::LinkLoop { .. })
        ));
    }

    #[test]
    fn a_file_over_the_limit_is_refused_before_it_is_read() {
        let tree = Tree::from_files([("big", "12345")]).with_largest_file(4);
        let error = tree.read(&path("big")).expect_err("it is too large");
        assert!(matches!(
            error,
            ReadError::Blob {
                cause: BlobError::TooLarge { size: 5, limit: 4 },
                ..
            }
        ));
    }
}
