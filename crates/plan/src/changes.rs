//! Two objects compared field by field, as people read it.

use lockstep_manifest::{Manifest, pointer};
use serde_json::Value;

/// Values longer than this are cut in texts; the whole stands in the diff.
const LONGEST: usize = 60;
/// Objects nest less deep than this; the YAML reader and the API server both refuse more.
const DEPTH: usize = 128;

/// One side of a changed field.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// Nothing there.
    Absent,
    /// This value.
    Value(Value),
    /// A value that is nobody's to see.
    Hidden,
}

impl Side {
    /// The value on one line, cut at 60 characters; a hidden one says so.
    pub fn text(&self) -> String {
        match self {
            Self::Absent => "–".to_owned(),
            Self::Hidden => "(hidden)".to_owned(),
            Self::Value(value) => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                if text.chars().count() > LONGEST {
                    let cut: String = text.chars().take(LONGEST - 1).collect();
                    format!("{cut}…")
                } else {
                    text
                }
            }
        }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// The path for people: `spec.template.spec.containers[web].image`.
    pub path: String,
    /// The JSON pointer, into the object in which the field exists (the first of `before`, `after`).
    pub pointer: String,
    /// What stands there.
    pub before: Side,
    /// What would stand there.
    pub after: Side,
}

/// What turns `before` into `after`: leaves only, maps by key, lists of named things by name, other lists by position.
///
/// Shape: the server's own bookkeeping (`status`, `managedFields`, versions and times) is left out; values of a Secret
/// are hidden, only that they differ is said.
pub fn changes(before: &Manifest, after: &Manifest) -> Vec<FieldChange> {
    let secret = after.kind() == "Secret" && after.gvk().group.is_empty();
    let mut found = Vec::new();
    for (key, value) in before.body() {
        if is_bookkeeping(&["", key]) {
            continue;
        }
        let at = Spot::top(key, secret);
        compare(Some(value), after.body().get(key), &at, DEPTH, &mut found);
    }
    for (key, value) in after.body() {
        if before.body().contains_key(key) || is_bookkeeping(&["", key]) {
            continue;
        }
        let at = Spot::top(key, secret);
        compare(None, Some(value), &at, DEPTH, &mut found);
    }
    found
}

/// The live object with what git says laid over it: what an apply comes to as far as can be told without the server,
/// which defaults, converts and admits besides.
///
/// Shape: maps by key, lists of named things by name, anything else as a whole.
pub fn overlaid(live: &Manifest, wanted: &Manifest) -> Option<Manifest> {
    let mut value = Value::Object(live.body().clone());
    overlay(&mut value, &Value::Object(wanted.body().clone()), DEPTH);
    Manifest::from_value(value).ok()
}

