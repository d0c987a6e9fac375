//! JSON6902 patches, with the meaning that the reference's library gives them.

use lockstep_manifest::Place;
use lockstep_manifest::pointer;
use lockstep_manifest::yaml::{Content, Node, Pair, Scalar, Tag};

use super::spent::{DEEPEST, Spent, depth, weight};
use super::take;
use crate::error::RenderError;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    place: Place,
    verb: Verb,
    path: Vec<String>,
    shown: String,
}

#[derive(Clone, Debug)]
enum Verb {
    Add(Node),
    Replace(Node),
    Remove,
    Test(Node),
    Copy(Vec<String>),
    Move(Vec<String>),
}

/// Reads a list of operations.
pub(crate) fn operations(node: &Node) -> Result<Vec<Operation>, RenderError> {
    take::list(node, "a JSON patch")?
        .iter()
        .map(operation)
        .collect()
}

fn operation(node: &Node) -> Result<Operation, RenderError> {
    let text = |key: &str| node.get(key).and_then(Node::as_text);
    let pointer = |key: &str| -> Result<(Vec<String>, String), RenderError> {
        let shown = text(key).unwrap_or_default();
        let parts = text(key).and_then(pointer::parts).ok_or_else(|| {
            RenderError::invalid(
                &node.place,
                format!("`{key}` is a JSON pointer, like /spec/replicas"),
            )
        })?;
        Ok((parts, shown.to_owned()))
    };
    let value = || {
        node.get("value")
            .cloned()
            .unwrap_or_else(|| Node::null(node.place.clone()))
    };
    let (path, shown) = pointer("path")?;
    let verb = match text("op").unwrap_or_default() {
        "add" => Verb::Add(value()),
        "replace" => Verb::Replace(value()),
        "remove" => Verb::Remove,
        "test" => Verb::Test(value()),
        "copy" => Verb::Copy(pointer("from")?.0),
        "move" => Verb::Move(pointer("from")?.0),
        other => {
            let what = format!("unknown operation {other:?}");
            return Err(RenderError::invalid_hint(
                &node.place,
                what,
                "an operation is add, replace, remove, test, copy or move",
            ));
        }
    };
    Ok(Operation {
        place: node.place.clone(),
        verb,
        path,
        shown,
    })
}

/// Applies the operations in order. The object goes through JSON, as the reference does it: dates become text and
/// numbers lose their spelling.
pub(crate) fn apply(
    object: &mut Node,
    operations: &[Operation],
    spent: &mut Spent,
) -> Result<(), RenderError> {
    through_json(object)?;
    operations
        .iter()
        .try_for_each(|operation| operation.apply(object, spent))
}

fn through_json(node: &mut Node) -> Result<(), RenderError> {
    node.link = 0;
    match &mut node.content {
        Content::List(items) => items.iter_mut().try_for_each(through_json),
        Content::Map(pairs) => pairs.iter_mut().try_for_each(|pair| {
            if pair.key.tag != Tag::Text {
                return Err(RenderError::invalid_hint(
                    &pair.place,
                    format!("the key {} is no text", pair.key.text),
                    "put it in quotes",
                ));
            }
            through_json(&mut pair.value)
        }),
        Content::Scalar(scalar) if matches!(scalar.tag, Tag::Text | Tag::Null | Tag::Bool) => {
            super::printed::refold(scalar);
            Ok(())
        }
        Content::Scalar(_) => {
            let value = node
                .to_value()
                .map_err(|e| RenderError::invalid(&e.place, e.what))?;
            node.content = Node::from_value(&value, &node.place).content;
            Ok(())
        }
    }
}

/// Do these take all annotations away, or put others in their place?
pub(crate) fn take_annotations(operations: &[Operation]) -> bool {
    let above = |path: &[String]| {
        ["metadata", "annotations"]
            .starts_with(&path.iter().map(String::as_str).collect::<Vec<_>>())
    };
    operations.iter().any(|operation| match &operation.verb {
        Verb::Add(_) | Verb::Replace(_) | Verb::Remove | Verb::Copy(_) => above(&operation.path),
        Verb::Move(from) => above(&operation.path) || above(from),
        Verb::Test(_) => false,
    })
}

impl Operation {
    fn fails(&self, why: impl std::fmt::Display) -> RenderError {
        RenderError::invalid(
            &self.place,
            format!("the JSON patch at {:?} fails: {why}", self.shown),
        )
    }

    fn apply(&self, object: &mut Node, spent: &mut Spent) -> Result<(), RenderError> {
        match &self.verb {
            Verb::Add(value) => self.add(object, value.clone(), spent),
            Verb::Replace(value) => self.replace(object, value.clone()),
            Verb::Remove => self.remove(object, &self.path, spent).map(drop),
            Verb::Test(value) => {
                let there = self.get(object, &self.path);
                let same = match there {
                    None => value.is_null(),
                    Some(there) => there.to_value().ok() == value.to_value().ok(),
                };
                if same {
                    Ok(())
                } else {
                    Err(self.fails("the test failed"))
                }
            }
            Verb::Copy(from) => {
                let mut value = self
                    .get(object, from)
                    .cloned()
                    .ok_or_else(|| self.fails("nothing to copy there"))?;
                // A copy into what was copied doubles an object, and again.
                spent.make(4 * weight(&value), &self.place)?;
                value.moved_by(&self.place);
                self.add(object, value, spent)
            }
            Verb::Move(from) => {
                let mut value = self.remove(object, from, spent)?;
                value.moved_by(&self.place);
                self.add(object, value, spent)
            }
        }
    }

