//! Fields that no schema has, left out: what `Validate=false` comes to where the server refuses them in any case.
//!
//! A client-side apply with `--validate=false` drops them in silence. A server-side apply is refused, and names them.

use serde_json::Value;

use crate::refusal::untyped;
use crate::status::Status;

/// How the server says so of one field. Source: structured-merge-diff, `typed/helpers.go`.
const UNDECLARED: &str = "field not declared in schema";

/// The fields that nobody knows, when that is all there is to the refusal.
pub(crate) fn fields(status: &Status) -> Option<Vec<String>> {
    let causes = untyped(status, false)?;
    let is_one = |(field, message): &(String, String)| !field.is_empty() && message == UNDECLARED;
    let all = !causes.is_empty() && causes.iter().all(is_one);
    all.then(|| causes.into_iter().map(|(field, _)| field).collect())
}

/// The same body without these fields; none when one of them is not in it.
pub(crate) fn without(body: &[u8], fields: &[String]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    for field in fields {
        remove(&mut value, field)?;
    }
    Some(value.to_string().into_bytes())
}

/// Removes what stands at such a path: `spec.containers[name="web"].colour`, `spec.list[0].colour`.
fn remove(value: &mut Value, path: &str) -> Option<()> {
    if let Some(rest) = path.strip_prefix('[') {
        let (at, rest) = rest.split_once(']')?;
        let list = value.as_array_mut()?;
        let item = match at.parse::<usize>() {
            Ok(index) => list.get_mut(index)?,
            Err(_) => list.iter_mut().find(|item| has(item, at))?,
        };
        return remove(item, rest);
    }
    let map = value.as_object_mut()?;
    let path = path.strip_prefix('.').unwrap_or(path);
    // A key may have dots in it, and the server does not quote them: the whole rest first.
    if map.remove(path).is_some() {
        return Some(());
    }
    let end = path.find(['.', '['])?;
    let (key, rest) = path.split_at_checked(end)?;
    remove(map.get_mut(key)?, rest)
}

/// Does the item have these keys: `containerPort=80,protocol="TCP"`?
fn has(item: &Value, keys: &str) -> bool {
    keys.split(',').all(|pair| {
        let wanted = pair.split_once('=').and_then(|(key, value)| {
            let value: Value = serde_json::from_str(value).ok()?;
            Some((key, value))
        });
        wanted.is_some_and(|(key, value)| item.get(key) == Some(&value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(message: &str) -> Status {
        Status {
            code: 500,
            message: message.to_owned(),
            ..Status::default()
        }
    }

    #[test]
    fn fields_are_named_only_when_nothing_else_is_wrong() {
        let both = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): errors:\n  \
                    .spec.foo: field not declared in schema\n  .spec.bar: field not declared in schema";
        assert_eq!(
            fields(&status(both)),
            Some(vec!["spec.foo".to_owned(), "spec.bar".to_owned()])
        );
        let other = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): \
                     .spec.replicas: expected numeric (int or float), got string";
        assert_eq!(fields(&status(other)), None);
        assert_eq!(fields(&status("etcd is down")), None);
    }

    #[test]
    fn a_field_is_left_out_through_lists_and_their_keys() {
        let body = json!({"spec": {"colour": "red", "containers": [
            {"name": "side", "colour": 1}, {"name": "web", "colour": 2}], "list": [{"a.b": 1, "c": 2}]}});
        let left = without(
            body.to_string().as_bytes(),
            &[
                "spec.colour".to_owned(),
                "spec.containers[name=\"web\"].colour".to_owned(),
                "spec.list[0].a.b".to_owned(),
            ],
        )
        .expect("they are all there");
        let left: Value = serde_json::from_slice(&left).expect("it is JSON");
        assert_eq!(
            left,
            json!({"spec": {"containers": [{"name": "side", "colour": 1}, {"name": "web"}], "list": [{"c": 2}]}})
        );
        assert_eq!(
            without(body.to_string().as_bytes(), &["spec.size".to_owned()]),
            None
        );
    }
}
