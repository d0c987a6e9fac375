//! Names that follow when what they name was renamed.

use std::collections::{HashMap, HashSet};

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Scalar};

use super::config::Config;
use super::fieldspec::{FieldSpec, Make};
use super::names::set_text;
use super::resource::{Gvk, Id, Resource};
use crate::error::RenderError;

/// What the fix-up asks of a resource, without looking at its tree again.
struct Card {
    id: Id,
    past: Vec<Id>,
    name: String,
    namespace: String,
    kind: String,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    place: Place,
    named_at: Place,
    spaced_at: Place,
}

impl Card {
    fn new(resource: &Resource) -> Self {
        let set_at = |field: &str| {
            let node = resource.node.at(&["metadata", field]);
            node.map_or(resource.place(), |node| &node.place).clone()
        };
        Self {
            id: resource.id(),
            past: resource.past_ids(),
            name: resource.name().to_owned(),
            namespace: resource.namespace().to_owned(),
            kind: resource.kind().to_owned(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
            place: resource.place().clone(),
            named_at: set_at("name"),
            spaced_at: set_at("namespace"),
        }
    }

    fn first(&self) -> &Id {
        self.past.first().unwrap_or(&self.id)
    }
}

/// Points every field that names something renamed to its new name.
pub(crate) fn fix(resources: &mut [Resource], config: &Config) -> Result<(), RenderError> {
    let cards: Vec<Card> = resources.iter().map(Card::new).collect();
    let mut by_past_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, card) in cards.iter().enumerate() {
        let names: HashSet<&str> = card.past.iter().map(|id| id.name.as_str()).collect();
        for name in names {
            by_past_name.entry(name).or_default().push(at);
        }
    }
    if by_past_name.is_empty() {
        return Ok(());
    }
    // Most fields belong to one kind: ask only those of the resource's.
    let mut by_kind: HashMap<&str, Vec<(&Gvk, &FieldSpec)>> = HashMap::new();
    for reference in config.references() {
        for spec in &reference.referrers {
            by_kind
                .entry(&spec.gvk.kind)
                .or_default()
                .push((&reference.target, spec));
        }
    }
    for (resource, card) in resources.iter_mut().zip(&cards) {
        let subjects = role_binding_namespaces(resource);
        let role = role_of(resource);
        let finder = Finder {
            cards: &cards,
            by_past_name: &by_past_name,
            referrer: card,
            subjects,
            role,
        };
        let first = &card.first().gvk;
        for kind in [first.kind.as_str(), ""] {
            for (target, spec) in by_kind.get(kind).into_iter().flatten() {
                if !first.is_selected_by(&spec.gvk) {
                    continue;
                }
                // The field is looked for whatever the resource has become.
                spec.each(
                    &mut resource.node,
                    Make::Nothing,
                    &card.place,
                    &mut |node| finder.set(node, target, spec),
                )?;
            }
        }
    }
    Ok(())
}

fn role_binding_namespaces(resource: &Resource) -> HashSet<String> {
    if resource.kind() != "RoleBinding" {
        return HashSet::new();
    }
    let subjects = resource
        .node
        .get("subjects")
        .and_then(Node::as_list)
        .unwrap_or_default();
    let text = |subject: &Node, key: &str| {
        subject
            .get(key)
            .and_then(Node::as_written)
            .map(str::to_owned)
    };
    subjects
        .iter()
        .filter(|subject| text(subject, "kind").as_deref() == Some("ServiceAccount"))
        .filter_map(|subject| text(subject, "namespace"))
        .collect()
}

fn role_of(resource: &Resource) -> Option<Gvk> {
    let text = |key: &str| {
        resource
            .node
            .at(&["roleRef", key])
            .and_then(Node::as_written)
    };
    Some(Gvk::new(text("apiGroup")?, "", text("kind")?))
}

/// Sets a part of a reference: as a text in any case, by its new place only when it says something else.
fn say(reference: &mut Node, key: &str, text: &str, place: &Place) {
    match reference.get_mut(key) {
        Some(old) if old.as_written() == Some(text) => {
            old.content = Content::Scalar(Scalar::text(text));
        }
        Some(old) => set_text(old, text, place),
        None => reference.set(key, Node::text(text, place.clone())),
    }
}

struct Finder<'c> {
    cards: &'c [Card],
    by_past_name: &'c HashMap<&'c str, Vec<usize>>,
    referrer: &'c Card,
    subjects: HashSet<String>,
    role: Option<Gvk>,
}

impl<'c> Finder<'c> {
    fn set(&self, node: &mut Node, target: &Gvk, spec: &FieldSpec) -> Result<(), RenderError> {
        match &mut node.content {
            Content::Scalar(_) => self.scalar(node, target, spec),
            Content::Map(_) => self.map(node, target, spec),
            Content::List(items) => items.iter_mut().try_for_each(|item| match &item.content {
                Content::Scalar(_) => self.scalar(item, target, spec),
                Content::Map(_) => self.map(item, target, spec),
                Content::List(_) => Ok(()),
            }),
        }
    }

