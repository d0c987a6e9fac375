//! Field specifications: which field of which kinds, and walking to it.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node};

use super::resource::Gvk;
use super::spent::LONGEST_FIELD_PATH;
use crate::error::RenderError;

/// A field of some kinds. An empty group, version or kind matches any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    pub(crate) path: Vec<String>,
    pub(crate) create: bool,
}

/// What is made where a path's end is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// Nothing, ever.
    Nothing,
    /// A map, when the specification says to create.
    Map,
    /// A scalar, when the specification says to create.
    Scalar,
}

impl FieldSpec {
    pub(crate) fn new(group: &str, version: &str, kind: &str, path: &str, create: bool) -> Self {
        Self {
            gvk: Gvk::new(group, version, kind),
            path: split(path),
            create,
        }
    }

    /// Does an equal field exist already, as the reference compares them: the kinds of `self` within those of `other`?
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.gvk.is_selected_by(&other.gvk) && self.path == other.path
    }

    /// Calls `set` on every value at the path, through lists on the way. Places of what is made are `place`.
    pub(crate) fn each(
        &self,
        object: &mut Node,
        make: Make,
        place: &Place,
        set: &mut impl FnMut(&mut Node) -> Result<(), RenderError>,
    ) -> Result<(), RenderError> {
        if self.path.len() > LONGEST_FIELD_PATH {
            return Err(RenderError::Limit {
                place: place.clone(),
                what: format!("a path of more than {LONGEST_FIELD_PATH} parts to a field"),
            });
        }
        self.walk(&self.path, object, make, place, set)
    }

    // The recursion is as deep as the path is long plus the lists on the way, both bounded by the reader.
    fn walk(
        &self,
        path: &[String],
        node: &mut Node,
        make: Make,
        place: &Place,
        set: &mut impl FnMut(&mut Node) -> Result<(), RenderError>,
    ) -> Result<(), RenderError> {
        let Some((first, rest)) = path.split_first() else {
            return set(node);
        };
        if node.is_null() {
            return Ok(());
        }
        if let Content::List(items) = &mut node.content {
            return items
                .iter_mut()
                .try_for_each(|item| self.walk(path, item, make, place, set));
        }
        if node.as_map().is_none() {
            return Err(RenderError::invalid(
                &node.place,
                format!(
                    "{} is looked for below this value, which is neither a map nor a list",
                    self.path.join("/")
                ),
            ));
        }
        let (name, list) = match first.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (first.as_str(), false),
        };
        if self.create && make != Make::Nothing && !list {
            let made = if rest.is_empty() && make == Make::Scalar {
                Node::text("", place.clone())
            } else {
                Node::map(place.clone())
            };
            match node.get_mut(name) {
                None => node.set(name, made),
                Some(old) if old.is_null() => *old = made,
                Some(_) => {}
            }
        }
        match node.get_mut(name) {
            Some(below) => self.walk(rest, below, make, place, set),
            None => Ok(()),
        }
    }
}

/// Splits at `/`, but not at `\/`.
pub(crate) fn split(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, parts.last_mut()) {
            ('\\', Some(part)) if rest.next_if_eq(&'/').is_some() => part.push('/'),
            ('/', _) => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
