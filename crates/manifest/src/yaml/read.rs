//! The reader: the parser's events into nodes, with anchors, merges and limits.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{
    Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag as WrittenTag,
};

use super::node::binary;
use super::scalar;
use super::{Content, Dialect, Limits, Node, Pair, Scalar, Style, Tag, YamlError};
use crate::places::Place;

pub(super) struct Reader<'l> {
    dialect: Dialect,
    file: Arc<str>,
    limits: &'l Limits,
    unique_keys: bool,
    nodes: usize,
    alias_bytes: usize,
    anchors: HashMap<usize, Anchor>,
    open: Vec<Open>,
    documents: Vec<Node>,
    document: Option<Node>,
}

/// What an anchor stands for, and what one more copy of it costs.
struct Anchor {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A map or list that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    flow: bool,
    size: Size,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map {
        pairs: Vec<Pair>,
        key: Option<(Scalar, Place)>,
        /// Where each key stands in `pairs`.
        seen: HashMap<(String, Tag), usize>,
        merges: Vec<Node>,
    },
}

/// A map with fewer keys is searched for a repeated one without a set.
const SMALL_MAP: usize = 16;

impl<'l> Reader<'l> {
    pub(super) fn new(dialect: Dialect, file: &str, limits: &'l Limits, unique_keys: bool) -> Self {
        Self {
            dialect,
            file: file.into(),
            limits,
            unique_keys,
            nodes: 0,
            alias_bytes: 0,
            anchors: HashMap::new(),
            open: Vec::new(),
            documents: Vec::new(),
            document: None,
        }
    }

