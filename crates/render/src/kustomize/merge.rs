//! Strategic merge, as the reference does it.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node};

use super::resource::Gvk;
use super::schema::{ListRule, Own, Schema};
use super::take::found;
use crate::error::RenderError;

/// The key that says what to do instead of merging.
const DIRECTIVE: &str = "$patch";

/// Merges a patch into an object; nothing is left when the patch says to delete it.
pub(crate) fn merge_object(
    object: Node,
    patch: &Node,
    own: Option<&Own>,
) -> Result<Option<Node>, RenderError> {
    let merge = Merge { own };
    let schema = merge
        .schema_of(&object)
        .or_else(|| merge.schema_of(patch))
        .unwrap_or(Schema::Unknown);
    merge.value(Some(object), patch, schema, &ListRule::Replace)
}

struct Merge<'o> {
    own: Option<&'o Own>,
}

/// What a map's `$patch` says.
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Node) -> Result<Directive, RenderError> {
    match patch.get(DIRECTIVE) {
        None => Ok(Directive::Merge),
        Some(node) => match node.as_written().unwrap_or_default() {
            "merge" => Ok(Directive::Merge),
            "replace" => Ok(Directive::Replace),
            "delete" => Ok(Directive::Delete),
            other => Err(RenderError::invalid_hint(
                &node.place,
                format!("unknown patch directive {other:?}"),
                "write `$patch: merge`, `replace` or `delete`",
            )),
        },
    }
}

fn mismatch(patch: &Node, dest: &Node) -> RenderError {
    RenderError::invalid_hint(
        &patch.place,
        format!(
            "the patch has {} where the object has {}",
            found(patch),
            found(dest)
        ),
        "give the patch the shape that the object has there",
    )
}