    fn parent<'n>(
        &self,
        object: &'n mut Node,
        path: &[String],
    ) -> Result<(&'n mut Node, String), RenderError> {
        let Some((last, above)) = path.split_last() else {
            return Err(self.fails("the whole object cannot be replaced or removed"));
        };
        let mut at = object;
        for part in above {
            let next = match &mut at.content {
                Content::Map(pairs) => pairs
                    .iter_mut()
                    .find(|pair| pair.key.text == *part)
                    .map(|pair| &mut pair.value),
                Content::List(items) => index(part, items.len()).and_then(|at| items.get_mut(at)),
                Content::Scalar(_) => None,
            };
            at = next.ok_or_else(|| self.fails(format_args!("there is no {part:?} on the way")))?;
        }
        Ok((at, last.clone()))
    }

    #[expect(clippy::unused_self, reason = "one of a family")]
    fn get<'n>(&self, object: &'n Node, path: &[String]) -> Option<&'n Node> {
        path.iter().try_fold(object, |at, part| match &at.content {
            Content::Map(_) => at.get(part),
            Content::List(items) => index(part, items.len()).and_then(|at| items.get(at)),
            Content::Scalar(_) => None,
        })
    }

    fn check_depth(&self, value: &Node) -> Result<(), RenderError> {
        if self.path.len() + depth(value) > DEEPEST {
            return Err(RenderError::Limit {
                place: self.place.clone(),
                what: format!(
                    "the JSON patch at {:?} nests the object deeper than {DEEPEST}",
                    self.shown
                ),
            });
        }
        Ok(())
    }

    fn add(&self, object: &mut Node, value: Node, spent: &mut Spent) -> Result<(), RenderError> {
        self.check_depth(&value)?;
        let (parent, last) = self.parent(object, &self.path)?;
        // What is looked through or moved aside takes time in a patch of many operations.
        spent.make(length(parent), &self.place)?;
        match &mut parent.content {
            Content::Map(pairs) => {
                match pairs.iter_mut().find(|pair| pair.key.text == last) {
                    Some(pair) => pair.value.overwrite(value),
                    None => {
                        pairs.push(Pair {
                            key: Scalar::text(last),
                            place: value.place.clone(),
                            value,
                        });
                    }
                }
                Ok(())
            }
            Content::List(items) => {
                let length = items.len();
                let at = if last == "-" {
                    Some(length)
                } else {
                    insertion(&last, length)
                };
                match at {
                    Some(at) if at <= length => items.insert(at, value),
                    _ => {
                        return Err(
                            self.fails(format_args!("{last:?} is no index of a list of {length}"))
                        );
                    }
                }
                Ok(())
            }
            Content::Scalar(_) => Err(self.fails("its parent is neither a map nor a list")),
        }
    }

    fn replace(&self, object: &mut Node, value: Node) -> Result<(), RenderError> {
        self.check_depth(&value)?;
        let (parent, last) = self.parent(object, &self.path)?;
        match &mut parent.content {
            // A member that is missing is added: a slip of the reference's library that people rely on.
            Content::Map(_) => {
                parent.set_over(&last, value);
                Ok(())
            }
            Content::List(items) => {
                let length = items.len();
                match index(&last, length).and_then(|at| items.get_mut(at)) {
                    Some(item) => item.overwrite(value),
                    None => {
                        return Err(
                            self.fails(format_args!("{last:?} is no index of a list of {length}"))
                        );
                    }
                }
                Ok(())
            }
            Content::Scalar(_) => Err(self.fails("its parent is neither a map nor a list")),
        }
    }

    fn remove(
        &self,
        object: &mut Node,
        path: &[String],
        spent: &mut Spent,
    ) -> Result<Node, RenderError> {
        let (parent, last) = self.parent(object, path)?;
        spent.make(length(parent), &self.place)?;
        let removed = match &mut parent.content {
            Content::Map(_) => parent.remove(&last),
            Content::List(items) => index(&last, items.len()).map(|at| items.remove(at)),
            Content::Scalar(_) => None,
        };
        removed.ok_or_else(|| self.fails("there is nothing to remove"))
    }
}

fn length(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => items.len(),
        Content::Map(pairs) => pairs.len(),
    }
}

/// The index of an element that is there; `-1` is the last one.
fn index(part: &str, length: usize) -> Option<usize> {
    let number: i64 = part.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    let at = if number < 0 { number + length } else { number };
    (0..length)
        .contains(&at)
        .then(|| usize::try_from(at).ok())
        .flatten()
}

/// Where something is inserted: `-1` is behind the last one.
fn insertion(part: &str, length: usize) -> Option<usize> {
    index(part, length + 1)
}
