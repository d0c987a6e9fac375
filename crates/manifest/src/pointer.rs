//! JSON pointers (RFC 6901) into objects: reading, removing, and writing them for people.

use serde_json::Value;

/// The parts of a pointer, unescaped. An empty pointer has none; one that does not begin with `/` is no pointer.
pub fn parts(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let rest = pointer.strip_prefix('/')?;
    Some(
        rest.split('/')
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

/// One more part at the end of a pointer, escaped.
pub fn join(pointer: &str, part: &str) -> String {
    let mut joined = String::with_capacity(pointer.len() + part.len() + 1);
    joined.push_str(pointer);
    push(&mut joined, part);
    joined
}

/// Puts one more part at the end of a pointer, escaped.
pub fn push(pointer: &mut String, part: &str) {
    pointer.push('/');
    let mut rest = part;
    while let Some(at) = rest.find(['~', '/']) {
        let (before, behind) = rest.split_at(at);
        pointer.push_str(before);
        pointer.push_str(if behind.starts_with('~') { "~0" } else { "~1" });
        rest = behind.get(1..).unwrap_or_default();
    }
    pointer.push_str(rest);
}

/// Removes what the pointer names; returns it. Nothing there: nothing happens.
pub fn remove(value: &mut Value, pointer: &str) -> Option<Value> {
    let parts = parts(pointer)?;
    let (last, parents) = parts.split_last()?;
    let mut at = value;
    for part in parents {
        at = match at {
            Value::Object(map) => map.get_mut(part)?,
            Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match at {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let index = last.parse::<usize>().ok()?;
            (index < list.len()).then(|| list.remove(index))
        }
        _ => None,
    }
}

/// The pointer as a path for people: `spec.template.spec.containers[web].image`, list items by name where they
/// have one, keys with dots in brackets.
pub fn readable(root: &Value, pointer: &str) -> String {
    let mut text = String::new();
    let mut at = Some(root);
    for part in parts(pointer).unwrap_or_default() {
        if let Some(Value::Array(list)) = at {
            let item = part.parse::<usize>().ok().and_then(|index| list.get(index));
            let name = item.and_then(|item| {
                ["name", "key", "containerPort", "port", "mountPath", "host"]
                    .iter()
                    .find_map(|key| {
                        item.get(key)
                            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                    })
            });
            text.extend(["[", &name.unwrap_or(part), "]"]);
            at = item;
            continue;
        }
        if part.contains(['.', '/']) {
            text.extend(["[", &part, "]"]);
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
        at = at.and_then(|value| value.get(&part));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_for_people_names_list_items_by_their_key() {
        let root = json!({"spec": {"containers": [{"name": "web", "image": "a"}]},
                          "metadata": {"annotations": {"a.b/c": "d"}}});
        assert_eq!(
            readable(&root, "/spec/containers/0/image"),
            "spec.containers[web].image"
        );
        assert_eq!(
            readable(&root, "/metadata/annotations/a.b~1c"),
            "metadata.annotations[a.b/c]"
        );
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut root = json!({"a": [1, 2]});
        assert_eq!(remove(&mut root, "/a/7"), None);
        assert_eq!(remove(&mut root, "/a/0"), Some(json!(1)));
        assert_eq!(root, json!({"a": [2]}));
    }
}
