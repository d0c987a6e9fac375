//! What a build has cost so far: everything that a small text can multiply is counted here before it is done.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node};
use regex::{Regex, RegexBuilder};

use crate::error::RenderError;
use crate::limits::Limits;

/// What a value costs beside its text.
pub(crate) const VALUE: usize = 64;

/// What looking at one object for one entry costs. Most do no more than compare a few words.
pub(crate) const LOOK: usize = 16;

/// Compiling the smallest pattern takes as long as making this many bytes.
const PATTERN: usize = 1 << 10;

/// The same for one that counts: `(a{1000}){1000}` is small, and what it is compiled to is not.
const COUNTING_PATTERN: usize = 256 << 10;

/// Maps and lists of an object inside each other: what walks them is as deep on the stack. What is read is no deeper
/// than the reader's own limit, and what is made of it no deeper than this.
pub(crate) const DEEPEST: usize = 200;

/// The longest path to a field, in parts.
pub(crate) const LONGEST_FIELD_PATH: usize = 100;

/// The account of one build.
#[derive(Debug)]
pub(crate) struct Spent {
    made: usize,
    most: usize,
    regex_bytes: usize,
}

impl Spent {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            made: 0,
            most: limits.made_bytes,
            regex_bytes: limits.regex_bytes,
        }
    }

    /// Counts bytes that are about to be made, or work that takes as long.
    pub(crate) fn make(&mut self, bytes: usize, place: &Place) -> Result<(), RenderError> {
        self.made = self.made.saturating_add(bytes);
        if self.made > self.most {
            return Err(RenderError::Limit {
                place: place.clone(),
                what: format!(
                    "patches, generators and transformers make more than {} bytes",
                    self.most
                ),
            });
        }
        Ok(())
    }

    /// Counts one step over `many` things that are looked at one by one.
    pub(crate) fn look(&mut self, many: usize, place: &Place) -> Result<(), RenderError> {
        self.make(many.saturating_mul(LOOK), place)
    }

    /// A pattern of a user, with a bound on its size.
    pub(crate) fn regex(&mut self, pattern: &str, place: &Place) -> Result<Regex, RenderError> {
        let cost = if pattern.contains('{') {
            COUNTING_PATTERN
        } else {
            PATTERN
        };
        self.make(cost.saturating_add(pattern.len()), place)?;
        let built = RegexBuilder::new(pattern)
            .size_limit(self.regex_bytes)
            .build();
        built.map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => RenderError::Limit {
                place: place.clone(),
                what: format!("the regular expression takes more than {limit} bytes"),
            },
            other => {
                let text = other.to_string();
                let line = text.lines().last().unwrap_or_default();
                RenderError::invalid_hint(
                    place,
                    format!("{pattern:?} is no regular expression: {line}"),
                    "correct the pattern; a dot in a name can be written as it is",
                )
            }
        })
    }
}

/// What a copy of this costs.
pub(crate) fn weight(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(scalar) => VALUE + scalar.text.len(),
        Content::List(items) => VALUE + items.iter().map(weight).sum::<usize>(),
        Content::Map(pairs) => {
            let pair =
                |pair: &lockstep_manifest::yaml::Pair| pair.key.text.len() + weight(&pair.value);
            VALUE + pairs.iter().map(pair).sum::<usize>()
        }
    }
}

/// How many maps and lists are inside each other in this.
pub(crate) fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Content::Map(pairs) => {
            let depths = pairs.iter().map(|pair| depth(&pair.value));
            1 + depths.max().unwrap_or(0)
        }
    }
}
