//! Strategic merge, as the reference does it.

use std::cell::RefCell;

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Pair, Style, Tag};

use super::resource::Gvk;
use super::schema::{ListRule, Own, Schema};
use super::spent::Spent;
use super::take::found;
use crate::error::RenderError;

/// The key that says what to do instead of merging.
const DIRECTIVE: &str = "$patch";

/// Merges a patch into an object; nothing is left when the patch says to delete it.
pub(crate) fn merge_object(
    object: Node,
    patch: &Node,
    own: Option<&Own>,
    spent: &mut Spent,
) -> Result<Option<Node>, RenderError> {
    let merge = Merge {
        own,
        spent: RefCell::new(spent),
    };
    let schema = merge
        .schema_of(&object)
        .or_else(|| merge.schema_of(patch))
        .unwrap_or(Schema::Unknown);
    merge.value(Some(object), patch, schema, &ListRule::Replace, false)
}

struct Merge<'o, 's> {
    own: Option<&'o Own>,
    spent: RefCell<&'s mut Spent>,
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

/// A scalar put where another one stands is written as that one was: in quotes, a number is a text.
fn scalar_into(dest: &Node, patch: &Node) -> Node {
    let mut new = patch.clone();
    new.link = dest.link;
    new.follow(dest);
    if let (Content::Scalar(new), Some(old)) = (&mut new.content, dest.as_scalar()) {
        new.style = old.style;
        if old.style != Style::Plain {
            new.tag = Tag::Text;
        }
    }
    new
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

impl<'o> Merge<'o, '_> {
    /// Keys and elements are looked for one by one, so two long lists take their product.
    fn look(&self, many: usize, by: usize, place: &Place) -> Result<(), RenderError> {
        let mut spent = self.spent.borrow_mut();
        spent.make(many.saturating_mul(by) / 16, place)
    }

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
        within_new: bool,
    ) -> Result<Option<Node>, RenderError> {
        let dest = dest.filter(|dest| !dest.is_null());
        match &patch.content {
            Content::Scalar(_) if patch.is_null() => Ok(None),
            Content::Scalar(_) => match dest {
                Some(dest) if dest.as_scalar().is_none() => Err(mismatch(patch, &dest)),
                Some(dest) => Ok(Some(scalar_into(&dest, patch))),
                None => Ok(Some(patch.clone())),
            },
            Content::Map(_) => {
                let nothing = || Node::map(patch.place.clone());
                let (dest, new, replaced) = match (directive(patch)?, dest) {
                    (Directive::Delete, _) => return Ok(None),
                    (Directive::Replace, old) => (nothing(), true, old),
                    (_, None) => (nothing(), true, None),
                    (Directive::Merge, Some(dest)) if dest.as_map().is_none() => {
                        return Err(mismatch(patch, &dest));
                    }
                    (Directive::Merge, Some(dest)) => (dest, false, None),
                };
                let mut merged = self.map(dest, patch, schema, new)?;
                if let Some(old) = replaced {
                    merged.follow(&old);
                }
                Ok(Some(merged))
            }
            Content::List(items) => match dest {
                Some(dest) if dest.as_list().is_none() => Err(mismatch(patch, &dest)),
                dest => self.list(dest, patch, items, schema, rule, within_new),
            },
        }
    }

