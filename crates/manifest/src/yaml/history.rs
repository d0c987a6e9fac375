//! What sets a value last, and what it overrode: how nodes remember while an object is being made.
//!
//! The renderer overwrites values in many steps; each says so by [`Node::overwrite`], [`Node::set_over`] or
//! [`Node::moved_by`] instead of assigning, and [`Node::places`] is what is left of it in the finished object.

use std::collections::HashMap;

use super::node::{Content, Node, Pair};
use crate::places::{Packer, Place, Places};

/// Maps with fewer keys are searched without an index.
const SMALL_MAP: usize = 16;

impl Node {
    /// Takes another value, with its place, and remembers what stood here.
    pub fn overwrite(&mut self, new: Self) {
        let old = std::mem::replace(self, new);
        self.follow(&old);
    }

    /// Sets a key of a map and remembers what stood there; at the end when it is new. On anything but a map nothing
    /// happens.
    pub fn set_over(&mut self, key: &str, value: Self) {
        match self.get_mut(key) {
            Some(old) => old.overwrite(value),
            None => self.set(key, value),
        }
    }

    /// Remembers that another value stood here before.
    ///
    /// Shape: maps are followed key by key; what takes the place of anything else took the place of all of it, so that
    /// each item of a list that was replaced has the old list's place before its own.
    // As deep as the new value is, which the reader or a patch's own limit bounds.
    pub fn follow(&mut self, old: &Self) {
        self.trail = if self.place == old.place {
            // One and the same value, come here through the step or around it.
            if self.trail.is_empty() {
                old.trail.clone()
            } else {
                std::mem::take(&mut self.trail)
            }
        } else {
            old.trail.then(&old.place).with(&self.trail)
        };
        match (&mut self.content, &old.content) {
            (Content::Map(new), Content::Map(old)) => follow_keys(new, old),
            (Content::Scalar(_), _) => {}
            (Content::List(_) | Content::Map(_), _) => {
                let trail = old.trail.then(&old.place);
                self.each_below(&mut |node| {
                    if node.place != old.place {
                        node.trail = trail.with(&node.trail);
                    }
                });
            }
        }
    }

    /// Says that a step put this value here from elsewhere: it and everything in it are set there now, and were before
    /// where they came from.
    pub fn moved_by(&mut self, place: &Place) {
        self.set_at(place);
        self.each_below(&mut |node| node.set_at(place));
    }

    /// Says that a step set this value, whose contents the caller changes itself.
    pub fn set_at(&mut self, place: &Place) {
        if self.place != *place {
            self.trail = self.trail.then(&self.place);
            self.place = place.clone();
        }
    }

    fn each_below(&mut self, visit: &mut impl FnMut(&mut Self)) {
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                for item in items {
                    visit(item);
                    item.each_below(visit);
                }
            }
            Content::Map(pairs) => {
                for pair in pairs {
                    visit(&mut pair.value);
                    pair.value.each_below(visit);
                }
            }
        }
    }

    /// Where it begins, and where each leaf in it was set and had been set before (empty maps and lists are leaves).
    pub fn places(&self) -> Places {
        let mut packer = Packer::new(&self.place, &self.trail);
        self.each(&mut String::with_capacity(64), false, &mut |at, leaf| {
            packer.leaf(at, &leaf.place, &leaf.trail);
        });
        packer.finish()
    }
}

fn follow_keys(new: &mut [Pair], old: &[Pair]) {
    if old.len() < SMALL_MAP {
        for pair in new {
            if let Some(before) = old.iter().find(|one| one.key.text == pair.key.text) {
                pair.value.follow(&before.value);
            }
        }
        return;
    }
    let by_key: HashMap<&str, &Node> = old
        .iter()
        .map(|pair| (pair.key.text.as_str(), &pair.value))
        .collect();
    for pair in new {
        if let Some(before) = by_key.get(pair.key.text.as_str()) {
            pair.value.follow(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Limits, read};
    use super::*;

    fn node(text: &str, file: &str) -> Node {
        let read = read(
            text.as_bytes(),
            Dialect::Kustomize,
            file,
            &Limits::default(),
        );
        read.expect("YAML").remove(0)
    }

    fn chains(node: &Node) -> Vec<String> {
        let line = |place: &Place| format!("{}:{}", place.file, place.line);
        let leaves = node.places();
        leaves
            .leaves()
            .map(|leaf| {
                let places: Vec<String> = leaf.places.iter().map(line).collect();
                format!("{} {}", leaf.pointer, places.join(" "))
            })
            .collect()
    }

    #[test]
    fn a_map_that_replaces_a_map_is_followed_key_by_key() {
        let mut object = node("a: 1\nb: {c: 2, d: 3}\n", "old");
        object.overwrite(node("b:\n  d: 4\n  e: 5\n", "new"));
        assert_eq!(chains(&object), ["/b/d old:2 new:2", "/b/e new:3"]);
    }

    #[test]
    fn a_list_that_replaces_a_list_has_the_old_lists_place_before_each_item() {
        let mut object = node("a:\n- x\n- y\n", "old");
        object.overwrite(node("a: [z, {k: v}]\n", "new"));
        assert_eq!(chains(&object), ["/a/0 old:2 new:1", "/a/1/k old:2 new:1"]);
    }

    #[test]
    fn a_value_put_elsewhere_is_set_by_what_put_it() {
        let mut object = node("a: {b: 1}\n", "old");
        let there = Place {
            file: "step".into(),
            line: 9,
            column: 1,
        };
        object.moved_by(&there);
        assert_eq!(chains(&object), ["/a/b old:1 step:9"]);
        object.moved_by(&there);
        assert_eq!(chains(&object), ["/a/b old:1 step:9"]);
    }
}
