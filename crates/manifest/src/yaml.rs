//! Reading YAML as Go's readers do, with the place of every value, and writing it as the reference does.
//!
//! Reading order: [`node`] is what a document is read into, `scalar` what a plain word means in each [`Dialect`],
//! `read` the reader, [`order`] how keys are sorted, [`write`](mod@write) the writer. Two dialects, because kubectl and
//! plain directories go by Go's yaml.v2 and resources inside a kustomization by yaml.v3; which one is always an
//! argument. Source: sections 2 and 3 of the project's notes on Kustomize 5.5.

mod history;
pub mod node;
pub mod order;
mod read;
mod scalar;
#[cfg(test)]
mod tests;
pub mod write;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use node::{Content, Node, NotJson, Pair, Scalar, Style, Tag};
pub use write::{Spot, print_leaves, print_manifests, print_value};

use crate::object::Manifest;
use crate::places::Place;

/// Whose rules a text is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Go's yaml.v2: kubectl, Helm, plain directories, kustomization files. `yes`, `on` and `n` are booleans, also as
    /// keys; dates are text; keys become text; the last of equal keys wins.
    Kubectl,
    /// Go's yaml.v3: resources and patches inside a kustomization. Only `true` and `false` are booleans; dates are
    /// timestamps; scalars keep their text; equal keys are an error.
    Kustomize,
}

/// What one text may cost. Every limit is checked before memory is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the text in bytes.
    pub bytes: usize,
    /// Documents in one text.
    pub documents: usize,
    /// Maps and lists inside each other, aliases counted where they stand.
    pub depth: usize,
    /// Values, aliases counted as what they stand for.
    pub nodes: usize,
    /// Bytes of text that aliases add by repeating what they stand for.
    pub alias_bytes: usize,
}

impl Default for Limits {
    /// The largest CRD bundles known have 6 MB, 400 documents, 60 levels and 150,000 values.
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            documents: 10_000,
            depth: 100,
            nodes: 2_000_000,
            alias_bytes: 16 << 20,
        }
    }
}

/// A text is no YAML, or costs more than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// What is wrong, as a clause.
    pub message: String,
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// `web.yaml:3:7: …`; without a file's name, `line 3, column 7: …`.
impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            file,
            line,
            column,
        } = self;
        if file.is_empty() {
            write!(f, "line {line}, column {column}: {message}")
        } else {
            write!(f, "{file}:{line}:{column}: {message}")
        }
    }
}

impl std::error::Error for YamlError {}

impl YamlError {
    fn at(place: &Place, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            file: Arc::clone(&place.file),
            line: place.line,
            column: place.column,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
        }
    }
}

/// Reads all documents of a text; empty ones and those of comments alone are left out.
pub fn read(
    text: &[u8],
    dialect: Dialect,
    file: &str,
    limits: &Limits,
) -> Result<Vec<Node>, YamlError> {
    read::Reader::new(dialect, file, limits, dialect == Dialect::Kustomize).read(text)
}

/// Reads the objects of a text as kubectl does. `kind: List` is left as it stands.
///
/// Errors: also a document that is no object, with its place.
pub fn read_yaml(text: &[u8]) -> Result<Vec<Manifest>, YamlError> {
    read_objects(text, "", &Limits::default())
}

/// The same for a file that has a name, within limits: the objects know where their leaves were written.
pub fn read_objects(text: &[u8], file: &str, limits: &Limits) -> Result<Vec<Manifest>, YamlError> {
    let documents = read(text, Dialect::Kubectl, file, limits)?;
    documents
        .iter()
        .filter(|node| !node.is_null())
        .map(manifest)
        .collect()
}

/// What a word means when it stands without quotes.
pub fn meaning(dialect: Dialect, word: &str) -> Tag {
    scalar::resolve(dialect, word)
}

/// One node as an object with its places. Errors: it is none, or has a value that JSON does not.
pub fn manifest(node: &Node) -> Result<Manifest, YamlError> {
    let value = node
        .to_value()
        .map_err(|e| YamlError::at(&e.place, e.to_string()))?;
    let object = Manifest::from_value(value)
        .map_err(|e| YamlError::at(&node.place, format!("not an object: {e}")))?;
    Ok(object.with_places(node.places()))
}

/// One document with the place of every value in it: for configuration files.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value; null for an empty text.
    pub value: Value,
    places: Vec<(String, Place)>,
}

impl Document {
    /// Where the value at a JSON pointer was written, or the nearest map or list above it.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let mut at = pointer;
        loop {
            if let Ok(found) = self.places.binary_search_by(|(p, _)| p.as_str().cmp(at)) {
                return self.places.get(found).map(|(_, place)| place.clone());
            }
            at = at.rfind('/').map(|cut| &at[..cut])?;
        }
    }
}

/// Reads a text of one document, by kubectl's rules but for equal keys, which are an error here.
///
/// Errors: more than one document, too.
pub fn document(text: &[u8], file: &str) -> Result<Document, YamlError> {
    let documents =
        read::Reader::new(Dialect::Kubectl, file, &Limits::default(), true).read(text)?;
    if let Some(second) = documents.get(1) {
        return Err(YamlError::at(
            &second.place,
            "a second document, where one is expected",
        ));
    }
    let start = Place {
        file: file.into(),
        line: 1,
        column: 1,
    };
    let Some(node) = documents.into_iter().next() else {
        return Ok(Document {
            value: Value::Null,
            places: vec![(String::new(), start)],
        });
    };
    let value = node
        .to_value()
        .map_err(|e| YamlError::at(&e.place, e.to_string()))?;
    let mut places = Vec::new();
    node.each(&mut String::new(), true, &mut |at, node| {
        places.push((at.to_owned(), node.place.clone()));
    });
    places.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Document { value, places })
}
