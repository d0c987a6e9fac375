//! Files that were read already, for whoever renders next: many overlays share a base.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_manifest::yaml::{self, Content, Dialect, Node};
use lockstep_tree::ObjectHash;

/// What a value takes in memory beside its text, about.
const VALUE: usize = 160;

/// Documents of files, by the hash of their contents.
///
/// Shape: rendering is the same with and without; what is looked up was read from the same bytes, by the same rules,
/// under the same name and limits. May be shared by threads.
/// Bounds: at most the bytes it was made for, the oldest leaving first; a larger file is not kept at all.
#[derive(Debug)]
pub struct Parsed {
    most: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    files: HashMap<Key, Arc<File>>,
    /// Oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) hash: ObjectHash,
    pub(crate) dialect: Dialect,
    /// Places name the file, so the same contents elsewhere are read to something else.
    pub(crate) name: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) documents: Vec<Node>,
    /// Bytes of the file.
    pub(crate) size: usize,
    /// Values in it.
    pub(crate) values: usize,
    limits: yaml::Limits,
    weight: usize,
}

impl Parsed {
    /// What a daemon can spare while renderings are under way: bases of some thousand objects together.
    pub const BYTES: usize = 8 << 20;

    /// An empty one for so many bytes; for none it keeps nothing.
    pub fn new(bytes: usize) -> Self {
        Self {
            most: bytes,
            shelf: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, key: &Key, limits: &yaml::Limits) -> Option<Arc<File>> {
        if self.most == 0 {
            return None;
        }
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shelf.files.get(key)?;
        (found.limits == *limits).then(|| Arc::clone(found))
    }

    /// Keeps what was read, if there is room for it; returns it in any case.
    pub(crate) fn put(
        &self,
        key: Key,
        documents: Vec<Node>,
        size: usize,
        limits: &yaml::Limits,
    ) -> Arc<File> {
        let values = documents.iter().map(values).sum();
        // The text of its values is no longer than the file, but for what aliases repeat.
        let weight = VALUE.saturating_mul(values).saturating_add(size);
        let file = Arc::new(File {
            documents,
            size,
            values,
            limits: limits.clone(),
            weight,
        });
        if weight > self.most {
            return file;
        }
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = &mut *shelf;
        shelf.bytes += weight;
        match shelf.files.insert(key.clone(), Arc::clone(&file)) {
            // Two threads read the same file at the same time, or the limits are others now.
            Some(old) => shelf.bytes -= old.weight,
            None => shelf.order.push_back(key),
        }
        while shelf.bytes > self.most {
            let Some(oldest) = shelf.order.pop_front() else {
                break;
            };
            if let Some(gone) = shelf.files.remove(&oldest) {
                shelf.bytes -= gone.weight;
            }
        }
        file
    }

    /// How many files it holds.
    pub fn len(&self) -> usize {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.files.len()
    }

    /// Does it hold nothing?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn values(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => items.iter().map(values).sum(),
        Content::Map(pairs) => pairs.iter().map(|pair| values(&pair.value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: u8) -> Key {
        Key {
            hash: ObjectHash::from([at; 20]),
            dialect: Dialect::Kustomize,
            name: "a.yaml".into(),
        }
    }

    fn documents(text: &str) -> Vec<Node> {
        yaml::read(
            text.as_bytes(),
            Dialect::Kustomize,
            "a.yaml",
            &yaml::Limits::default(),
        )
        .expect("YAML")
    }

    #[test]
    fn the_oldest_file_leaves_when_there_is_no_room() {
        let limits = yaml::Limits::default();
        let parsed = Parsed::new(4 * VALUE + 20);
        for at in 0..3 {
            parsed.put(key(at), documents("[]"), 2, &limits);
        }
        assert_eq!(parsed.len(), 3);
        parsed.put(key(3), documents("[a]"), 3, &limits);
        assert!(parsed.get(&key(0), &limits).is_none());
        assert!(parsed.get(&key(3), &limits).is_some());
        parsed.put(key(4), documents("[a, b, c, d, e]"), 15, &limits);
        assert!(
            parsed.get(&key(4), &limits).is_none(),
            "it is larger than everything"
        );
    }

    #[test]
    fn what_was_read_under_other_limits_does_not_count() {
        let limits = yaml::Limits::default();
        let parsed = Parsed::new(Parsed::BYTES);
        parsed.put(key(0), documents("[a]"), 3, &limits);
        let smaller = yaml::Limits {
            nodes: 1,
            ..yaml::Limits::default()
        };
        assert!(parsed.get(&key(0), &smaller).is_none());
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let parsed = Parsed::new(0);
        parsed.put(key(0), documents("[a]"), 3, &yaml::Limits::default());
        assert!(parsed.is_empty());
    }
}
