//! Name prefixes and suffixes, and namespaces.

use std::collections::HashSet;

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Scalar};

use super::build::Accumulated;
use super::config::Which;
use super::fieldspec::{FieldSpec, Make};
use super::resource::{Gvk, Resource};
use super::spent::{Spent, VALUE};
use super::take::Text;
use crate::error::RenderError;

/// Puts `prefix` before names.
pub(crate) fn add_prefix(
    all: &mut Accumulated,
    prefix: &Text,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let specs = all.config.specs(Which::NamePrefix);
    affix(all, &specs, prefix, true, spent)
}

/// Puts `suffix` behind names.
pub(crate) fn add_suffix(
    all: &mut Accumulated,
    suffix: &Text,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let specs = all.config.specs(Which::NameSuffix);
    affix(all, &specs, suffix, false, spent)
}

/// Kinds whose names are what they define.
fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.group == "apiregistration.k8s.io" && gvk.kind == "APIService")
}

pub(crate) fn affix(
    all: &mut Accumulated,
    specs: &[FieldSpec],
    text: &Text,
    before: bool,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    if text.text.is_empty() {
        return Ok(());
    }
    for resource in all.resources.list_mut() {
        spent.make(VALUE + specs.len(), &text.place)?;
        let first = resource.first_id().gvk;
        if keeps_its_name(&first) {
            continue;
        }
        for spec in specs {
            if !first.is_selected_by(&spec.gvk) {
                continue;
            }
            if spec.path == ["metadata", "name"] {
                let list = if before {
                    &mut resource.prefixes
                } else {
                    &mut resource.suffixes
                };
                list.push(text.text.clone());
                resource.remember();
            }
            spec.each(&mut resource.node, Make::Scalar, &text.place, &mut |node| {
                let old = node.as_written().unwrap_or_default();
                spent.make(VALUE + 3 * (old.len() + text.text.len()), &text.place)?;
                let new = if before {
                    format!("{}{old}", text.text)
                } else {
                    format!("{old}{}", text.text)
                };
                set_text(node, new, &text.place);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Makes a scalar this text, as something written at a place wants it.
pub(crate) fn set_text(node: &mut Node, text: impl Into<String>, place: &Place) {
    node.content = Content::Scalar(Scalar::text(text));
    node.set_at(place);
}

/// Which subjects of role bindings follow the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Those called `default`.
    DefaultOnly,
    /// All service accounts.
    AllServiceAccounts,
    /// None.
    None,
}

/// How a namespace is set.
pub(crate) struct Namespacing<'n> {
    pub(crate) namespace: &'n Text,
    pub(crate) unset_only: bool,
    pub(crate) subjects: Subjects,
    pub(crate) specs: Vec<FieldSpec>,
}

/// The field `namespace`.
pub(crate) fn set_namespace(
    all: &mut Accumulated,
    namespace: &Text,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let specs = all.config.specs(Which::Namespace);
    Namespacing {
        namespace,
        unset_only: false,
        subjects: Subjects::DefaultOnly,
        specs,
    }
    .run(all, spent)
}

impl Namespacing<'_> {
    pub(crate) fn run(&self, all: &mut Accumulated, spent: &mut Spent) -> Result<(), RenderError> {
        if self.namespace.text.is_empty() {
            return Ok(());
        }
        for resource in all.resources.list_mut() {
            resource.remember();
            self.one(resource, spent)?;
        }
        let mut seen = HashSet::new();
        for resource in all.resources.iter() {
            let id = resource.id();
            if seen.contains(&id) {
                return Err(RenderError::invalid_hint(
                    &self.namespace.place,
                    format!(
                        "with this namespace two objects become {id}, one of them from {}",
                        resource.place()
                    ),
                    "give one of them another name",
                ));
            }
            seen.insert(id);
        }
        Ok(())
    }

    fn set(&self, node: &mut Node, spent: &mut Spent) -> Result<(), RenderError> {
        let empty = node.is_null()
            || node
                .as_scalar()
                .is_some_and(|scalar| scalar.text.is_empty());
        if !self.unset_only || empty {
            let cost = VALUE + 3 * self.namespace.text.len();
            spent.make(cost, &self.namespace.place)?;
            set_text(node, self.namespace.text.as_str(), &self.namespace.place);
        }
        Ok(())
    }

    fn one(&self, resource: &mut Resource, spent: &mut Spent) -> Result<(), RenderError> {
        spent.look(1 + self.specs.len() / 16, &self.namespace.place)?;
        let gvk = resource.gvk();
        let place = &self.namespace.place;
        if !gvk.is_cluster_scoped() {
            let spec = FieldSpec::new("", "", "", "metadata/namespace", true);
            spec.each(&mut resource.node, Make::Scalar, place, &mut |node| {
                self.set(node, spent)
            })?;
        }
        let binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        if binding {
            self.subjects(resource, spent)?;
        }
        for spec in &self.specs {
            // Its own field was seen to; a Namespace of another API group keeps its name.
            let meta = spec.path == ["metadata", "namespace"]
                || (spec.path == ["metadata", "name"]
                    && spec.gvk.kind == "Namespace"
                    && !gvk.group.is_empty());
            let subject = binding && spec.path == ["subjects", "namespace"];
            if meta || subject || !gvk.is_selected_by(&spec.gvk) {
                continue;
            }
            spec.each(&mut resource.node, Make::Scalar, place, &mut |node| {
                self.set(node, spent)
            })?;
        }
        Ok(())
    }

    fn subjects(&self, resource: &mut Resource, spent: &mut Spent) -> Result<(), RenderError> {
        let subjects = resource
            .node
            .get_mut("subjects")
            .and_then(Node::as_list_mut);
        for subject in subjects.into_iter().flatten() {
            let text = |key: &str| subject.get(key).and_then(Node::as_written);
            let meant = match self.subjects {
                Subjects::DefaultOnly => text("name") == Some("default"),
                Subjects::AllServiceAccounts => text("kind") == Some("ServiceAccount"),
                Subjects::None => false,
            };
            if !meant || subject.as_map().is_none() {
                continue;
            }
            if let Some(node) = subject.get_mut("namespace") {
                self.set(node, spent)?;
            } else {
                spent.make(VALUE + self.namespace.text.len(), &self.namespace.place)?;
                subject.set(
                    "namespace",
                    Node::text(&*self.namespace.text, self.namespace.place.clone()),
                );
            }
        }
        Ok(())
    }
}