impl<'o> Merge<'o> {
    /// A value with `apiVersion` and `kind` says itself what it is.
    fn schema_of(&self, node: &Node) -> Option<Schema<'o>> {
        let text = |key: &str| node.get(key).and_then(Node::as_text);
        let (version, kind) = (text("apiVersion")?, text("kind")?);
        match Schema::root(self.own, &Gvk::parse(version, kind)) {
            Schema::Unknown => None,
            known => Some(known),
        }
    }

    // Both trees are no deeper than the reader's limit, and each step goes down in the patch.
    fn value(
        &self,
        dest: Option<Node>,
        patch: &Node,
        schema: Schema<'o>,
        rule: &ListRule<'o>,
    ) -> Result<Option<Node>, RenderError> {
        let dest = dest.filter(|dest| !dest.is_null());
        match &patch.content {
            Content::Scalar(_) if patch.is_null() => Ok(None),
            Content::Scalar(_) => match dest {
                Some(dest) if dest.as_scalar().is_none() => Err(mismatch(patch, &dest)),
                _ => Ok(Some(patch.clone())),
            },
            Content::Map(_) => {
                let dest = match (directive(patch)?, dest) {
                    (Directive::Delete, _) => return Ok(None),
                    (Directive::Replace, _) | (_, None) => Node::map(patch.place.clone()),
                    (Directive::Merge, Some(dest)) if dest.as_map().is_none() => {
                        return Err(mismatch(patch, &dest));
                    }
                    (Directive::Merge, Some(dest)) => dest,
                };
                self.map(dest, patch, schema).map(Some)
            }
            Content::List(items) => match dest {
                Some(dest) if dest.as_list().is_none() => Err(mismatch(patch, &dest)),
                dest => self.list(dest, patch, items, schema, rule).map(Some),
            },
        }
    }

    fn map(&self, mut dest: Node, patch: &Node, schema: Schema<'o>) -> Result<Node, RenderError> {
        let schema = self
            .schema_of(&dest)
            .or_else(|| self.schema_of(patch))
            .unwrap_or(schema);
        for pair in patch.as_map().unwrap_or_default() {
            let key = pair.key.text.as_str();
            if key == DIRECTIVE {
                continue;
            }
            let (below, rule) = schema.field(key);
            let nothing = || Node::null(Place::clone(&pair.place));
            let slot = dest
                .get_mut(key)
                .map(|old| std::mem::replace(old, nothing()));
            let had = slot.is_some();
            match self.value(slot, &pair.value, below, &rule)? {
                Some(value) if had => dest.set(key, value),
                Some(value) => {
                    if let Some(pairs) = dest.as_map_mut() {
                        pairs.push(lockstep_manifest::yaml::Pair {
                            value,
                            ..pair.clone()
                        });
                    }
                }
                None => drop(dest.remove(key)),
            }
        }
        Ok(dest)
    }

    fn list(
        &self,
        dest: Option<Node>,
        patch: &Node,
        items: &[Node],
        schema: Schema<'o>,
        rule: &ListRule<'o>,
    ) -> Result<Node, RenderError> {
        let place = patch.place.clone();
        let old = match dest.map(|dest| dest.content) {
            Some(Content::List(old)) => old,
            _ => Vec::new(),
        };
        let new = match rule {
            ListRule::Replace => items.to_vec(),
            ListRule::Set => {
                let text = |node: &Node| node.as_scalar().map(|scalar| scalar.text.clone());
                let mut new: Vec<Node> = Vec::new();
                for item in items.iter().chain(&old) {
                    if !new.iter().any(|known| text(known) == text(item)) {
                        new.push(item.clone());
                    }
                }
                new
            }
            ListRule::Keys(keys) => self.keyed(old, items, keys, schema)?,
        };
        Ok(Node::new(Content::List(new), place))
    }

    /// Patch elements first, merged with their matches; then what the patch does not mention.
    fn keyed(
        &self,
        old: Vec<Node>,
        items: &[Node],
        keys: &[&str],
        schema: Schema<'o>,
    ) -> Result<Vec<Node>, RenderError> {
        let alone = |item: &&Node| {
            item.as_map().is_some_and(|pairs| pairs.len() == 1) && item.get(DIRECTIVE).is_some()
        };
        let mut old: Vec<Option<Node>> = old.into_iter().map(Some).collect();
        if let Some(item) = items.iter().find(alone) {
            match directive(item)? {
                Directive::Delete => return Ok(Vec::new()),
                Directive::Replace => old.clear(),
                Directive::Merge => {}
            }
        }
        let items: Vec<&Node> = items.iter().filter(|item| !alone(item)).collect();
        let everything = items.iter().copied().chain(old.iter().flatten());
        let valid: Vec<&str> = {
            let all: Vec<&Node> = everything.collect();
            keys.iter()
                .copied()
                .filter(|key| all.iter().any(|item| value_of(item, key).is_some()))
                .collect()
        };
        let mut new = Vec::new();
        for item in items {
            let at = find(&old, item, &valid);
            let slot = at.and_then(|at| old.get_mut(at));
            // With several keys the reference leaves what it merged where it was.
            if let Some(slot) = slot.filter(|_| valid.len() > 1) {
                *slot = self.value(slot.take(), item, schema, &ListRule::Replace)?;
                continue;
            }
            let dest = at.and_then(|at| old.get_mut(at)).and_then(Option::take);
            new.extend(self.value(dest, item, schema, &ListRule::Replace)?);
        }
        new.extend(old.into_iter().flatten());
        Ok(new)
    }
}

fn value_of<'n>(item: &'n Node, key: &str) -> Option<&'n str> {
    item.get(key)
        .and_then(Node::as_written)
        .filter(|text| !text.is_empty())
}

/// The element that agrees on all keys; else the only one that agrees on those that both have.
fn find(old: &[Option<Node>], item: &Node, keys: &[&str]) -> Option<usize> {
    if keys.iter().all(|key| value_of(item, key).is_none()) {
        return None;
    }
    let agrees = |dest: &Node, strict: bool| {
        let mut shared = false;
        let holds = keys
            .iter()
            .all(|key| match (value_of(dest, key), value_of(item, key)) {
                (Some(a), Some(b)) => {
                    shared = true;
                    a == b
                }
                (None, None) => true,
                _ => !strict,
            });
        holds && shared
    };
    let all = |strict: bool| {
        let dests = old
            .iter()
            .enumerate()
            .filter_map(|(at, dest)| Some((at, dest.as_ref()?)));
        dests
            .filter(|(_, dest)| agrees(dest, strict))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    if let Some(at) = all(true).first() {
        return Some(*at);
    }
    match all(false).as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}
