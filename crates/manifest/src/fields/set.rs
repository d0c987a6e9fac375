//! Sets of fields as `fieldsV1` writes them: union, difference, and what of them is there, by path for people.
//!
//! Source: Kubernetes' structured-merge-diff, `fieldpath/serialize.go`. A node is in the set when it is empty or has
//! the key `.`; whatever else it has are its children.

use serde_json::{Map, Value};

use super::{DEPTH, item_by_keys};

/// Children by key: `f:NAME`, `k:{…}`, `v:…`, `i:N`, and `.` for the node itself.
pub(super) type Set = Map<String, Value>;

/// Is the node itself in the set?
pub(super) fn is_member(node: &Set) -> bool {
    node.is_empty() || node.contains_key(".")
}

/// Puts everything of the other set into this one.
pub(super) fn add(into: &mut Set, other: &Set) {
    add_to(into, other, DEPTH);
}

fn add_to(into: &mut Set, other: &Set, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for (key, theirs) in other {
        let Some(theirs) = theirs.as_object() else {
            continue;
        };
        match into.get_mut(key).and_then(Value::as_object_mut) {
            None => {
                into.insert(key.clone(), Value::Object(theirs.clone()));
            }
            Some(ours) if ours.is_empty() != theirs.is_empty() => {
                ours.extend(theirs.clone());
                ours.insert(".".to_owned(), Value::Object(Set::new()));
            }
            Some(ours) => add_to(ours, theirs, depth),
        }
    }
}

/// What is in the first set and not in the second.
pub(super) fn minus(set: &Set, other: &Set) -> Set {
    minus_at(set, other, DEPTH)
}

fn minus_at(set: &Set, other: &Set, depth: usize) -> Set {
    let mut left = Set::new();
    let Some(depth) = depth.checked_sub(1) else {
        return left;
    };
    for (key, node) in set.iter().filter(|(key, _)| *key != ".") {
        let Some(node) = node.as_object() else {
            continue;
        };
        let other = other.get(key).and_then(Value::as_object);
        let mut rest = match other {
            Some(other) => minus_at(node, other, depth),
            None => node.clone(),
        };
        rest.remove(".");
        let stays = is_member(node) && !other.is_some_and(is_member);
        if stays && !node.is_empty() {
            rest.insert(".".to_owned(), Value::Object(Set::new()));
        }
        if !rest.is_empty() || stays {
            left.insert(key.clone(), Value::Object(rest));
        }
    }
    left
}

/// What of the set stands in the object: a set that was written for another version of a kind may name what this one
/// does not have.
pub(super) fn standing(set: &Set, value: &Value) -> Set {
    standing_at(set, value, DEPTH)
}

fn standing_at(set: &Set, value: &Value, depth: usize) -> Set {
    let mut left = Set::new();
    let Some(depth) = depth.checked_sub(1) else {
        return left;
    };
    for (key, node) in set {
        if key == "." {
            left.insert(key.clone(), node.clone());
        } else if let (Some(node), Some((_, child))) = (node.as_object(), child(value, key)) {
            left.insert(key.clone(), Value::Object(standing_at(node, child, depth)));
        }
    }
    left
}

/// The value that a key of a set names, and its part of a path for people: `.image`, `[web]`, `[a.b/c]`.
pub(super) fn child<'a>(value: &'a Value, key: &str) -> Option<(String, &'a Value)> {
    let found = match key.split_once(':')? {
        ("f", name) => value.get(name)?,
        ("k", keys) => item_by_keys(value, &serde_json::from_str(keys).ok()?)?,
        ("v", wanted) => {
            let wanted: Value = serde_json::from_str(wanted).ok()?;
            value.as_array()?.iter().find(|item| **item == wanted)?
        }
        ("i", index) => value.get(index.parse::<usize>().ok()?)?,
        _ => return None,
    };
    Some((part(key), found))
}