    fn scalar(&self, node: &mut Node, target: &Gvk, spec: &FieldSpec) -> Result<(), RenderError> {
        let Some(old) = node.as_written() else {
            return Ok(());
        };
        let found = self.find(old, target, spec, &|_| true, &node.place, false)?;
        if let Some(card) = found.filter(|card| card.name != old) {
            // Only the text changes: what it was, it stays.
            set_text(node, card.name.as_str(), &card.named_at);
        }
        Ok(())
    }

    fn map(&self, node: &mut Node, target: &Gvk, spec: &FieldSpec) -> Result<(), RenderError> {
        let Some(old) = node
            .get("name")
            .and_then(Node::as_written)
            .map(str::to_owned)
        else {
            return Ok(());
        };
        let namespace = node
            .get("namespace")
            .and_then(Node::as_scalar)
            .map(|scalar| scalar.text.clone());
        let first = |card: &Card, namespace: &str| card.first().namespace == namespace;
        let by_first = namespace.as_ref().is_some_and(|namespace| {
            self.cards
                .iter()
                .any(|card| self.may_name(card) && first(card, namespace))
        });
        let within = |card: &Card| match &namespace {
            None => true,
            Some(namespace) if by_first => first(card, namespace),
            Some(namespace) => card.id.namespace == *namespace,
        };
        let found = self.find(&old, target, spec, &within, &node.place, true)?;
        let Some(card) = found else { return Ok(()) };
        if card.name == old && card.namespace.is_empty() {
            return Ok(());
        }
        say(node, "name", &card.name, &card.named_at);
        if !card.namespace.is_empty() {
            say(node, "namespace", &card.namespace, &card.spaced_at);
        }
        Ok(())
    }

    /// May the referrer name this one at all?
    fn may_name(&self, card: &Card) -> bool {
        self.referrer.id.is_cluster_scoped()
            || card.id.is_cluster_scoped()
            || card.id.namespace == self.referrer.id.namespace
            || self.subjects.contains(&card.namespace)
    }

    fn find(
        &self,
        old: &str,
        target: &Gvk,
        spec: &FieldSpec,
        within: &dyn Fn(&Card) -> bool,
        place: &Place,
        namespaces_count: bool,
    ) -> Result<Option<&'c Card>, RenderError> {
        let Some(named) = self.by_past_name.get(old) else {
            return Ok(None);
        };
        let role = self.role.as_ref().filter(|_| {
            spec.path
                .ends_with(&["roleRef".to_owned(), "name".to_owned()])
        });
        let was = |card: &Card, gvk: &Gvk| card.past.iter().any(|id| id.gvk.is_selected_by(gvk));
        let same_namespace = |card: &Card| {
            self.referrer.id.is_cluster_scoped()
                || card.id.is_cluster_scoped()
                || card.kind == "ServiceAccount"
                || card.id.namespace == self.referrer.id.namespace
        };
        let mut found: Vec<&Card> = named
            .iter()
            .filter_map(|at| self.cards.get(*at))
            .filter(|card| self.may_name(card) && within(card) && was(card, target))
            .filter(|card| role.is_none_or(|role| was(card, role)))
            .filter(|card| same_namespace(card))
            .collect();
        if found.len() > 1 {
            found.retain(|card| self.affixes_agree(card, true));
        }
        if found.len() > 1 {
            let strict: Vec<&Card> = found
                .iter()
                .copied()
                .filter(|card| self.affixes_agree(card, false))
                .collect();
            found = strict;
        }
        let Some((first, rest)) = found.split_first() else {
            return Ok(None);
        };
        let same = |card: &&Card| {
            card.name == first.name && (!namespaces_count || card.namespace == first.namespace)
        };
        if rest.iter().all(same) {
            return Ok(Some(first));
        }
        let names: Vec<String> = found
            .iter()
            .map(|card| format!("{} ({})", card.id, card.place))
            .collect();
        Err(RenderError::invalid_hint(
            place,
            format!("{old:?} may mean any of {}", names.join(", ")),
            "give them different names in their bases",
        ))
    }

    /// Were both under the same prefixes and suffixes? `loose`: or one of them under none.
    fn affixes_agree(&self, card: &Card, loose: bool) -> bool {
        let agree = |a: &[String], b: &[String]| {
            if a.is_empty() || b.is_empty() {
                return loose || a.len() == b.len();
            }
            a.ends_with(b) || b.ends_with(a)
        };
        agree(&self.referrer.prefixes, &card.prefixes)
            && agree(&self.referrer.suffixes, &card.suffixes)
    }
}