    fn map(
        &self,
        mut dest: Node,
        patch: &Node,
        schema: Schema<'o>,
        new: bool,
    ) -> Result<Node, RenderError> {
        let schema = self
            .schema_of(&dest)
            .or_else(|| self.schema_of(patch))
            .unwrap_or(schema);
        let length = |node: &Node| node.as_map().map_or(0, <[_]>::len);
        self.look(
            2 * (length(&dest) + length(patch)),
            length(patch),
            &patch.place,
        )?;
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
            match self.value(slot, &pair.value, below, &rule, new)? {
                Some(value) if had => dest.set(key, value),
                Some(value) => {
                    if let Some(pairs) = dest.as_map_mut() {
                        pairs.push(Pair {
                            key: pair.key.clone(),
                            place: pair.place.clone(),
                            value,
                        });
                    }
                }
                None => drop(dest.remove(key)),
            }
        }
        self.untouched_but(&mut dest, patch, schema)?;
        Ok(dest)
    }

    fn untouched_but(
        &self,
        dest: &mut Node,
        patch: &Node,
        schema: Schema<'o>,
    ) -> Result<(), RenderError> {
        if matches!(schema, Schema::Unknown) {
            return Ok(());
        }
        for pair in dest.as_map_mut().into_iter().flatten() {
            if patch.get(&pair.key.text).is_none() {
                let (below, rule) = schema.field(&pair.key.text);
                self.settle(&mut pair.value, below, &rule)?;
            }
        }
        Ok(())
    }

    /// What a patch does not mention is looked at all the same: lists that merge lose elements that are in them twice.
    fn settle(
        &self,
        value: &mut Node,
        schema: Schema<'o>,
        rule: &ListRule<'o>,
    ) -> Result<(), RenderError> {
        match (&mut value.content, rule) {
            (Content::Map(_), _) => {
                let schema = self.schema_of(value).unwrap_or(schema);
                self.untouched(value, schema)
            }
            (Content::List(items), ListRule::Keys(keys)) => {
                if let Some(left) =
                    self.keyed(Some(std::mem::take(items)), Vec::new(), keys, schema, false)?
                {
                    *items = left;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn untouched(&self, dest: &mut Node, schema: Schema<'o>) -> Result<(), RenderError> {
        if matches!(schema, Schema::Unknown) {
            return Ok(());
        }
        for pair in dest.as_map_mut().into_iter().flatten() {
            let (below, rule) = schema.field(&pair.key.text);
            self.settle(&mut pair.value, below, &rule)?;
        }
        Ok(())
    }

    fn list(
        &self,
        dest: Option<Node>,
        patch: &Node,
        items: &[Node],
        schema: Schema<'o>,
        rule: &ListRule<'o>,
        within_new: bool,
    ) -> Result<Option<Node>, RenderError> {
        // The list without its items still says where it was set.
        let mut before = dest;
        let old = before
            .as_mut()
            .and_then(Node::as_list_mut)
            .map(std::mem::take);
        let new = match rule {
            ListRule::Replace => Some(items.to_vec()),
            ListRule::Set => {
                let text = |node: &Node| node.as_scalar().map(|scalar| scalar.text.clone());
                let all = items.len() + old.as_ref().map_or(0, Vec::len);
                self.look(2 * all, all, &patch.place)?;
                let mut new: Vec<Node> = Vec::new();
                for item in items.iter().chain(old.iter().flatten()) {
                    match new.iter_mut().find(|known| text(known) == text(item)) {
                        Some(known) => known.follow(item),
                        None => new.push(item.clone()),
                    }
                }
                Some(new)
            }
            ListRule::Keys(keys) => self.keyed(old, items.to_vec(), keys, schema, within_new)?,
        };
        Ok(new.map(|new| {
            let mut list = Node::new(Content::List(new), patch.place.clone());
            match before {
                Some(before) if matches!(rule, ListRule::Replace) => list.follow(&before),
                Some(before) => list.trail = before.trail.then(&before.place),
                None => {}
            }
            list
        }))
    }

    /// Merges two lists by keys, step by step as the reference does, which shows when keys are missing or come twice:
    /// merged elements are collected in the order patch, object; then those of the object are put among them again.
    fn keyed(
        &self,
        dest: Option<Vec<Node>>,
        mut patch: Vec<Node>,
        keys: &[&str],
        schema: Schema<'o>,
        within_new: bool,
    ) -> Result<Option<Vec<Node>>, RenderError> {
        let said = patch.iter().position(|item| item.get(DIRECTIVE).is_some());
        let said = said.filter(|at| {
            patch
                .get(*at)
                .and_then(Node::as_map)
                .is_some_and(|pairs| pairs.len() == 1)
        });
        // A list that the object lacks, or that the patch replaces, is merged with itself. A directive counts when
        // there is a list to direct: the object's, or, in what is new as a whole, its own.
        let dest = match said.filter(|_| within_new || dest.is_some()) {
            None => dest,
            Some(at) => match directive(&patch.remove(at))? {
                Directive::Delete => return Ok(None),
                Directive::Replace => None,
                Directive::Merge => dest,
            },
        };
        let itself = dest.is_none();
        let all = patch.len() + dest.as_ref().map_or(0, Vec::len);
        if let Some(first) = patch
            .first()
            .or(dest.as_ref().and_then(|dest| dest.first()))
        {
            // Several times, and each time a list is made anew.
            self.look(16 * all, all, &first.place)?;
        }
        let mut values: Vec<Vec<String>> = Vec::new();
        for item in patch.iter().chain(dest.iter().flatten()) {
            let of: Vec<String> = keys
                .iter()
                .map(|key| value_of(item, key).unwrap_or_default().to_owned())
                .collect();
            if !values.contains(&of) {
                values.push(of);
            }
        }
        if keys.len() > 1 {
            complete(&mut values);
        }
        let any = |at: usize| {
            values
                .iter()
                .any(|of| of.get(at).is_some_and(|value| !value.is_empty()))
        };
        let mut valid: Vec<usize> = (0..keys.len()).filter(|at| any(*at)).collect();
        if valid.is_empty() {
            valid = (0..keys.len()).collect();
        }
        let names: Vec<&str> = valid
            .iter()
            .filter_map(|at| keys.get(*at).copied())
            .collect();
        let mut left = if itself {
            patch.clone()
        } else {
            dest.unwrap_or_default()
        };
        let mut merged: Vec<Node> = Vec::new();
        for of in &values {
            let wanted: Vec<&str> = valid
                .iter()
                .filter_map(|at| of.get(*at))
                .map(String::as_str)
                .collect();
            let mine = left
                .iter()
                .position(|item| matches(item, &names, &wanted, true));
            let theirs = patch
                .iter()
                .find(|item| matches(item, &names, &wanted, true));
            let old = mine.and_then(|at| left.get(at)).cloned();
            let replaces =
                theirs.is_some_and(|item| matches!(directive(item), Ok(Directive::Replace)));
            let value = match (old, theirs) {
                (old, Some(theirs)) => {
                    let old = old.filter(|_| !itself);
                    let known = old.as_ref().map_or(Vec::new(), |old| marks(old, &names));
                    let merged = self.value(old, theirs, schema, &ListRule::Replace, false)?;
                    merged.map(|merged| recognised(merged, known))
                }
                (Some(mut old), None) => {
                    self.untouched(&mut old, schema)?;
                    Some(old)
                }
                (None, None) => None,
            };
            let Some(value) = value.filter(|value| !is_empty_map(value)) else {
                put(&mut left, None, &names, &wanted);
                continue;
            };
            // The reference merges in place, but not when the patch's element takes over.
            if let Some(slot) = mine
                .filter(|_| itself || !replaces)
                .and_then(|at| left.get_mut(at))
            {
                *slot = value.clone();
            }
            put(&mut merged, Some(value), &names, &wanted);
        }
        if values.is_empty() {
            return Ok(Some(left));
        }
        for item in left {
            let mut has: Vec<&str> = Vec::new();
            for name in &names {
                match item.get(name) {
                    Some(value) => {
                        has.push(value.as_scalar().map_or("", |scalar| scalar.text.as_str()));
                    }
                    None => merged.push(item.clone()),
                }
            }
            if names.len() > 1 {
                put(&mut merged, None, &names, &has);
            }
            let has: Vec<String> = has.into_iter().map(str::to_owned).collect();
            let has: Vec<&str> = has.iter().map(String::as_str).collect();
            put(&mut merged, Some(item.clone()), &names, &has);
        }
        Ok(Some(merged))
    }
}

/// What an element is recognised by.
fn marks(item: &Node, names: &[&str]) -> Vec<(String, Node)> {
    let mark = |name: &&str| Some(((*name).to_owned(), item.get(name)?.clone()));
    names.iter().filter_map(mark).collect()
}

/// A patch repeats what an element is recognised by to find it, and does not set it.
fn recognised(mut merged: Node, known: Vec<(String, Node)>) -> Node {
    for (name, before) in known {
        if let Some(now) = merged.get_mut(&name)
            && now.as_written() == before.as_written()
        {
            now.place = before.place;
            now.trail = before.trail;
        }
    }
    merged
}

fn is_empty_map(node: &Node) -> bool {
    node.as_map().is_some_and(<[_]>::is_empty)
}

/// Keys of several that one element lacks are taken from another that agrees in the rest.
fn complete(values: &mut [Vec<String>]) {
    for first in 0..values.len() {
        for second in 0..values.len() {
            let (Some(a), Some(b)) = (values.get(first), values.get(second)) else {
                continue;
            };
            let clash = a
                .iter()
                .zip(b)
                .any(|(a, b)| a != b && !a.is_empty() && !b.is_empty());
            let common = a.iter().zip(b).any(|(a, b)| a == b);
            if clash || !common {
                continue;
            }
            let both: Vec<String> = a
                .iter()
                .zip(b)
                .map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() })
                .collect();
            for at in [first, second] {
                if let Some(slot) = values.get_mut(at) {
                    slot.clone_from(&both);
                }
            }
        }
    }
}

/// Does an element have these values? An empty one is any when elements are put, and the empty text when looked for.
fn matches(item: &Node, names: &[&str], wanted: &[&str], exact: bool) -> bool {
    if item.as_map().is_none() {
        return false;
    }
    let mut last = false;
    for (at, name) in names.iter().enumerate() {
        if let Some(value) = wanted.get(at) {
            let text = item
                .get(name)
                .map(|found| found.as_scalar().map_or("", |scalar| &scalar.text));
            last = match (text, exact) {
                (Some(text), true) => text == *value,
                (Some(text), false) => value.is_empty() || text == *value,
                (None, exact) => exact && value.is_empty() && names.len() > 1,
            };
        }
        // With fewer values than names the reference goes by what the name before gave.
        if !last {
            return false;
        }
    }
    true
}

/// Puts an element in the place of all that match, or at the end; without one, takes those out.
fn put(list: &mut Vec<Node>, element: Option<Node>, names: &[&str], wanted: &[&str]) {
    let mut found = false;
    let mut out = Vec::with_capacity(list.len() + 1);
    for item in list.drain(..) {
        if item.is_null() || is_empty_map(&item) {
            continue;
        }
        if item.as_map().is_none() {
            out.push(item);
        } else if matches(&item, names, wanted, false) {
            found = true;
            out.extend(element.clone());
        } else if !wanted.is_empty() {
            // Without any value to go by, the reference keeps nothing.
            out.push(item);
        }
    }
    if !found {
        out.extend(element);
    }
    *list = out;
}

fn value_of<'n>(item: &'n Node, key: &str) -> Option<&'n str> {
    item.get(key)
        .and_then(Node::as_written)
        .filter(|text| !text.is_empty())
}