    pub(super) fn read(mut self, text: &[u8]) -> Result<Vec<Node>, YamlError> {
        if text.len() > self.limits.bytes {
            let message = format!(
                "the file has {} bytes, more than the limit of {}",
                text.len(),
                self.limits.bytes
            );
            return Err(YamlError::at(&self.place(1, 1), message));
        }
        let text = std::str::from_utf8(text).map_err(|e| {
            let before = text.get(..e.valid_up_to()).unwrap_or_default();
            let line = before.split(|b| *b == b'\n').count();
            YamlError::at(&self.place(line, 1), "the file is not UTF-8 text")
        })?;
        if self.dialect == Dialect::Kustomize {
            self.check_separators(text)?;
        }
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = self.limits.depth;
        options.block_nesting_limit = self.limits.depth;
        options.disallow_directives = self.dialect == Dialect::Kustomize;
        let mut parser = Parser::new_from_str_with_options(text, options);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|e| self.scan_error(&e))?;
            self.event(event, &span)?;
        }
        Ok(self.documents)
    }

    /// yaml.v3's caller splits documents by their lines first, and takes no text behind `---`.
    fn check_separators(&self, text: &str) -> Result<(), YamlError> {
        for (at, line) in text.lines().enumerate() {
            let Some(rest) = line.strip_prefix("---") else {
                continue;
            };
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                return Err(YamlError::at(
                    &self.place(at + 1, 4),
                    "a document separator is `---` alone on its line",
                ));
            }
        }
        Ok(())
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        let marker = error.marker();
        let mut message = error.info();
        if message.is_empty() {
            "not YAML".clone_into(&mut message);
        }
        YamlError::at(&self.place(marker.line().max(1), marker.col() + 1), message)
    }

    fn place(&self, line: usize, column: usize) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let place = self.place(span.start.line(), span.start.col() + 1);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.document = None;
            }
            Event::DocumentEnd => {
                let Some(node) = self.document.take() else {
                    return Ok(());
                };
                // An empty document, or one of comments alone, comes as an absent value.
                if node.is_null() && node.as_scalar().is_some_and(|s| s.text.is_empty()) {
                    return Ok(());
                }
                if self.documents.len() >= self.limits.documents {
                    let message = format!("more than {} documents", self.limits.documents);
                    return Err(YamlError::at(&place, message));
                }
                self.documents.push(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let empty = span.start.index() == span.end.index();
                let scalar = self.scalar(&text, style, tag.as_deref(), empty, &place)?;
                let merge = style == ScalarStyle::Plain && scalar.text == "<<";
                self.value(Node::new(Content::Scalar(scalar), place), anchor, merge)?;
            }
            Event::SequenceStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.start(place, anchor, flow, Inside::List(Vec::new()))?;
            }
            Event::MappingStart(style, anchor, _) => {
                let inside = Inside::Map {
                    pairs: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                    merges: Vec::new(),
                };
                self.start(place, anchor, style == StructureStyle::Flow, inside)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => self.alias(anchor, &place)?,
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&WrittenTag>,
        empty: bool,
        place: &Place,
    ) -> Result<Scalar, YamlError> {
        let mut text = Cow::Borrowed(text);
        let tag = match tag {
            None if style != ScalarStyle::Plain => Tag::Text,
            None if empty => {
                text = Cow::Borrowed("");
                Tag::Null
            }
            None => match scalar::resolve(self.dialect, &text) {
                // Between brackets the reference has to quote it when it writes it, and then it is a text.
                Tag::Date
                    if text.contains(':') && self.open.last().is_some_and(|open| open.flow) =>
                {
                    Tag::Text
                }
                tag => tag,
            },
            Some(tag) => {
                if empty {
                    text = Cow::Borrowed("");
                }
                let found = scalar::resolve(self.dialect, &text);
                let wrong = |what: &str| {
                    YamlError::at(place, format!("{text:?} is tagged {what} and is none"))
                };
                match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
                    Some("int") if found == Tag::Int => Tag::Int,
                    Some("int") => return Err(wrong("a whole number")),
                    Some("float") if matches!(found, Tag::Int | Tag::Float) => Tag::Float,
                    Some("float") => return Err(wrong("a number")),
                    Some("bool") if found == Tag::Bool => Tag::Bool,
                    Some("bool") => return Err(wrong("a truth value")),
                    Some("null") => Tag::Null,
                    Some("timestamp") if scalar::date(&text).is_some() => {
                        if self.dialect == Dialect::Kustomize {
                            Tag::Date
                        } else {
                            Tag::Text
                        }
                    }
                    Some("timestamp") => return Err(wrong("a date")),
                    Some("binary") => {
                        let bytes = binary(&text).ok_or_else(|| wrong("base64"))?;
                        text = String::from_utf8(bytes)
                            .map_err(|_| {
                                YamlError::at(
                                    place,
                                    "a !!binary value that is no text cannot be JSON",
                                )
                            })?
                            .into();
                        Tag::Text
                    }
                    _ => Tag::Text,
                }
            }
        };
        if self.dialect == Dialect::Kubectl && tag == Tag::Bool {
            let truth = scalar::truth(self.dialect, &text).unwrap_or_default();
            return Ok(Scalar::new(tag, truth.to_string()));
        }
        Ok(Scalar {
            tag,
            text: text.into_owned(),
            style: written(style),
        })
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.nodes {
            let message = format!(
                "more than {} values, anchors and aliases included",
                self.limits.nodes
            );
            return Err(YamlError::at(place, message));
        }
        Ok(())
    }

    fn start(
        &mut self,
        place: Place,
        anchor: usize,
        flow: bool,
        inside: Inside,
    ) -> Result<(), YamlError> {
        self.count(1, &place)?;
        self.deep(1, &place)?;
        self.open.push(Open {
            place,
            anchor,
            flow,
            size: Size::default(),
            inside,
        });
        Ok(())
    }

    fn deep(&self, height: usize, place: &Place) -> Result<(), YamlError> {
        if self.open.len() + height > self.limits.depth {
            let message = format!("maps and lists nested deeper than {}", self.limits.depth);
            return Err(YamlError::at(place, message));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let content = match open.inside {
            Inside::List(items) => Content::List(items),
            Inside::Map {
                mut pairs, merges, ..
            } => {
                merge_into(&mut pairs, merges)?;
                Content::Map(pairs)
            }
        };
        let size = Size {
            nodes: open.size.nodes + 1,
            bytes: open.size.bytes,
            height: open.size.height + 1,
        };
        let node = Node::new(content, open.place);
        self.keep(open.anchor, &node, size)?;
        self.put(node, size, false)
    }

    fn value(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), YamlError> {
        self.count(1, &node.place)?;
        let bytes = node.as_scalar().map_or(0, |scalar| scalar.text.len());
        let size = Size {
            nodes: 1,
            bytes,
            height: 0,
        };
        self.keep(anchor, &node, size)?;
        self.put(node, size, merge)
    }

    /// Keeps a copy for aliases. It costs as much as one: anchors inside each other would copy all that is in them.
    fn keep(&mut self, anchor: usize, node: &Node, size: Size) -> Result<(), YamlError> {
        if anchor == 0 {
            return Ok(());
        }
        self.copies(size, &node.place)?;
        let node = node.clone();
        self.anchors.insert(anchor, Anchor { node, size });
        Ok(())
    }

    fn copies(&mut self, size: Size, place: &Place) -> Result<(), YamlError> {
        self.count(size.nodes, place)?;
        self.alias_bytes = self.alias_bytes.saturating_add(size.bytes);
        if self.alias_bytes > self.limits.alias_bytes {
            let message = format!(
                "anchors and aliases repeat more than {} bytes",
                self.limits.alias_bytes
            );
            return Err(YamlError::at(place, message));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: &Place) -> Result<(), YamlError> {
        let Some(known) = self.anchors.get(&anchor) else {
            return Err(YamlError::at(
                place,
                "an alias inside of what it stands for",
            ));
        };
        let size = known.size;
        self.copies(size, place)?;
        self.deep(size.height, place)?;
        let node = self.anchors.get(&anchor).map(|known| known.node.clone());
        match node {
            Some(node) => self.put(node, size, false),
            None => Ok(()),
        }
    }

    /// Puts a finished node where it belongs: into the innermost open map or list, or as the document.
    fn put(&mut self, node: Node, size: Size, merge: bool) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        open.size.nodes += size.nodes;
        open.size.bytes += size.bytes;
        open.size.height = open.size.height.max(size.height);
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map {
                pairs,
                key,
                seen,
                merges,
            } => match key.take() {
                None => {
                    let place = node.place.clone();
                    let Content::Scalar(mut scalar) = node.content else {
                        return Err(YamlError::at(&place, "a map or a list as a key"));
                    };
                    if merge {
                        // Remembered as a key that no text can be: a text key `<<` is Tag::Text.
                        scalar.tag = Tag::Null;
                    } else if self.dialect == Dialect::Kubectl {
                        scalar = key_text(scalar);
                    }
                    *key = Some((scalar, place));
                }
                Some((scalar, _)) if scalar.tag == Tag::Null && scalar.text == "<<" => {
                    merges.push(node);
                }
                Some((scalar, place)) => {
                    let again = if pairs.len() < SMALL_MAP {
                        pairs.iter().position(|pair| {
                            pair.key.text == scalar.text && pair.key.tag == scalar.tag
                        })
                    } else {
                        if seen.is_empty() {
                            let known = pairs.iter().enumerate();
                            seen.extend(
                                known.map(|(at, pair)| ((pair.key.text.clone(), pair.key.tag), at)),
                            );
                        }
                        match seen.entry((scalar.text.clone(), scalar.tag)) {
                            Entry::Occupied(known) => Some(*known.get()),
                            Entry::Vacant(new) => {
                                new.insert(pairs.len());
                                None
                            }
                        }
                    };
                    match again.and_then(|at| pairs.get_mut(at)) {
                        Some(old) if self.unique_keys => {
                            let message = format!(
                                "the key {:?} stands in line {} already",
                                scalar.text, old.place.line
                            );
                            return Err(YamlError::at(&place, message));
                        }
                        Some(old) => {
                            *old = Pair {
                                key: scalar,
                                place,
                                value: node,
                            }
                        }
                        None => pairs.push(Pair {
                            key: scalar,
                            place,
                            value: node,
                        }),
                    }
                }
            },
        }
        Ok(())
    }
}