/// A key of a set as part of a path for people.
pub(super) fn part(key: &str) -> String {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    match key.split_once(':') {
        Some(("f", name)) if name.contains(['.', '/']) => format!("[{name}]"),
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys = json(keys).unwrap_or_default();
            let names: Vec<String> = keys
                .as_object()
                .into_iter()
                .flat_map(Map::values)
                .map(text)
                .collect();
            format!("[{}]", names.join("/"))
        }
        Some(("v", value)) => format!("[{}]", json(value).as_ref().map_or_else(String::new, text)),
        Some((_, index)) => format!("[{index}]"),
        None => String::new(),
    }
}

/// The paths of the set for people, sorted: whole list items where those are in it, leaves elsewhere. Whose a map is that
/// holds them is nothing to say.
pub(super) fn paths(set: &Set) -> Vec<String> {
    let mut found = Vec::new();
    gather(set, "", DEPTH, &mut found);
    found.sort();
    found
}

fn gather(set: &Set, path: &str, depth: usize, found: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for (key, node) in set.iter().filter(|(key, _)| *key != ".") {
        let Some(node) = node.as_object() else {
            continue;
        };
        let path = format!("{path}{}", part(key));
        let is_item = key.starts_with("k:") && node.contains_key(".");
        if is_item || node.is_empty() {
            found.push(path.trim_start_matches('.').to_owned());
        } else {
            gather(node, &path, depth, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> Set {
        value.as_object().cloned().expect("a set is a map")
    }

    #[test]
    fn a_union_holds_what_either_holds() {
        let mut one = set(json!({"f:spec": {"f:replicas": {}, "f:template": {}}}));
        add(
            &mut one,
            &set(json!({"f:spec": {".": {}, "f:paused": {}, "f:template": {"f:spec": {}}}})),
        );
        assert_eq!(
            Value::Object(one),
            json!({"f:spec": {".": {}, "f:replicas": {}, "f:paused": {}, "f:template": {".": {}, "f:spec": {}}}})
        );
    }

    #[test]
    fn a_difference_keeps_an_item_as_long_as_one_of_its_fields_is_only_theirs() {
        let theirs = set(json!({"f:env": {
            "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}},
            "k:{\"name\":\"B\"}": {".": {}, "f:name": {}, "f:value": {}}}}));
        let ours = set(json!({"f:env": {
            "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}},
            "k:{\"name\":\"B\"}": {".": {}, "f:name": {}}}}));
        assert_eq!(
            Value::Object(minus(&theirs, &ours)),
            json!({"f:env": {"k:{\"name\":\"B\"}": {"f:value": {}}}})
        );
    }

    #[test]
    fn paths_name_whole_items_and_leaves() {
        let set = set(json!({
            "f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}, "f:annotations": {".": {}}, "f:finalizers": {"v:\"x/y\"": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}},
        }));
        assert_eq!(
            paths(&set),
            [
                "metadata.finalizers[x/y]",
                "metadata.labels[a.b/c]",
                "spec.ports[80/TCP]"
            ]
        );
    }

    #[test]
    fn what_another_version_of_the_kind_called_otherwise_is_not_standing() {
        let object = json!({"spec": {"now": 1, "list": [{"name": "a"}]}});
        let set = set(json!({"f:spec": {"f:once": {}, "f:now": {},
            "f:list": {"k:{\"name\":\"a\"}": {".": {}}, "k:{\"name\":\"b\"}": {".": {}}}}}));
        assert_eq!(
            Value::Object(standing(&set, &object)),
            json!({"f:spec": {"f:now": {}, "f:list": {"k:{\"name\":\"a\"}": {".": {}}}}})
        );
    }

    #[test]
    fn a_set_nested_without_end_is_cut_instead_of_followed() {
        let mut deep = Set::new();
        for _ in 0..400 {
            deep = set(json!({"f:a": deep}));
        }
        let mut into = deep.clone();
        add(&mut into, &deep);
        assert_eq!(paths(&minus(&deep, &Set::new())).len(), 0);
    }
}
