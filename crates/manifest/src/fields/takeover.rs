//! Whose fields become ours, and which of ours become nobody's: changes of `managedFields` as values.
//!
//! Server-side apply removes a field that leaves git only when nobody else owns it. What `kubectl apply`, Argo CD, Flux
//! or Helm once wrote stays theirs for ever, so a field that git no longer says would stay in the cluster. On first
//! contact what such tools left behind is put into our own set; from then on git alone says what of it there is.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::set::{self, Set};
use super::{MANAGER, entries};
use crate::object::Manifest;
use crate::write::Takeover;

/// How many paths of one manager are named; the rest is counted.
const NAMED: usize = 8;

/// Managers that are left behind when somebody begins to use Lockstep, besides those of `kubectl` and Flux, which are
/// told by how their names begin. `before-first-apply` is what the server calls an object's writers before it knew any.
const LEFT_BEHIND: [&str; 6] = [
    "before-first-apply",
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
    "helm",
];

/// What was, or would be, taken from one manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name, with the subresource it wrote by, if it was one: `kubectl (scale)`.
    pub manager: String,
    /// The paths for people, those that only it owned first; at most eight.
    pub fields: Vec<String>,
    /// How many there are.
    pub count: usize,
}

impl Taken {
    /// What was taken from this manager; none for no fields.
    pub fn from(manager: String, mut fields: Vec<String>) -> Option<Self> {
        let count = fields.len();
        fields.truncate(NAMED);
        (count > 0).then_some(Self {
            manager,
            fields,
            count,
        })
    }
}

/// The same with one entry a manager.
pub fn together(all: impl IntoIterator<Item = Taken>) -> Vec<Taken> {
    let mut found: Vec<Taken> = Vec::new();
    for one in all {
        if let Some(known) = found.iter_mut().find(|known| known.manager == one.manager) {
            known.fields.extend(one.fields);
            known.fields.truncate(NAMED);
            known.count += one.count;
        } else {
            found.push(one);
        }
    }
    found
}

/// `spec.replicas from kubectl-edit`, or `data.a, data.b and 3 more fields from helm`.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.fields[..self.fields.len().min(3)];
        f.write_str(&named.join(", "))?;
        match self.count - named.len() {
            0 => {}
            1 => f.write_str(" and 1 more field")?,
            more => write!(f, " and {more} more fields")?,
        }
        write!(f, " from {}", self.manager)
    }
}

/// The bookkeeping as it is to be, and what changes hands by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reassigned {
    /// The whole of `metadata.managedFields`; never empty, since our own entry is in it.
    pub entries: Vec<Value>,
    /// From whom.
    pub taken: Vec<Taken>,
}

/// Puts what others left behind into our own set; none when there is nothing of the kind, or nothing of ours yet.
///
/// Shape: entries of a subresource stay, since they say who scales. What was written for another version of the kind is
/// taken as far as it stands in this object, which has the version of our entry. What stands under the `left` pointers
/// is nobody's afterwards, so that it stays as it is.
pub fn take_over(live: &Manifest, whose: &Takeover, left: &[String]) -> Option<Reassigned> {
    let mut ours = super::owned(live, MANAGER)?.as_object()?.clone();
    let before = ours.clone();
    let version = entries(live)
        .find(|entry| is_ours(entry))?
        .get("apiVersion")?;
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for entry in entries(live).filter(|entry| !is_ours(entry)) {
        let manager = text(entry, "manager");
        let Some(theirs) = fields_of(entry).filter(|_| is_of(whose, entry)) else {
            kept.push(entry.clone());
            continue;
        };
        let theirs = if entry.get("apiVersion") == Some(version) {
            theirs.clone()
        } else {
            set::standing(theirs, &Value::Object(live.body().clone()))
        };
        set::add(&mut ours, &theirs);
        if manager != MANAGER {
            let only_theirs = set::minus(&theirs, &before);
            let mut fields = set::paths(&only_theirs);
            fields.extend(set::paths(&set::minus(&theirs, &only_theirs)));
            taken.extend(Taken::from(manager.to_owned(), fields));
        }
    }
    if kept.len() + 1 == entries(live).count() {
        return None;
    }
    let root = Value::Object(live.body().clone());
    for pointer in left {
        give_up(&mut ours, &root, &crate::pointer::parts(pointer)?);
    }
    Some(Reassigned {
        entries: with_ours(live, kept, ours)?,
        taken,
    })
}

/// Gives up what we own under these JSON pointers, so that an apply that does not say it leaves it as it is; none when
/// we own nothing there.
pub fn release(live: &Manifest, pointers: &[String]) -> Option<Vec<Value>> {
    let mut ours = super::owned(live, MANAGER)?.as_object()?.clone();
    let root = Value::Object(live.body().clone());
    let mut any = false;
    for pointer in pointers {
        let parts = crate::pointer::parts(pointer)?;
        any |= give_up(&mut ours, &root, &parts);
    }
    if !any {
        return None;
    }
    let kept = entries(live)
        .filter(|entry| !is_ours(entry))
        .cloned()
        .collect();
    with_ours(live, kept, ours)
}

/// Is the value at this JSON pointer owned by itself, and not with what is around it, by anybody? Only then can an
/// apply leave it out without taking it away. None: nobody owns it, or the pointer is none.
pub fn is_apart(live: &Manifest, pointer: &str) -> Option<bool> {
    let parts = crate::pointer::parts(pointer)?;
    let root = Value::Object(live.body().clone());
    entries(live)
        .filter_map(fields_of)
        .filter_map(|set| find(set, &root, &parts))
        .reduce(|one, other| one || other)
}

