//! Names of objects: what identity is made of, and what it is not made of (the version).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind without its version: what identity, inventory and permissions are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, as in `kind:`.
    pub kind: String,
}

impl GroupKind {
    /// Makes one from its two parts.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }

    /// Is this the kind `kind` of group `group`?
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// `apps/Deployment`; the core group is left out: `Service`.
impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}/{}", self.group, self.kind)
        }
    }
}

/// A kind with its version: what a request is addressed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gvk {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl Gvk {
    /// Makes one from `apiVersion` and `kind` as they stand in a manifest.
    pub fn from_api_version(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The same kind without its version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

/// What an object is called in one cluster. The version is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// By group, kind, namespace and name.
///
/// Planning looks up objects more than it does anything else. Most of the texts differ in their first byte, or are both
/// empty, and need not be compared any further.
impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.group, &other.group)
            .then_with(|| order(&self.kind, &other.kind))
            .then_with(|| order(&self.namespace, &other.namespace))
            .then_with(|| order(&self.name, &other.name))
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn order(a: &str, b: &str) -> Ordering {
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(first), Some(second)) if first == second => a.cmp(b),
        (first, second) => first.cmp(&second),
    }
}

impl ObjectId {
    /// The kind without the rest.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.kind.clone())
    }

    /// `Deployment/web`: what people call it when the namespace is known from where they look.
    pub fn short(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// `apps/Deployment shop/web`; `Namespace shop` for a cluster-scoped object of the core group.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The text is not an object's name as [`ObjectId`] writes it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} does not name an object; write GROUP/KIND NAMESPACE/NAME")]
pub struct NotAnObjectId(String);

impl FromStr for ObjectId {
    type Err = NotAnObjectId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotAnObjectId(text.to_owned());
        let (kind, name) = text.split_once(' ').ok_or_else(bad)?;
        let (group, kind) = kind.split_once('/').unwrap_or(("", kind));
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        if kind.is_empty() || name.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// An object's `metadata.uid`: the same name deleted and created again has another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_writes() {
        for text in [
            "apps/Deployment shop/web",
            "Namespace shop",
            "Service shop/web",
        ] {
            let id: ObjectId = text.parse().expect("it is one of ours");
            assert_eq!(id.to_string(), text);
        }
        assert!("Deployment".parse::<ObjectId>().is_err());
    }

    #[test]
    fn ids_are_in_the_order_of_their_texts() {
        let texts = ["", "a", "ab", "b", "é", "z"];
        for (first, second) in texts.iter().flat_map(|a| texts.map(|b| (*a, b))) {
            let id = |group: &str, name: &str| ObjectId {
                group: group.to_owned(),
                kind: "Widget".to_owned(),
                namespace: String::new(),
                name: name.to_owned(),
            };
            assert_eq!(
                id(first, "x").cmp(&id(second, "a")),
                (first, "x").cmp(&(second, "a"))
            );
            assert_eq!(id("", first).cmp(&id("", second)), first.cmp(second));
        }
    }
}