fn overlay(into: &mut Value, wanted: &Value, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match (into, wanted) {
        (Value::Object(into), Value::Object(wanted)) => {
            for (key, value) in wanted {
                match into.get_mut(key) {
                    Some(known) => overlay(known, value, depth),
                    None => {
                        into.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(wanted)) => {
            let Some(key) = list_key(into, wanted) else {
                into.clone_from(wanted);
                return;
            };
            for item in wanted {
                match into
                    .iter_mut()
                    .find(|known| known.get(key) == item.get(key))
                {
                    Some(known) => overlay(known, item, depth),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, wanted) => into.clone_from(wanted),
    }
}

struct Spot {
    path: String,
    pointer: String,
    hidden: bool,
    secret: bool,
}

impl Spot {
    fn top(key: &str, secret: bool) -> Self {
        let hidden = secret && (key == "data" || key == "stringData");
        Self {
            path: key.to_owned(),
            pointer: pointer::join("", key),
            hidden,
            secret,
        }
    }

    fn key(&self, key: &str) -> Self {
        let path = if key.contains(['.', '/']) {
            format!("{}[{key}]", self.path)
        } else {
            format!("{}.{key}", self.path)
        };
        // kubectl's last-applied annotation repeats a Secret's values, so no annotation of a Secret is shown.
        let hidden = self.hidden || (self.secret && key == "annotations");
        Self {
            path,
            pointer: pointer::join(&self.pointer, key),
            hidden,
            secret: self.secret,
        }
    }

    fn item(&self, label: &str, index: usize) -> Self {
        Self {
            path: format!("{}[{label}]", self.path),
            pointer: pointer::join(&self.pointer, &index.to_string()),
            hidden: self.hidden,
            secret: self.secret,
        }
    }
}

fn is_bookkeeping(path: &[&str; 2]) -> bool {
    match path {
        ["", key] => *key == "status",
        ["metadata", key] => matches!(
            *key,
            "managedFields"
                | "resourceVersion"
                | "generation"
                | "uid"
                | "creationTimestamp"
                | "selfLink"
        ),
        _ => false,
    }
}

fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    at: &Spot,
    depth: usize,
    found: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (key, value) in old {
                if !is_bookkeeping(&[&at.path, key]) {
                    compare(Some(value), new.get(key), &at.key(key), depth, found);
                }
            }
            for (key, value) in new {
                if !old.contains_key(key) && !is_bookkeeping(&[&at.path, key]) {
                    compare(None, Some(value), &at.key(key), depth, found);
                }
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            if let Some(key) = list_key(old, new) {
                for (index, value) in old.iter().enumerate() {
                    let name = label(value, key);
                    let other = new.iter().find(|other| other.get(key) == value.get(key));
                    compare(Some(value), other, &at.item(&name, index), depth, found);
                }
                for (index, value) in new.iter().enumerate() {
                    if !old.iter().any(|other| other.get(key) == value.get(key)) {
                        compare(
                            None,
                            Some(value),
                            &at.item(&label(value, key), index),
                            depth,
                            found,
                        );
                    }
                }
            } else {
                for index in 0..old.len().max(new.len()) {
                    let at = at.item(&index.to_string(), index);
                    compare(old.get(index), new.get(index), &at, depth, found);
                }
            }
        }
        _ => {
            let side = |value: Option<&Value>| match value {
                None => Side::Absent,
                Some(_) if at.hidden => Side::Hidden,
                Some(value) => Side::Value(value.clone()),
            };
            found.push(FieldChange {
                path: at.path.clone(),
                pointer: at.pointer.clone(),
                before: side(before),
                after: side(after),
            });
        }
    }
}

/// The key that names every item of both lists, each name once.
fn list_key(old: &[Value], new: &[Value]) -> Option<&'static str> {
    [
        "name",
        "key",
        "containerPort",
        "port",
        "mountPath",
        "type",
        "ip",
    ]
    .into_iter()
    .find(|key| {
        [old, new].iter().all(|list| {
            let mut names: Vec<String> = Vec::with_capacity(list.len());
            list.iter().all(|item| {
                let Some(name) = item.get(*key).map(Value::to_string) else {
                    return false;
                };
                let fresh = !names.contains(&name);
                names.push(name);
                fresh
            })
        })
    })
}

fn label(item: &Value, key: &str) -> String {
    item.get(key).map_or_else(String::new, |name| {
        name.as_str()
            .map_or_else(|| name.to_string(), str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, rest: Value) -> Manifest {
        let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
        for (key, part) in rest.as_object().expect("a map") {
            value[key] = part.clone();
        }
        Manifest::from_value(value).expect("it is an object")
    }

    #[test]
    fn items_of_a_named_list_are_compared_by_name_whatever_their_order() {
        let before = object(
            "Pod",
            json!({"spec": {"containers": [
            {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}),
        );
        let after = object(
            "Pod",
            json!({"spec": {"containers": [
            {"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}}),
        );
        let found = changes(&before, &after);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "spec.containers[b].image");
        assert_eq!(
            (found[0].before.text(), found[0].after.text()),
            ("1".into(), "2".into())
        );
    }

    #[test]
    fn a_secrets_values_are_never_in_a_change() {
        let before = object("Secret", json!({"data": {"password": "b2xk"}}));
        let after = object("Secret", json!({"data": {"password": "bmV3"}}));
        let found = changes(&before, &after);
        assert_eq!(found[0].path, "data.password");
        assert_eq!(
            (&found[0].before, &found[0].after),
            (&Side::Hidden, &Side::Hidden)
        );
    }

    #[test]
    fn a_secret_whose_data_appears_as_a_whole_is_hidden_too() {
        let before = object("Secret", json!({}));
        let after = object("Secret", json!({"data": {"password": "bmV3"}}));
        let found = changes(&before, &after);
        assert_eq!(found[0].after, Side::Hidden);
    }

    #[test]
    fn what_git_says_is_laid_over_what_is_live_by_the_names_of_things() {
        let live = object(
            "Pod",
            json!({"spec": {"node": "n1", "args": ["a"], "containers": [
            {"name": "mesh"}, {"name": "web", "image": "1", "tty": true}]}}),
        );
        let wanted = object(
            "Pod",
            json!({"spec": {"args": ["b"], "containers": [{"name": "web", "image": "2"}]}}),
        );
        let both = overlaid(&live, &wanted).expect("it is an object");
        assert_eq!(
            both.get(&["spec"]),
            Some(&json!({"node": "n1", "args": ["b"], "containers": [
                {"name": "mesh"}, {"name": "web", "image": "2", "tty": true}]}))
        );
    }

    #[test]
    fn status_and_versions_are_the_servers_own_business() {
        let before = object("Pod", json!({"status": {"phase": "Pending"}}));
        let after = object("Pod", json!({"status": {"phase": "Running"}}));
        assert_eq!(changes(&before, &after), []);
    }
}
