//! The only way rendering looks at files: within limits, and remembering where it looked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use lockstep_app::app::Base;
use lockstep_manifest::Place;
use lockstep_manifest::yaml::{self, Dialect, Node};
use lockstep_tree::{Entry, Found, RelPath, Tree};

use crate::error::RenderError;
use crate::limits::Limits;
use crate::parsed::Key;
use crate::threads;
use crate::{Forest, Need};

pub(crate) struct Reading<'t> {
    forest: &'t Forest,
    /// The tree that paths are of now; none is the app's own.
    base: Option<&'t Base>,
    tree: &'t Tree,
    pub(crate) limits: &'t Limits,
    pub(crate) read: BTreeSet<RelPath>,
    pub(crate) read_of: BTreeMap<Base, BTreeSet<RelPath>>,
    /// What is not in the forest and would have to be.
    pub(crate) needs: BTreeMap<Base, Need>,
    pub(crate) warnings: Vec<String>,
    bytes: usize,
    values: usize,
    folders: usize,
    /// Files that were read ahead.
    ahead: HashMap<Key, (Vec<Node>, usize)>,
}

/// Text that is read ahead at once: what it becomes waits in memory, before any limit on all files could be met.
const AHEAD: usize = 32 << 20;

impl<'t> Reading<'t> {
    pub(crate) fn new(forest: &'t Forest, limits: &'t Limits) -> Self {
        Self {
            forest,
            base: None,
            tree: &forest.own,
            limits,
            read: BTreeSet::new(),
            read_of: BTreeMap::new(),
            needs: BTreeMap::new(),
            warnings: Vec::new(),
            bytes: 0,
            values: 0,
            folders: 0,
            ahead: HashMap::new(),
        }
    }

