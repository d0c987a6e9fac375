//! Which fields a manager owns on a live object, and what they hold: the measure of drift.
//!
//! Source: `metadata.managedFields[].fieldsV1`, as written by Kubernetes' structured-merge-diff: `f:NAME` a field,
//! `k:{…}` a list item by its keys, `v:…` a set's value, `i:N` an index, `.` the thing itself; `{}` ends a path.
//!
//! The server keeps this set for every apply, so nobody needs a schema to know that a list is merged by name, or
//! that a foreign field is not ours: what we own is what the server says we own.

mod set;

pub mod others;
pub mod takeover;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::object::Manifest;

/// Our field manager's name, in every request that writes.
pub const MANAGER: &str = "lockstep";

/// Where a workload says how many of it there are, as a JSON pointer.
pub const REPLICAS: &str = "/spec/replicas";

/// How deep a set of fields may nest; custom resources are the deepest there is, and stop far above.
const DEPTH: usize = 128;

/// The fields that `manager` owns by apply, or none when it owns nothing.
pub fn owned<'a>(live: &'a Manifest, manager: &str) -> Option<&'a Value> {
    entries(live)
        .find(|entry| {
            entry.get("manager").and_then(Value::as_str) == Some(manager)
                && entry.get("operation").and_then(Value::as_str) == Some("Apply")
                && entry.get("subresource").is_none()
        })?
        .get("fieldsV1")
}

/// A digest of the leaves that we own with what they hold: equal fingerprints mean that nothing of ours was touched,
/// neither a value nor who it belongs to. What stands under the `ignored` JSON pointers is left out.
///
/// None when we own nothing, or when the set cannot be read: then nothing is known, and somebody has to ask.
pub fn fingerprint(live: &Manifest, ignored: &[String]) -> Option<Digest> {
    let owned = owned(live, MANAGER)?;
    let without;
    let live = if ignored.is_empty() {
        live
    } else {
        let mut value = Value::Object(live.body().clone());
        for pointer in ignored {
            crate::pointer::remove(&mut value, pointer);
        }
        without = Manifest::from_value(value).ok()?;
        &without
    };
    let mut hash = Sha256::new();
    let held = held(live, owned)?;
    for (path, value) in held {
        hash.update([0]);
        hash.update(path.as_bytes());
        hash.update([1]);
        hash.update(value.to_string().as_bytes());
    }
    Some(Digest(hex::encode(&hash.finalize()[..16])))
}

/// The leaves of a set of fields with the values they hold, by path (`.spec.containers[name="web"].image`).
/// None when the set is malformed.
pub fn held<'a>(live: &'a Manifest, owned: &Value) -> Option<BTreeMap<String, &'a Value>> {
    let mut found = BTreeMap::new();
    for (key, below) in owned.as_object()? {
        let Some(name) = key.strip_prefix("f:") else {
            continue;
        };
        // The server writes these by itself; they are never ours to restore.
        if let Some(value) = live.body().get(name) {
            gather(value, below, format!(".{name}"), DEPTH, &mut found)?;
        }
    }
    Some(found)
}

fn gather<'a>(
    value: &'a Value,
    owned: &Value,
    path: String,
    depth: usize,
    found: &mut BTreeMap<String, &'a Value>,
) -> Option<()> {
    let below = owned.as_object()?;
    if below.is_empty() {
        found.insert(path, value);
        return Some(());
    }
    let depth = depth.checked_sub(1)?;
    for (key, owned) in below {
        if key == "." {
            continue;
        }
        let (mark, rest) = key.split_once(':')?;
        let child = match mark {
            "f" => value
                .get(rest)
                .map(|child| (format!("{path}.{rest}"), child)),
            "k" => {
                let keys: Value = serde_json::from_str(rest).ok()?;
                item_by_keys(value, &keys).map(|child| (format!("{path}[{rest}]"), child))
            }
            "v" => {
                let wanted: Value = serde_json::from_str(rest).ok()?;
                let list = value.as_array();
                list.and_then(|list| list.iter().find(|item| **item == wanted))
                    .map(|child| (format!("{path}[={rest}]"), child))
            }
            "i" => rest
                .parse::<usize>()
                .ok()
                .and_then(|index| value.get(index))
                .map(|child| (format!("{path}[{rest}]"), child)),
            _ => return None,
        };
        if let Some((path, child)) = child {
            gather(child, owned, path, depth, found)?;
        }
    }
    Some(())
}

fn item_by_keys<'a>(list: &'a Value, keys: &Value) -> Option<&'a Value> {
    let keys = keys.as_object()?;
    list.as_array()?.iter().find(|item| {
        keys.iter()
            .all(|(key, wanted)| item.get(key) == Some(wanted))
    })
}

/// Who wrote to an object, by what, when: one entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The field manager's name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource, when it was not the object itself: `scale`, `status`.
    pub subresource: Option<String>,
    /// When this manager last wrote to the object: no later than any of its fields was written.
    pub at: Option<Timestamp>,
}