/// Do we own the value at this JSON pointer, by itself?
pub fn is_ours_apart(live: &Manifest, pointer: &str) -> bool {
    let Some(parts) = crate::pointer::parts(pointer) else {
        return false;
    };
    let owned = super::owned(live, MANAGER).and_then(Value::as_object);
    let root = Value::Object(live.body().clone());
    owned.and_then(|set| find(set, &root, &parts)) == Some(true)
}

/// The same entries, each as if it had been written in this version of the kind; none when they all were.
///
/// A version that lacks a field which this one gives a default makes the server refuse every apply: it can no longer
/// express the object in the version of an older entry.
pub fn in_version(live: &Manifest, api_version: &str) -> Option<Vec<Value>> {
    let wanted = Value::from(api_version);
    let is_other = |entry: &Value| entry.get("apiVersion") != Some(&wanted);
    if !entries(live).any(is_other) {
        return None;
    }
    let rewritten = entries(live).map(|entry| {
        let mut entry = entry.clone();
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("apiVersion".to_owned(), wanted.clone());
        }
        entry
    });
    Some(rewritten.collect())
}

/// What others owned before and only we own after: what force took from whom.
pub fn seized(before: &Manifest, after: &Manifest) -> Vec<Taken> {
    let Some(ours) = super::owned(after, MANAGER).and_then(Value::as_object) else {
        return Vec::new();
    };
    let mut lost: BTreeMap<String, Set> = BTreeMap::new();
    for entry in entries(before).filter(|entry| text(entry, "manager") != MANAGER) {
        let Some(had) = fields_of(entry) else {
            continue;
        };
        let has = entries(after).find(|now| is_same(entry, now));
        let gone = match has.and_then(fields_of) {
            Some(has) => set::minus(had, has),
            None => had.clone(),
        };
        let now_ours = set::minus(&gone, &set::minus(&gone, ours));
        set::add(lost.entry(label(entry)).or_default(), &now_ours);
    }
    lost.into_iter()
        .filter_map(|(manager, fields)| Taken::from(manager, set::paths(&fields)))
        .collect()
}

fn give_up(set: &mut Set, value: &Value, parts: &[String]) -> bool {
    let Some((key, child)) = key_of(set, value, parts) else {
        return false;
    };
    let Some((_, rest)) = parts.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return set.remove(&key).is_some();
    }
    let Some(below) = set.get_mut(&key).and_then(Value::as_object_mut) else {
        return false;
    };
    let given = give_up(below, child, rest);
    if given && below.is_empty() {
        set.remove(&key); // empty would mean the thing itself, which we did not own
    }
    given
}

/// Is it in the set by itself (true), or with something that is around it (false)?
pub(super) fn find(set: &Set, value: &Value, parts: &[String]) -> Option<bool> {
    let Some((_, rest)) = parts.split_first() else {
        return Some(true);
    };
    if set.is_empty() {
        return Some(false);
    }
    let (key, child) = key_of(set, value, parts)?;
    find(set.get(&key)?.as_object()?, child, rest)
}

/// The key of the set under which the first part of a pointer stands, and the value there.
fn key_of<'a>(set: &Set, value: &'a Value, parts: &[String]) -> Option<(String, &'a Value)> {
    let part = parts.first()?;
    let here = match value {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
        other => other.get(part).unwrap_or(&Value::Null),
    };
    let is_it = |key: &&String| match key.split_once(':') {
        Some(("f", name)) => name == part,
        Some(("i", index)) => index == part,
        Some(("k" | "v", _)) => {
            set::child(value, key).is_some_and(|(_, item)| std::ptr::eq(item, here))
        }
        _ => false,
    };
    Some((set.keys().find(is_it)?.clone(), here))
}

fn with_ours(live: &Manifest, mut kept: Vec<Value>, ours: Set) -> Option<Vec<Value>> {
    let mut entry = entries(live).find(|entry| is_ours(entry))?.clone();
    entry
        .as_object_mut()?
        .insert("fieldsV1".to_owned(), Value::Object(ours));
    kept.push(entry);
    Some(kept)
}

pub(super) fn is_of(whose: &Takeover, entry: &Value) -> bool {
    if entry.get("subresource").is_some() {
        return false;
    }
    let manager = text(entry, "manager");
    match whose {
        Takeover::None => false,
        Takeover::Everything => true,
        Takeover::LeftBehind { also } => {
            // `kubectl rollout restart` leaves a mark in the pod template: to take it away would restart the pods.
            (manager.starts_with("kubectl") && manager != "kubectl-rollout")
                || manager.starts_with("flux")
                || manager == MANAGER
                || LEFT_BEHIND.contains(&manager)
                || also.as_deref() == Some(manager)
        }
    }
}

pub(super) fn is_ours(entry: &Value) -> bool {
    text(entry, "manager") == MANAGER
        && text(entry, "operation") == "Apply"
        && entry.get("subresource").is_none()
}

fn is_same(one: &Value, other: &Value) -> bool {
    ["manager", "operation", "subresource"]
        .iter()
        .all(|key| one.get(key) == other.get(key))
}

pub(super) fn fields_of(entry: &Value) -> Option<&Set> {
    entry.get("fieldsV1").and_then(Value::as_object)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A manager in words: `kubectl-edit`, `kube-controller-manager (scale)`.
pub(super) fn label(entry: &Value) -> String {
    let manager = text(entry, "manager");
    match text(entry, "subresource") {
        "" => manager.to_owned(),
        subresource => format!("{manager} ({subresource})"),
    }
}

#[cfg(test)]
mod tests;
