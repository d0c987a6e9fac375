//! Fields that stay as they are while the rest is applied: replicas under an autoscaler, and what an app ignores.
//!
//! To say the live value instead would do, were it not for whoever changes it between our read and our write: a number
//! that an autoscaler has just raised would fall back. So what can be left out is left out, and given up before.

use lockstep_cluster::{Cluster, ClusterError};
use lockstep_manifest::fields::{REPLICAS, takeover};
use lockstep_manifest::{Manifest, pointer};
use lockstep_plan::Wanted;
use serde_json::{Map, Value};

/// The JSON pointers under which nothing changes when this is applied.
///
/// Bounds: no request, except where git does not say how many there are and we own the number, as after git stopped
/// saying it: then the namespace's autoscalers are listed.
pub(super) async fn pointers(
    cluster: &Cluster,
    wanted: &Wanted,
    owns_replicas: bool,
) -> Result<Vec<String>, ClusterError> {
    let mut pointers = wanted.handed_over.clone();
    if wanted.manifest.get(&["spec", "replicas"]).is_some() {
        return Ok(pointers);
    }
    let is_named = pointers.iter().any(|at| at == REPLICAS);
    if !owns_replicas {
        pointers.retain(|at| at != REPLICAS);
    } else if !is_named && cluster.is_scaled(&wanted.id).await? {
        pointers.push(REPLICAS.to_owned());
    }
    Ok(pointers)
}

/// What is sent so that nothing changes under these pointers, and those of them that are ours to give up before.
///
/// Shape: what somebody owns by itself is left out; what is owned with what is around it, as in a list without keys,
/// cannot be, and has its live value.
pub(super) fn leave(
    mut body: Manifest,
    live: &Manifest,
    pointers: &[String],
) -> (Manifest, Vec<String>) {
    let (mut release, mut keep) = (Vec::new(), Vec::new());
    let mut value = body.clone().into_value();
    for at in pointers {
        let says = value.pointer(at).is_some();
        match takeover::is_apart(live, at) {
            Some(true) => {
                pointer::remove(&mut value, at);
                if takeover::is_ours_apart(live, at) {
                    release.push(at.clone());
                }
            }
            None if !says => {}
            Some(false) | None => keep.push(at.clone()),
        }
    }
    let places = body.places().clone();
    if let Ok(left) = Manifest::from_value(value) {
        body = left.with_places(places);
    }
    (self::keep(body, live, &keep), release)
}

/// The manifest with the live values under these pointers.
pub(super) fn keep(body: Manifest, live: &Manifest, pointers: &[String]) -> Manifest {
    if pointers.is_empty() {
        return body;
    }
    let places = body.places().clone();
    let mut value = body.clone().into_value();
    let now = Value::Object(live.body().clone());
    for at in pointers {
        match now.pointer(at) {
            Some(kept) => put(&mut value, at, kept.clone()),
            None => {
                pointer::remove(&mut value, at);
            }
        }
    }
    Manifest::from_value(value).map_or(body, |kept| kept.with_places(places))
}

/// Sets the value under a pointer through maps that are there; lists and missing maps are left alone.
fn put(root: &mut Value, at: &str, value: Value) {
    let Some(parts) = pointer::parts(at) else {
        return;
    };
    let Some((last, parents)) = parts.split_last() else {
        return;
    };
    let mut here = root;
    for part in parents {
        here = match here {
            Value::Object(map) => map
                .entry(part.clone())
                .or_insert_with(|| Value::Object(Map::new())),
            Value::Array(list) => {
                let Some(item) = part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| list.get_mut(index))
                else {
                    return;
                };
                item
            }
            _ => return,
        };
    }
    if let Value::Object(map) = here {
        map.insert(last.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: &Value, fields: &Value) -> Manifest {
        Manifest::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "managedFields": [
                {"manager": "lockstep", "operation": "Apply", "fieldsV1": {"f:spec": fields}}]},
            "spec": spec}))
        .expect("it is an object")
    }

    #[test]
    fn what_is_owned_by_itself_is_left_out_and_given_up() {
        let live = object(&json!({"replicas": 5}), &json!({"f:replicas": {}}));
        let git = object(&json!({"replicas": 1, "paused": true}), &json!({}));
        let (body, release) = leave(git, &live, &[REPLICAS.to_owned()]);
        assert_eq!(body.get(&["spec"]), Some(&json!({"paused": true})));
        assert_eq!(release, [REPLICAS]);
    }

    #[test]
    fn what_git_no_longer_says_is_given_up_too() {
        let live = object(&json!({"replicas": 5}), &json!({"f:replicas": {}}));
        let git = object(&json!({"paused": true}), &json!({}));
        let (body, release) = leave(git, &live, &[REPLICAS.to_owned()]);
        assert_eq!(body.get(&["spec"]), Some(&json!({"paused": true})));
        assert_eq!(release, [REPLICAS]);
    }

    #[test]
    fn what_is_owned_with_what_is_around_it_has_its_live_value() {
        let live = object(
            &json!({"hosts": [{"a": 1, "b": 2}]}),
            &json!({"f:hosts": {}}),
        );
        let git = object(&json!({"hosts": [{"a": 7, "b": 2}]}), &json!({}));
        let (body, release) = leave(git, &live, &["/spec/hosts/0/a".to_owned()]);
        assert_eq!(
            body.get(&["spec", "hosts"]),
            Some(&json!([{"a": 1, "b": 2}]))
        );
        assert_eq!(release, Vec::<String>::new());
    }

    #[test]
    fn what_nobody_owns_and_git_does_not_say_is_not_ours_to_say() {
        let live = object(&json!({"replicas": 5}), &json!({"f:paused": {}}));
        let git = object(&json!({"paused": true}), &json!({}));
        let (body, release) = leave(git, &live, &[REPLICAS.to_owned()]);
        assert_eq!(body.get(&["spec"]), Some(&json!({"paused": true})));
        assert!(release.is_empty());
    }
}
