//! One object on its way through a build: its tree, and every name it had.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Scalar, Tag};

use super::scope;
use crate::error::RenderError;

/// Group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Gvk {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

impl Gvk {
    pub(crate) fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    pub(crate) fn parse(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// Is it one of those that `selector` means, empty parts meaning any?
    pub(crate) fn is_selected_by(&self, selector: &Self) -> bool {
        let part = |mine: &str, wanted: &str| wanted.is_empty() || mine == wanted;
        part(&self.kind, &selector.kind)
            && part(&self.group, &selector.group)
            && part(&self.version, &selector.version)
    }

    pub(crate) fn is_cluster_scoped(&self) -> bool {
        scope::is_cluster_scoped(self)
    }
}

/// `Kind.version.group`.
impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or = |text: &str, none: &str| {
            if text.is_empty() {
                none.to_owned()
            } else {
                text.to_owned()
            }
        };
        write!(
            f,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

/// What the reference compares: the namespace is the effective one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) gvk: Gvk,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The namespace of what has none.
pub(crate) const NOT_NAMESPACED: &str = "_non_namespaceable_";

impl Id {
    pub(crate) fn new(gvk: Gvk, name: &str, namespace: &str) -> Self {
        let namespace = if gvk.is_cluster_scoped() {
            NOT_NAMESPACED
        } else if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        Self {
            namespace: namespace.to_owned(),
            gvk,
            name: name.to_owned(),
        }
    }

    pub(crate) fn is_cluster_scoped(&self) -> bool {
        self.namespace == NOT_NAMESPACED
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.gvk.kind, self.name)?;
        if !self.is_cluster_scoped() {
            write!(f, " in namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

/// A name, effective namespace and kind that a resource had.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) kind: String,
}

/// Where a resource came from, for `buildMetadata`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Origin {
    /// The other repository that it came from.
    pub(crate) base: Option<lockstep_app::app::Base>,
    pub(crate) path: String,
    pub(crate) configured_in: String,
    pub(crate) configured_by: Option<By>,
}

/// What generated or changed a resource, for `buildMetadata`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct By {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) node: Node,
    pub(crate) past: Vec<Past>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    /// The name gets a hash of the contents at the end of the build.
    pub(crate) hashed: bool,
    pub(crate) origin: Option<Origin>,
    pub(crate) changed_by: Vec<Origin>,
    /// The step that is at work took all annotations away.
    pub(crate) lost_annotations: bool,
    /// Values that stand in several fields and change together, by their links.
    pub(crate) linked: Vec<(u32, Scalar)>,
    /// Names of the variables that take a field of it.
    pub(crate) variables: Vec<String>,
}

impl Resource {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            past: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            hashed: false,
            origin: None,
            changed_by: Vec::new(),
            lost_annotations: false,
            linked: Vec::new(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.node.place
    }

    fn written(&self, keys: &[&str]) -> &str {
        self.node
            .at(keys)
            .and_then(Node::as_written)
            .unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.written(&["kind"])
    }

    pub(crate) fn name(&self) -> &str {
        self.written(&["metadata", "name"])
    }

    /// `metadata.namespace` as written; empty when there is none.
    pub(crate) fn namespace(&self) -> &str {
        self.written(&["metadata", "namespace"])
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::parse(self.written(&["apiVersion"]), self.kind())
    }

    pub(crate) fn id(&self) -> Id {
        Id::new(self.gvk(), self.name(), self.namespace())
    }

    /// All ids it had, oldest first; group and version are always the present ones.
    pub(crate) fn past_ids(&self) -> Vec<Id> {
        let gvk = self.gvk();
        self.past
            .iter()
            .map(|past| Self::past_id(&gvk, past))
            .collect()
    }

    pub(crate) fn past_id(gvk: &Gvk, past: &Past) -> Id {
        let gvk = Gvk {
            kind: past.kind.clone(),
            ..gvk.clone()
        };
        let namespace = if past.namespace == NOT_NAMESPACED {
            ""
        } else {
            &past.namespace
        };
        Id::new(gvk, &past.name, namespace)
    }

    /// The first id it had.
    pub(crate) fn first_id(&self) -> Id {
        match self.past.first() {
            Some(past) => Self::past_id(&self.gvk(), past),
            None => self.id(),
        }
    }

    /// Does any id it has or had equal this one?
    pub(crate) fn was(&self, id: &Id) -> bool {
        self.id() == *id || self.past_ids().contains(id)
    }

    /// Remembers the present id as a past one.
    pub(crate) fn remember(&mut self) {
        let id = self.id();
        self.past.push(Past {
            name: id.name,
            namespace: id.namespace,
            kind: id.gvk.kind,
        });
    }

    pub(crate) fn set_name(&mut self, name: &str, place: &Place) {
        if let Some(metadata) = self.node.map_under("metadata", place) {
            metadata.set_over("name", Node::text(name, place.clone()));
        }
    }

    /// Sets the namespace; an empty one takes the field away.
    pub(crate) fn set_namespace(&mut self, namespace: &str, place: &Place) {
        if namespace.is_empty() {
            if let Some(metadata) = self.node.get_mut("metadata") {
                metadata.remove("namespace");
            }
        } else if let Some(metadata) = self.node.map_under("metadata", place) {
            metadata.set_over("namespace", Node::text(namespace, place.clone()));
        }
    }

    /// Labels or annotations as texts.
    pub(crate) fn texts_of(&self, field: &str) -> Vec<(&str, &str)> {
        let map = self
            .node
            .at(&["metadata", field])
            .and_then(Node::as_map)
            .unwrap_or_default();
        map.iter()
            .map(|pair| {
                (
                    pair.key.text.as_str(),
                    pair.value.as_written().unwrap_or_default(),
                )
            })
            .collect()
    }

    /// Nothing is left of it: a patch deleted it.
    pub(crate) fn is_empty(&self) -> bool {
        self.node.is_null() || self.node.as_map().is_some_and(<[_]>::is_empty)
    }
}

/// Takes the documents of a file as resources: lists expanded behind the others, each with a kind and a name.
pub(crate) fn resources(documents: Vec<Node>) -> Result<Vec<Resource>, RenderError> {
    let mut plain = Vec::new();
    let mut items = Vec::new();
    for node in documents {
        if node.as_map().is_some_and(<[_]>::is_empty) {
            continue;
        }
        if node.as_map().is_none() {
            return Err(RenderError::invalid_hint(
                &node.place,
                "this document is no object: a map with kind and metadata.name is expected",
                "remove it, or name the file elsewhere than under `resources:`",
            ));
        }
        let kind = node
            .get("kind")
            .and_then(Node::as_written)
            .unwrap_or_default();
        let list = kind.ends_with("List");
        match node.get("items") {
            Some(found) if list => {
                items.extend(found.as_list().unwrap_or_default().iter().cloned());
            }
            _ => plain.push(node),
        }
    }
    plain.extend(items.into_iter().filter(|item| !item.is_null()));
    plain.into_iter().map(checked).collect()
}

fn checked(node: Node) -> Result<Resource, RenderError> {
    let missing = |field: &str| {
        RenderError::invalid_hint(
            &node.place,
            format!("this object has no {field}"),
            "every object of a kustomization needs kind and metadata.name",
        )
    };
    let text = |keys: &[&str]| {
        let found = node.at(keys).and_then(Node::as_scalar);
        found.is_some_and(|scalar| scalar.tag != Tag::Null && !scalar.text.is_empty())
    };
    if !text(&["kind"]) {
        return Err(missing("kind"));
    }
    let list = node
        .get("kind")
        .and_then(Node::as_written)
        .is_some_and(|kind| kind.ends_with("List"));
    if !list && !text(&["metadata", "name"]) {
        return Err(missing("metadata.name"));
    }
    Ok(Resource::new(node))
}

impl Resource {
    /// A cheap question before ids are made: is or was it of this kind, and of this name?
    pub(crate) fn may_be(&self, id: &Id) -> bool {
        let (kind, name) = (&id.gvk.kind, &id.name);
        (self.name() == name || self.past.iter().any(|past| past.name == *name))
            && (self.kind() == kind || self.past.iter().any(|past| past.kind == *kind))
    }
}

impl Resource {
    /// A new link for a value that is about to be put into several fields.
    ///
    /// The reference puts one and the same value into all fields that a label is new in, and whoever sets it in one
    /// of them later sets it in all: an overlay's label without selectors changes the selectors that its base made.
    pub(crate) fn link(&mut self, value: &str) -> u32 {
        let link = self.linked.last().map_or(0, |(last, _)| *last) + 1;
        self.linked.push((link, Scalar::text(value)));
        link
    }

    /// Makes linked values equal again after one of them may have changed.
    pub(crate) fn settle_links(&mut self) {
        if self.linked.is_empty() {
            return;
        }
        let mut changed: Vec<(u32, Node)> = Vec::new();
        visit_linked(&mut self.node, &mut |node| {
            let known = self
                .linked
                .iter()
                .find(|(link, _)| *link == node.link)
                .map(|(_, value)| value);
            let same = |a: &Scalar, b: &Scalar| a.text == b.text && a.tag == b.tag;
            if !known.is_none_or(|known| node.as_scalar().is_none_or(|now| same(now, known))) {
                changed.push((node.link, node.clone()));
            }
        });
        for (link, new) in changed {
            if let (Some(slot), Some(scalar)) = (
                self.linked.iter_mut().find(|(known, _)| *known == link),
                new.as_scalar(),
            ) {
                slot.1 = scalar.clone();
            }
            visit_linked(&mut self.node, &mut |node| {
                if node.link == link {
                    *node = new.clone();
                }
            });
        }
    }
}

fn visit_linked(node: &mut Node, visit: &mut impl FnMut(&mut Node)) {
    if node.link != 0 {
        visit(node);
    }
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| visit_linked(item, visit)),
        Content::Map(pairs) => pairs
            .iter_mut()
            .for_each(|pair| visit_linked(&mut pair.value, visit)),
    }
}
