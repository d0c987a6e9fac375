//! Which objects a `target` means.

use lockstep_manifest::Place;
use regex::Regex;

use super::entries::Target;
use super::resource::Resource;
use super::spent::Spent;
use crate::error::RenderError;

/// A target, ready to be asked.
pub(crate) struct Selector {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selector {
    pub(crate) fn new(
        target: &Target,
        place: &Place,
        spent: &mut Spent,
    ) -> Result<Self, RenderError> {
        let place = target.place.as_ref().unwrap_or(place);
        let mut anchored = |pattern: &str| {
            if pattern.is_empty() {
                return Ok(None);
            }
            spent.regex(&format!("^(?:{pattern})$"), place).map(Some)
        };
        Ok(Self {
            group: anchored(&target.group)?,
            version: anchored(&target.version)?,
            kind: anchored(&target.kind)?,
            name: anchored(&target.name)?,
            namespace: anchored(&target.namespace)?,
            labels: requirements(&target.labels, place)?,
            annotations: requirements(&target.annotations, place)?,
        })
    }

    pub(crate) fn selects(&self, resource: &Resource) -> bool {
        let holds =
            |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|p| p.is_match(text));
        let (now, first) = (resource.id(), resource.first_id());
        (holds(&self.namespace, &first.namespace) || holds(&self.namespace, &now.namespace))
            && (holds(&self.name, &first.name) || holds(&self.name, &now.name))
            && holds(&self.group, &now.gvk.group)
            && holds(&self.version, &now.gvk.version)
            && holds(&self.kind, &now.gvk.kind)
            && all_hold(&self.labels, &resource.texts_of("labels"))
            && all_hold(&self.annotations, &resource.texts_of("annotations"))
    }
}

/// Does the resource fit selectors of labels and annotations alone?
pub(crate) fn fits(
    resource: &Resource,
    labels: &str,
    annotations: &str,
    place: &Place,
) -> Result<bool, RenderError> {
    Ok(
        all_hold(&requirements(labels, place)?, &resource.texts_of("labels"))
            && all_hold(
                &requirements(annotations, place)?,
                &resource.texts_of("annotations"),
            ),
    )
}

fn all_hold(requirements: &[Requirement], texts: &[(&str, &str)]) -> bool {
    let value = |key: &str| {
        texts
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    };
    requirements.iter().all(|requirement| match requirement {
        Requirement::In(key, values) => {
            value(key).is_some_and(|v| values.iter().any(|one| one == v))
        }
        Requirement::NotIn(key, values) => {
            value(key).is_none_or(|v| values.iter().all(|one| one != v))
        }
        Requirement::Exists(key) => value(key).is_some(),
        Requirement::Missing(key) => value(key).is_none(),
    })
}

/// Kubernetes' selector syntax: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, joined by commas.
fn requirements(text: &str, place: &Place) -> Result<Vec<Requirement>, RenderError> {
    let bad = || {
        RenderError::invalid_hint(
            place,
            format!("{text:?} is no selector"),
            "write it as for kubectl: app=web,tier in (a,b),!old",
        )
    };
    let mut all = Vec::new();
    for part in split(text) {
        let part = part.trim();
        if part.is_empty() {
            if text.trim().is_empty() {
                continue;
            }
            return Err(bad());
        }
        let requirement = if let Some((head, list)) = part.split_once('(') {
            let list = list.trim_end().strip_suffix(')').ok_or_else(bad)?;
            let values: Vec<String> = list
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect();
            let mut words = head.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(key), Some("in"), None) => Requirement::In(key.to_owned(), values),
                (Some(key), Some("notin"), None) => Requirement::NotIn(key.to_owned(), values),
                _ => return Err(bad()),
            }
        } else if let Some((key, value)) = part.split_once("!=") {
            Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
        } else if let Some((key, value)) = part.split_once('=') {
            let value = value.strip_prefix('=').unwrap_or(value);
            Requirement::In(key.trim().to_owned(), vec![value.trim().to_owned()])
        } else if let Some(key) = part.strip_prefix('!') {
            Requirement::Missing(key.trim().to_owned())
        } else {
            Requirement::Exists(part.to_owned())
        };
        let (Requirement::In(key, _)
        | Requirement::NotIn(key, _)
        | Requirement::Exists(key)
        | Requirement::Missing(key)) = &requirement;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(allowed) {
            return Err(bad());
        }
        if let Requirement::In(_, values) | Requirement::NotIn(_, values) = &requirement
            && !values
                .iter()
                .all(|value| value.chars().all(|c| c != '/' && allowed(c)))
        {
            return Err(bad());
        }
        all.push(requirement);
    }
    Ok(all)
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}
