//! One object, as it stands in git or as a server answered it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::id::{Gvk, ObjectId, Uid};
use crate::places::{Place, Places};
use crate::pointer;

/// The value is not a Kubernetes object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAnObject {
    /// It is a list, a number, a text.
    #[error("not a map")]
    NotAMap,
    /// It lacks one of `apiVersion`, `kind` and `metadata.name`, or it is empty, or no text.
    #[error("{field} is missing or not a text")]
    Missing {
        /// The field.
        field: &'static str,
    },
}

/// One Kubernetes object.
///
/// Shape: a JSON map with `apiVersion`, `kind` and a name (or `generateName`), checked once on the way in, so that
/// asking for them cannot fail later. Where its leaves were written is kept beside it when the reader knew.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    body: Map<String, Value>,
    places: Places,
}

impl Manifest {
    /// Takes a value as an object. Errors: it lacks what makes it one.
    pub fn from_value(value: Value) -> Result<Self, NotAnObject> {
        let Value::Object(body) = value else {
            return Err(NotAnObject::NotAMap);
        };
        let text = |at: Option<&Value>| at.and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        if !text(body.get("apiVersion")) {
            return Err(NotAnObject::Missing {
                field: "apiVersion",
            });
        }
        if !text(body.get("kind")) {
            return Err(NotAnObject::Missing { field: "kind" });
        }
        let metadata = body.get("metadata");
        if !text(metadata.and_then(|m| m.get("name")))
            && !text(metadata.and_then(|m| m.get("generateName")))
        {
            return Err(NotAnObject::Missing {
                field: "metadata.name",
            });
        }
        Ok(Self {
            body,
            places: Places::default(),
        })
    }

    /// The same object, knowing where its leaves were written.
    #[must_use]
    pub fn with_places(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    /// Where the value at a JSON pointer was set last; of a map or list, where its first leaf was.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        self.places.place(pointer)
    }

    /// Where it and its leaves were written, as far as that is known.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Every place that set each leaf, oldest first, by the path that people read ([`pointer::readable`]).
    pub fn places_by_path(&self) -> BTreeMap<String, Vec<Place>> {
        let root = Value::Object(self.body.clone());
        self.places
            .leaves()
            .map(|leaf| (pointer::readable(&root, &leaf.pointer), leaf.places))
            .collect()
    }

    /// What it is called.
    pub fn id(&self) -> ObjectId {
        let gvk = self.gvk();
        ObjectId {
            group: gvk.group,
            kind: gvk.kind,
            namespace: self.namespace().unwrap_or_default().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// Its kind with the version.
    pub fn gvk(&self) -> Gvk {
        Gvk::from_api_version(self.text(&["apiVersion"]), self.text(&["kind"]))
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    /// `metadata.name`; empty when only `generateName` is there.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `metadata.namespace`, when it is there and not empty.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.text(&["metadata", "namespace"])).filter(|n| !n.is_empty())
    }

    /// Sets or clears the namespace.
    pub fn set_namespace(&mut self, namespace: Option<&str>) {
        match namespace {
            Some(name) => {
                self.metadata_mut()
                    .insert("namespace".to_owned(), Value::from(name));
            }
            None => {
                self.metadata_mut().remove("namespace");
            }
        }
    }

    /// `metadata.uid`, which only a live object has.
    pub fn uid(&self) -> Option<Uid> {
        self.get(&["metadata", "uid"])
            .and_then(Value::as_str)
            .map(|u| Uid(u.to_owned()))
    }

    /// `metadata.resourceVersion`, which only a live object has.
    pub fn resource_version(&self) -> Option<&str> {
        self.get(&["metadata", "resourceVersion"])
            .and_then(Value::as_str)
    }

    /// Is somebody deleting it?
    pub fn is_terminating(&self) -> bool {
        self.get(&["metadata", "deletionTimestamp"]).is_some()
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "labels", key])
            .and_then(Value::as_str)
    }

    /// The value of one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "annotations", key])
            .and_then(Value::as_str)
    }

    /// Sets one label.
    pub fn set_label(&mut self, key: &str, value: &str) {
        self.metadata_map("labels")
            .insert(key.to_owned(), Value::from(value));
    }

    /// Sets one annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        self.metadata_map("annotations")
            .insert(key.to_owned(), Value::from(value));
    }

    /// The value under these keys.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.body.get(*first)?, |value, key| value.get(key))
    }

    /// The text under these keys, empty when it is not there or no text.
    pub fn text(&self, path: &[&str]) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole object.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The whole object, to be changed. Whoever changes its name or kind answers for it.
    pub fn body_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.body
    }

    /// The whole object as a value.
    pub fn into_value(self) -> Value {
        Value::Object(self.body)
    }

    /// The digest of the body: equal objects, equal digests.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The body as canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body).expect("a JSON map has text keys only")
    }

    fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        map_at(&mut self.body, "metadata")
    }

    fn metadata_map(&mut self, key: &str) -> &mut Map<String, Value> {
        map_at(self.metadata_mut(), key)
    }
}

/// The map under `key`, made when something else, or nothing, stood there (`labels: null` is common in git).
fn map_at<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = parent
        .entry(key.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
        .expect("it was made a map on the line above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_without_a_name_is_refused_with_the_field() {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
        assert_eq!(
            Manifest::from_value(value),
            Err(NotAnObject::Missing {
                field: "metadata.name"
            })
        );
    }

    #[test]
    fn labels_that_are_null_in_git_can_be_set() {
        let mut object = Manifest::from_value(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": null}}),
        )
        .expect("it is an object");
        object.set_label("a", "b");
        assert_eq!(object.label("a"), Some("b"));
    }
}
