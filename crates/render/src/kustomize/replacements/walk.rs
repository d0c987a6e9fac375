//! A path like `spec.containers.[name=web].image`: looking it up, and setting what it leads to.

use lockstep_manifest::yaml::{self, Content, Dialect, Node, Pair, Scalar, Tag};

use super::TargetFields;
use crate::error::RenderError;
use crate::kustomize::spent::Spent;
use crate::kustomize::take::Text;

pub(super) fn look_up<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    match &node.content {
        Content::Map(_) => node.get(part),
        Content::List(items) => match condition(part) {
            Some((key, wanted)) => items
                .iter()
                .find(|item| element_value(item, key) == Some(wanted)),
            None if part == "-" => items.last(),
            None => part.parse::<usize>().ok().and_then(|at| items.get(at)),
        },
        Content::Scalar(_) => None,
    }
}

/// `[key=value]`; an empty key means the element itself.
fn condition(part: &str) -> Option<(&str, &str)> {
    part.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn element_value<'n>(item: &'n Node, key: &str) -> Option<&'n str> {
    if key.is_empty() {
        item.as_written()
    } else {
        item.get(key)?.as_written()
    }
}

/// Splits a path at its dots: not at `\.`, and not inside brackets. Brackets without `=` only keep a key together.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut inside = false;
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next_if_eq(&'.').is_some() => part.push('.'),
            '[' if part.is_empty() => {
                inside = true;
                part.push(c);
            }
            ']' if inside => {
                inside = false;
                part.push(c);
            }
            '.' if !inside => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    for part in &mut parts {
        let key = part
            .strip_prefix('[')
            .and_then(|part| part.strip_suffix(']'));
        if let Some(key) = key.filter(|key| !key.contains('=')) {
            *part = key.to_owned();
        }
    }
    parts
}

pub(super) struct Walk<'w> {
    pub(super) parts: &'w [String],
    pub(super) value: &'w Node,
    pub(super) target: &'w TargetFields,
    pub(super) path: &'w Text,
    pub(super) weight: usize,
}

impl Walk<'_> {
    /// Sets the value below this node; returns in how many places. As deep as the path is long.
    pub(super) fn set(
        &self,
        node: &mut Node,
        at: usize,
        spent: &mut Spent,
    ) -> Result<usize, RenderError> {
        let Some(part) = self.parts.get(at) else {
            self.put(node, spent)?;
            return Ok(1);
        };
        let create = self.target.options.create;
        let place = &self.path.place;
        if create && node.is_null() {
            let list = condition(part).is_some() || part.parse::<usize>().is_ok();
            *node = if list {
                Node::list(place.clone())
            } else {
                Node::map(place.clone())
            };
        }
        match &mut node.content {
            Content::Scalar(_) => Ok(0),
            Content::Map(pairs) => {
                if part == "*" && !pairs.iter().any(|pair| pair.key.text == "*") {
                    return pairs.iter_mut().try_fold(0, |sum, pair| {
                        Ok(sum + self.set(&mut pair.value, at + 1, spent)?)
                    });
                }
                if let Some(pair) = pairs.iter_mut().find(|pair| pair.key.text == *part) {
                    return self.set(&mut pair.value, at + 1, spent);
                }
                if !create {
                    return Ok(0);
                }
                let mut made = self.made(at + 1);
                let count = self.set(&mut made, at + 1, spent)?;
                pairs.push(Pair {
                    key: Scalar::text(part),
                    place: place.clone(),
                    value: made,
                });
                Ok(count)
            }
            Content::List(items) => self.set_in_list(items, part, at, spent),
        }
    }

    fn set_in_list(
        &self,
        items: &mut Vec<Node>,
        part: &str,
        at: usize,
        spent: &mut Spent,
    ) -> Result<usize, RenderError> {
        let (create, place) = (self.target.options.create, &self.path.place);
        if part == "*" {
            return items
                .iter_mut()
                .try_fold(0, |sum, item| Ok(sum + self.set(item, at + 1, spent)?));
        }
        if let Some((key, wanted)) = condition(part) {
            let pattern = spent.regex(wanted, place)?;
            let mut count = 0;
            let mut found = false;
            for item in items.iter_mut() {
                if element_value(item, key).is_some_and(|value| pattern.is_match(value)) {
                    found = true;
                    count += self.set(item, at + 1, spent)?;
                }
            }
            if found || !create {
                return Ok(count);
            }
            let mut made = if key.is_empty() {
                Node::text(wanted, place.clone())
            } else {
                let mut map = Node::map(place.clone());
                map.set(key, Node::text(wanted, place.clone()));
                map
            };
            count = self.set(&mut made, at + 1, spent)?;
            items.push(made);
            return Ok(count);
        }
        let length = items.len();
        let index = if part == "-" {
            length.checked_sub(1)
        } else {
            part.parse::<usize>().ok()
        };
        let Some(index) = index else {
            return Err(RenderError::invalid(
                place,
                format!(
                    "{:?} asks a list for {part:?}; write an index, `*` or [key=value]",
                    self.path.text
                ),
            ));
        };
        if let Some(item) = items.get_mut(index) {
            return self.set(item, at + 1, spent);
        }
        if create && index == length {
            let mut made = self.made(at + 1);
            let count = self.set(&mut made, at + 1, spent)?;
            items.push(made);
            return Ok(count);
        }
        Err(RenderError::invalid(
            place,
            format!("the list has {length} elements, and index {index} is asked for"),
        ))
    }

    /// What is created for the rest of the path.
    fn made(&self, at: usize) -> Node {
        let place = self.path.place.clone();
        match self.parts.get(at) {
            // The end: a place to put the value into, of its kind and type.
            None => match &self.value.content {
                Content::Scalar(_) => Node::new(Content::Scalar(Scalar::new(Tag::Null, "")), place),
                Content::List(_) | Content::Map(_) => Node::null(place),
            },
            Some(part) if condition(part).is_some() || part.parse::<usize>().is_ok() => {
                Node::list(place)
            }
            Some(_) => Node::map(place),
        }
    }

    fn put(&self, node: &mut Node, spent: &mut Spent) -> Result<(), RenderError> {
        let there = node.as_scalar().map_or(0, |scalar| scalar.text.len());
        spent.make(there + self.weight, &self.path.place)?;
        let options = &self.target.options;
        let mut value = self.value.clone();
        if !options.delimiter.is_empty() {
            let (Content::Scalar(there), Content::Scalar(new)) =
                (&node.content, &mut value.content)
            else {
                return Err(RenderError::invalid(
                    &self.path.place,
                    "a delimiter is for texts only",
                ));
            };
            let mut parts: Vec<&str> = there.text.split(options.delimiter.as_str()).collect();
            match usize::try_from(options.index) {
                Err(_) => parts.insert(0, &new.text),
                Ok(index) => match parts.get_mut(index) {
                    Some(part) => *part = &new.text,
                    None => parts.push(&new.text),
                },
            }
            new.text = parts.join(&options.delimiter);
        }
        let here = &self.path.place;
        match (&mut node.content, value.content) {
            // A scalar keeps what it is, and takes the text alone.
            (Content::Scalar(there), Content::Scalar(new)) => {
                if there.tag == Tag::Null {
                    there.tag = yaml::meaning(Dialect::Kustomize, &new.text);
                }
                there.text = new.text;
                if node.place == *here {
                    // It was made for this.
                    node.place = value.place;
                } else {
                    node.set_at(&value.place);
                }
                node.set_at(here);
            }
            (_, content) => {
                let mut new = Node::new(content, value.place);
                new.moved_by(here);
                node.overwrite(new);
            }
        }
        Ok(())
    }
}