/// Who owns the value at this JSON pointer, by the server's bookkeeping; several may.
///
/// Shape: managers other than us first. List items are found by position in the live object, so the pointer must be
/// one into this very object.
pub fn writers(live: &Manifest, pointer: &str) -> Vec<Writer> {
    let Some(parts) = crate::pointer::parts(pointer) else {
        return Vec::new();
    };
    let root = Value::Object(live.body().clone());
    let mut found: Vec<Writer> = entries(live)
        .filter(|entry| {
            entry
                .get("fieldsV1")
                .is_some_and(|set| owns(set, &root, &parts))
        })
        .map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
            Writer {
                manager: text("manager").unwrap_or_default(),
                operation: text("operation").unwrap_or_default(),
                subresource: text("subresource"),
                at: text("time").and_then(|at| at.parse().ok()),
            }
        })
        .collect();
    found.sort_by_key(|writer| (writer.manager == MANAGER, std::cmp::Reverse(writer.at)));
    found
}

/// The manager that wrote last, other than us: the best that can be said of a field which somebody removed.
pub fn last_writer(live: &Manifest) -> Option<Writer> {
    entries(live)
        .filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
            let manager = text("manager").filter(|manager| manager != MANAGER)?;
            Some(Writer {
                manager,
                operation: text("operation").unwrap_or_default(),
                subresource: text("subresource"),
                at: text("time").and_then(|at| at.parse().ok()),
            })
        })
        .filter(|writer| writer.subresource.as_deref() != Some("status"))
        .max_by_key(|writer| writer.at)
}

fn owns(set: &Value, value: &Value, parts: &[String]) -> bool {
    let Some(below) = set.as_object() else {
        return false;
    };
    let Some((part, rest)) = parts.split_first() else {
        return true;
    };
    if below.is_empty() {
        return true; // the set ends above: everything below is owned with it
    }
    let child = match value {
        Value::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
        other => other.get(part),
    };
    below.iter().any(|(key, set)| {
        let hit = match key.split_once(':') {
            Some(("f", name)) => name == part,
            Some(("i", index)) => index == part,
            Some(("k", keys)) => serde_json::from_str::<Value>(keys)
                .ok()
                .zip(child)
                .is_some_and(|(keys, item)| {
                    keys.as_object().is_some_and(|keys| {
                        keys.iter()
                            .all(|(key, wanted)| item.get(key) == Some(wanted))
                    })
                }),
            Some(("v", wanted)) => {
                serde_json::from_str::<Value>(wanted).ok().as_ref() == child && child.is_some()
            }
            _ => false,
        };
        hit && owns(set, child.unwrap_or(&Value::Null), rest)
    })
}

fn entries(live: &Manifest) -> impl Iterator<Item = &Value> {
    live.get(&["metadata", "managedFields"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(replicas: i64, foreign: &str) -> Manifest {
        Manifest::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web", "theirs": foreign}, "managedFields": [
                {"manager": "lockstep", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                        "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}}},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:theirs": {}}}}}
            ]},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "sidecar", "image": foreign}, {"name": "web", "image": "web:1"}]}}}
        }))
        .expect("it is an object")
    }

    #[test]
    fn a_foreign_field_does_not_change_the_fingerprint() {
        assert_eq!(
            fingerprint(&live(3, "a"), &[]),
            fingerprint(&live(3, "b"), &[])
        );
    }

    #[test]
    fn a_changed_field_of_ours_changes_the_fingerprint() {
        assert_ne!(
            fingerprint(&live(3, "a"), &[]),
            fingerprint(&live(4, "a"), &[])
        );
    }

    #[test]
    fn a_change_under_an_ignored_pointer_does_not_count() {
        let ignored = ["/spec/replicas".to_owned()];
        assert_eq!(
            fingerprint(&live(3, "a"), &ignored),
            fingerprint(&live(4, "a"), &ignored)
        );
    }

    #[test]
    fn an_object_without_our_entry_has_no_fingerprint() {
        let bare = Manifest::from_value(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        )
        .expect("it is an object");
        assert_eq!(fingerprint(&bare, &[]), None);
    }

    #[test]
    fn the_writer_of_a_field_is_found_through_list_keys() {
        let live = live(3, "a");
        let names = |pointer: &str| {
            writers(&live, pointer)
                .into_iter()
                .map(|w| w.manager)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("/spec/template/spec/containers/1/image"),
            ["lockstep"]
        );
        assert_eq!(
            names("/spec/template/spec/containers/0/image"),
            Vec::<String>::new()
        );
        assert_eq!(names("/metadata/labels/theirs"), ["kubectl-edit"]);
    }

    #[test]
    fn a_set_nested_without_end_is_refused_instead_of_followed() {
        let mut set = json!({});
        let mut value = json!(1);
        for _ in 0..400 {
            set = json!({"f:a": set});
            value = json!({"a": value});
        }
        let object = Manifest::from_value(
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "a": value}),
        )
        .expect("it is an object");
        assert_eq!(held(&object, &set), None);
    }
}
