//! The only way rendering looks at files: within limits, and remembering where it looked.

use std::collections::BTreeSet;

use bytes::Bytes;
use lockstep_manifest::Place;
use lockstep_tree::{Entry, Found, RelPath, Tree};

use crate::error::RenderError;
use crate::limits::Limits;

pub(crate) struct Reading<'t> {
    tree: &'t Tree,
    pub(crate) limits: &'t Limits,
    pub(crate) read: BTreeSet<RelPath>,
    pub(crate) warnings: Vec<String>,
    bytes: usize,
    folders: usize,
}

/// The first character of a file, for what concerns all of it.
pub(crate) fn start_of(path: &RelPath) -> Place {
    Place {
        file: path.to_string().into(),
        line: 1,
        column: 1,
    }
}

impl<'t> Reading<'t> {
    pub(crate) fn new(tree: &'t Tree, limits: &'t Limits) -> Self {
        Self {
            tree,
            limits,
            read: BTreeSet::new(),
            warnings: Vec::new(),
            bytes: 0,
            folders: 0,
        }
    }

    /// A path below a folder, by a name that is no user's.
    #[expect(clippy::unused_self, reason = "reads as a question to the tree")]
    pub(crate) fn below(&self, folder: &RelPath, name: &str) -> Result<RelPath, RenderError> {
        folder
            .join(name)
            .map_err(|e| RenderError::invalid(&start_of(folder), e.to_string()))
    }

    /// What stands at a path, links followed.
    pub(crate) fn find(
        &mut self,
        path: &RelPath,
        named: &Place,
    ) -> Result<Option<Found>, RenderError> {
        self.read.insert(path.clone());
        let found = self.tree.find(path).map_err(|cause| RenderError::Read {
            place: named.clone(),
            cause,
        })?;
        if let Some(found) = &found {
            // A link's target counts as looked at, too: it is what changes.
            if found.path != *path {
                self.read.insert(found.path.clone());
            }
        }
        Ok(found)
    }

    pub(crate) fn is_file(&mut self, path: &RelPath) -> Result<bool, RenderError> {
        Ok(self
            .find(path, &start_of(path))?
            .is_some_and(|found| found.is_file()))
    }

    pub(crate) fn is_folder(&mut self, path: &RelPath) -> Result<bool, RenderError> {
        let found = self.find(path, &start_of(path))?;
        Ok(found.is_some_and(|found| found.kind == lockstep_tree::EntryKind::Folder))
    }

    /// The contents of a file; none when there is no file.
    pub(crate) fn file(
        &mut self,
        path: &RelPath,
        named: &Place,
    ) -> Result<Option<Bytes>, RenderError> {
        if self.find(path, named)?.is_none() {
            return Ok(None);
        }
        let bytes = self.tree.read(path).map_err(|cause| RenderError::Read {
            place: named.clone(),
            cause,
        })?;
        if let Some(bytes) = &bytes {
            self.bytes += bytes.len();
            if self.bytes > self.limits.total_bytes {
                return Err(RenderError::Limit {
                    place: start_of(path),
                    what: format!(
                        "more than {} bytes in all files together",
                        self.limits.total_bytes
                    ),
                });
            }
        }
        Ok(bytes)
    }

    /// The entries of a folder, sorted by name.
    pub(crate) fn list(&mut self, path: &RelPath) -> Result<Vec<Entry>, RenderError> {
        self.read.insert(path.clone());
        let entries = self.tree.list(path).map_err(|cause| RenderError::Read {
            place: start_of(path),
            cause,
        })?;
        Ok(entries.unwrap_or_default())
    }

    /// One more folder or file is gone into.
    pub(crate) fn enter(&mut self, at: &Place) -> Result<(), RenderError> {
        self.folders += 1;
        if self.folders > self.limits.folders {
            return Err(RenderError::Limit {
                place: at.clone(),
                what: format!(
                    "more than {} folders or files, counted as often as they are named",
                    self.limits.folders
                ),
            });
        }
        Ok(())
    }

    pub(crate) fn check_count(&self, resources: usize, at: &Place) -> Result<(), RenderError> {
        if resources > self.limits.resources {
            return Err(RenderError::Limit {
                place: at.clone(),
                what: format!("more than {} objects", self.limits.resources),
            });
        }
        Ok(())
    }
}
