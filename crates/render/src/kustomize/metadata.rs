//! `buildMetadata`: annotations that say where an object came from and what changed it.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Node, print_value};
use lockstep_tree::RelPath;
use serde_json::Value;

use super::build::{Accumulated, Here};
use super::resource::{By, Origin, Resource};
use super::take::Text;
use crate::error::RenderError;

/// What the top kustomization asks for; it holds for all folders.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    origins: Option<Place>,
    transformers: Option<Place>,
    managed_by: Option<Place>,
    top: RelPath,
}

/// A step that a field of the kustomization makes.
pub(crate) fn by_built_in(here: &Here, kind: &str) -> Origin {
    Origin {
        base: here.base.clone(),
        configured_in: here.file.as_str().to_owned(),
        configured_by: Some(By {
            api_version: "builtin".to_owned(),
            kind: kind.to_owned(),
            ..By::default()
        }),
        ..Origin::default()
    }
}

impl Metadata {
    pub(crate) fn new(words: &[Text], top: &RelPath) -> Result<Self, RenderError> {
        let mut metadata = Self {
            top: top.clone(),
            ..Self::default()
        };
        for word in words {
            let place = Some(word.place.clone());
            match word.text.as_str() {
                "originAnnotations" => metadata.origins = place,
                "transformerAnnotations" => metadata.transformers = place,
                "managedByLabel" => metadata.managed_by = place,
                other => {
                    return Err(RenderError::invalid_hint(
                        &word.place,
                        format!("unknown build metadata {other:?}"),
                        "write originAnnotations, transformerAnnotations or managedByLabel",
                    ));
                }
            }
        }
        Ok(metadata)
    }

    /// Remembers the file that an object was read from.
    pub(crate) fn loaded(&self, resource: &mut Resource, here: &Here, path: &RelPath) {
        if self.origins.is_some() {
            resource.origin = Some(Origin {
                base: here.base.clone(),
                path: path.as_str().to_owned(),
                ..Origin::default()
            });
        }
    }

    /// Remembers a step for every object that there is.
    ///
    /// The reference keeps all this in annotations while it works. Where a patch took these away, it knows no origin
    /// any more, and takes the step for it.
    pub(crate) fn changed(&self, all: &mut Accumulated, by: &Origin) {
        for resource in all.resources.list_mut() {
            if std::mem::take(&mut resource.lost_annotations) {
                resource.origin = Some(by.clone());
                resource.changed_by.clear();
            } else if self.transformers.is_some() {
                resource.changed_by.push(by.clone());
            }
        }
    }

    /// Did the author ask for the steps, or for where they begin?
    pub(crate) fn remembers_steps(&self) -> bool {
        self.transformers.is_some() || self.origins.is_some()
    }

    fn seen_from_top(&self, path: &str) -> String {
        path.parse::<RelPath>()
            .map_or_else(|_| path.to_owned(), |path| path.from_folder(&self.top))
    }

    fn text(&self, origin: &Origin, indent: &str) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str, indent: &str| {
            if !value.is_empty() {
                text.push_str(indent);
                text.push_str(key);
                text.push_str(": ");
                text.push_str(&print_value(&Value::from(value)));
            }
        };
        // A path of another repository is seen from that one's root.
        let seen = |path: &str| match origin.base {
            None => self.seen_from_top_or_empty(path),
            Some(_) => path.to_owned(),
        };
        line("path", &seen(&origin.path), indent);
        if let Some(base) = &origin.base {
            line("repo", base.remote.as_str(), indent);
            line("ref", &base.target, indent);
        }
        line("configuredIn", &seen(&origin.configured_in), indent);
        if let Some(by) = &origin.configured_by {
            let deeper = format!("{indent}  ");
            let mut below = String::new();
            for (key, value) in [
                ("apiVersion", &by.api_version),
                ("kind", &by.kind),
                ("name", &by.name),
                ("namespace", &by.namespace),
            ] {
                if !value.is_empty() {
                    let value = print_value(&Value::from(value.as_str()));
                    below.extend([deeper.as_str(), key, ": ", value.as_str()]);
                }
            }
            text.extend([indent, "configuredBy:\n", below.as_str()]);
        }
        text
    }

    fn seen_from_top_or_empty(&self, path: &str) -> String {
        if path.is_empty() {
            String::new()
        } else {
            self.seen_from_top(path)
        }
    }

    /// Writes down what was remembered.
    pub(crate) fn write(&self, resource: &mut Resource) -> Result<(), RenderError> {
        let place = resource.node.place.clone();
        let mut annotations = Vec::new();
        if let (Some(asked), Some(origin)) = (&self.origins, &resource.origin) {
            annotations.push(("config.kubernetes.io/origin", self.text(origin, ""), asked));
        }
        if let Some(asked) = &self.transformers
            && !resource.changed_by.is_empty()
        {
            let mut text = String::new();
            for by in &resource.changed_by {
                let item = self.text(by, "  ");
                text.push_str("- ");
                text.push_str(item.trim_start());
            }
            annotations.push(("alpha.config.kubernetes.io/transformations", text, asked));
        }
        let Some(metadata) = resource.node.map_under("metadata", &place) else {
            return Err(RenderError::invalid(&place, "metadata is no map"));
        };
        for (key, text, asked) in annotations {
            if let Some(map) = metadata.map_under("annotations", &place) {
                map.set_over(key, Node::text(text, asked.clone()));
            }
        }
        if let Some(asked) = &self.managed_by
            && let Some(map) = metadata.map_under("labels", &place)
        {
            map.set_over(
                "app.kubernetes.io/managed-by",
                Node::text("kustomize-v5.5.0", asked.clone()),
            );
        }
        Ok(())
    }
}