    /// The other repository that paths are of now; none is the app's own.
    pub(crate) fn base(&self) -> Option<&'t Base> {
        self.base
    }

    /// Looks at another repository from now on, if it is here: answers with the one that it looked at before, which
    /// [`Self::turn_back`] takes. What is not here is remembered as needed.
    pub(crate) fn turn_to(
        &mut self,
        base: &Base,
        place: &Place,
    ) -> Result<Option<&'t Base>, RenderError> {
        let before = self.base;
        if let Some((base, tree)) = self.forest.bases.get_key_value(base) {
            self.base = Some(base);
            self.tree = tree;
            return Ok(before);
        }
        if self.forest.bases.len() + self.needs.len() >= self.limits.bases
            && !self.needs.contains_key(base)
        {
            return Err(RenderError::Limit {
                place: place.clone(),
                what: format!("more than {} remote bases", self.limits.bases),
            });
        }
        let need = || Need {
            base: base.clone(),
            place: place.clone(),
        };
        self.needs.entry(base.clone()).or_insert_with(need);
        Err(RenderError::Remote {
            place: place.clone(),
            what: base.to_string(),
        })
    }

    /// Goes back to the tree that was looked at before.
    pub(crate) fn turn_back(&mut self, before: Option<&'t Base>) {
        self.base = before;
        let tree = before.and_then(|base| self.forest.bases.get(base));
        self.tree = tree.unwrap_or(&self.forest.own);
    }

    /// A path as people read it: one of another repository stands behind its address.
    pub(crate) fn name<'p>(&self, path: &'p RelPath) -> Cow<'p, str> {
        match self.base {
            None if path.is_root() => Cow::Borrowed("."),
            None => Cow::Borrowed(path.as_str()),
            Some(base) => Cow::Owned(format!("{base}//{}", path.as_str())),
        }
    }

    /// The first character of a file, for what concerns all of it.
    pub(crate) fn start_of(&self, path: &RelPath) -> Place {
        Place {
            file: self.name(path).into(),
            line: 1,
            column: 1,
        }
    }

    fn looked_at(&mut self, path: &RelPath) {
        match self.base {
            None => self.read.insert(path.clone()),
            Some(base) => self
                .read_of
                .entry(base.clone())
                .or_default()
                .insert(path.clone()),
        };
    }

    /// A path below a folder, by a name that is no user's.
    pub(crate) fn below(&self, folder: &RelPath, name: &str) -> Result<RelPath, RenderError> {
        folder
            .join(name)
            .map_err(|e| RenderError::invalid(&self.start_of(folder), e.to_string()))
    }

    /// What stands at a path, links followed.
    pub(crate) fn find(
        &mut self,
        path: &RelPath,
        named: &Place,
    ) -> Result<Option<Found>, RenderError> {
        self.looked_at(path);
        let found = self.tree.find(path).map_err(|cause| RenderError::Read {
            place: named.clone(),
            cause,
        })?;
        if let Some(found) = &found {
            // A link's target counts as looked at, too: it is what changes.
            if found.path != *path {
                self.looked_at(&found.path);
            }
        }
        Ok(found)
    }

    pub(crate) fn is_file(&mut self, path: &RelPath) -> Result<bool, RenderError> {
        let named = self.start_of(path);
        Ok(self
            .find(path, &named)?
            .is_some_and(|found| found.is_file()))
    }

    pub(crate) fn is_folder(&mut self, path: &RelPath) -> Result<bool, RenderError> {
        let named = self.start_of(path);
        let found = self.find(path, &named)?;
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
            self.count_bytes(bytes.len(), path)?;
        }
        Ok(bytes)
    }

    fn count_bytes(&mut self, bytes: usize, path: &RelPath) -> Result<(), RenderError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.total_bytes {
            return Err(RenderError::Limit {
                place: self.start_of(path),
                what: format!(
                    "more than {} bytes in all files together",
                    self.limits.total_bytes
                ),
            });
        }
        Ok(())
    }

    /// How many threads there are for this.
    pub(crate) fn threads(&self) -> usize {
        self.forest.threads
    }

    /// Reads files that will be asked for, on all threads. What cannot be read is left for whoever asks, who knows what
    /// to say about it; and that somebody looked here is for them to remember, too.
    pub(crate) fn read_ahead(&mut self, paths: &[RelPath], dialect: Dialect) {
        if self.threads() < 2 {
            return;
        }
        let tree = self.tree;
        let limits = &self.limits.yaml;
        let budget = AtomicUsize::new(AHEAD);
        let wanted = paths
            .iter()
            .map(|path| (path, Arc::from(self.name(path))))
            .collect();
        let read = |(path, name): (&RelPath, Arc<str>)| {
            let found = tree.find(path).ok()?.filter(Found::is_file)?;
            let text = tree.read(path).ok()??;
            let left = |left: usize| left.checked_sub(text.len());
            budget.fetch_update(Relaxed, Relaxed, left).ok()?;
            let documents = yaml::read(&text, dialect, &name, limits).ok()?;
            let hash = found.hash;
            let key = Key {
                hash,
                dialect,
                name,
            };
            Some((key, (documents, text.len())))
        };
        let read = threads::each(self.threads(), wanted, read);
        self.ahead.extend(read.into_iter().flatten());
    }

    /// The documents of a file, read now or for somebody before; none when there is no file.
    pub(crate) fn documents(
        &mut self,
        path: &RelPath,
        named: &Place,
        dialect: Dialect,
    ) -> Result<Option<Vec<Node>>, RenderError> {
        let Some(found) = self.find(path, named)? else {
            return Ok(None);
        };
        let key = Key {
            hash: found.hash,
            dialect,
            name: self.name(path).into(),
        };
        let known = self.forest.parsed.get(&key, &self.limits.yaml);
        // Every limit holds for what is known, too.
        let known = known.filter(|file| found.is_file() && file.size <= self.tree.largest_file());
        let file = if let Some(file) = known {
            self.count_bytes(file.size, path)?;
            file
        } else if let Some((documents, size)) = self.ahead.remove(&key) {
            self.count_bytes(size, path)?;
            let limits = &self.limits.yaml;
            self.forest.parsed.put(key, documents, size, limits)
        } else {
            let Some(text) = self.file(path, named)? else {
                return Ok(None);
            };
            let documents = yaml::read(&text, dialect, &key.name, &self.limits.yaml)?;
            let limits = &self.limits.yaml;
            self.forest.parsed.put(key, documents, text.len(), limits)
        };
        self.values = self.values.saturating_add(file.values);
        if self.values > self.limits.values {
            return Err(RenderError::Limit {
                place: self.start_of(path),
                what: format!(
                    "more than {} values in all files together",
                    self.limits.values
                ),
            });
        }
        Ok(Some(match Arc::try_unwrap(file) {
            Ok(mine) => mine.documents,
            Err(shared) => shared.documents.clone(),
        }))
    }

    /// The entries of a folder, sorted by name.
    pub(crate) fn list(&mut self, path: &RelPath) -> Result<Vec<Entry>, RenderError> {
        self.looked_at(path);
        let entries = self.tree.list(path).map_err(|cause| RenderError::Read {
            place: self.start_of(path),
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