fn written(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

/// A key as Go's YAML-to-JSON conversion writes it.
fn key_text(key: Scalar) -> Scalar {
    let text = match key.tag {
        Tag::Int => {
            scalar::go_int(&key.text.replace('_', "")).map_or(key.text, |number| number.to_string())
        }
        Tag::Float => scalar::go_float(&key.text).map_or(key.text, scalar::go_g),
        Tag::Null => "null".to_owned(),
        Tag::Bool | Tag::Text | Tag::Date => key.text,
    };
    Scalar::text(text)
}

/// What `<<` brings: keys of its own win, then those of the first map named.
fn merge_into(pairs: &mut Vec<Pair>, merges: Vec<Node>) -> Result<(), YamlError> {
    if merges.is_empty() {
        return Ok(());
    }
    let mut known: HashSet<String> = pairs.iter().map(|pair| pair.key.text.clone()).collect();
    for from in merges {
        let maps = match from.content {
            Content::List(items) => items,
            content => vec![Node::new(content, from.place)],
        };
        for map in maps {
            let Content::Map(more) = map.content else {
                return Err(YamlError::at(
                    &map.place,
                    "`<<` takes a map or a list of maps",
                ));
            };
            let brought = pairs.len();
            pairs.extend(
                more.into_iter()
                    .filter(|pair| !known.contains(&pair.key.text)),
            );
            let brought = pairs.iter().skip(brought);
            known.extend(brought.map(|pair| pair.key.text.clone()));
        }
    }
    Ok(())
}
