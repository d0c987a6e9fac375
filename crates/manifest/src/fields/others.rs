//! What others added to an object of ours: no drift, since git says nothing of it, and still worth knowing.

use serde_json::Value;

use super::set::{self, Set};
use super::takeover::{self, label};
use super::{DEPTH, MANAGER, entries};
use crate::object::Manifest;
use crate::write::Takeover;

/// How many of them are named for one object; the rest is counted.
const NAMED: usize = 8;

/// Managers that do to objects what objects of their kind are for: a volume's name in its claim, a node in a pod.
const OWN_BUSINESS: [&str; 6] = [
    "cert-manager-cainjector",
    "cloud-controller-manager",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

/// Maps whose keys are free to choose: one more of them is an addition, and no field of the object's.
const FREE: [&str; 8] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
];

/// What it is that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// One more key or item beside ours: a label, an environment variable, a port.
    Addition,
    /// A field that git leaves open: `spec.replicas`.
    Field,
}

/// One thing that somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The path for people.
    pub path: String,
    /// What it is.
    pub sort: Sort,
    /// Whose, by the server's bookkeeping.
    pub manager: String,
}

/// What others wrote to one object and we did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Others {
    /// The first of them by path; at most eight.
    pub named: Vec<Other>,
    /// How many there are.
    pub count: usize,
}

/// What others own of this object beside what we own; none when there is nothing, which is the usual case, or when we
/// own nothing.
///
/// Shape: of what is nested only the topmost thing is named. Left out are `status`, what was written by a subresource
/// other than `scale`, and what Kubernetes' own controllers write.
pub fn others(live: &Manifest) -> Option<Others> {
    let ours = super::owned(live, MANAGER)?.as_object()?;
    let root = Value::Object(live.body().clone());
    let mut found: Vec<Other> = Vec::new();
    for entry in entries(live) {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let by_scale = text("subresource") == "scale";
        let is_own_business = OWN_BUSINESS.contains(&text("manager")) && !by_scale;
        let counts = by_scale || entry.get("subresource").is_none();
        if text("manager") == MANAGER || is_own_business || !counts {
            continue;
        }
        let Some(theirs) = entry.get("fieldsV1").and_then(Value::as_object) else {
            continue;
        };
        let mut alone = Vec::new();
        gather(theirs, ours, &root, &Spot::top(), DEPTH, &mut alone);
        let manager = label(entry);
        found.extend(alone.into_iter().map(|alone| Other {
            path: alone.path,
            sort: alone.sort,
            manager: manager.clone(),
        }));
    }
    found.sort_by(|a, b| (&a.path, &a.manager).cmp(&(&b.path, &b.manager)));
    found.dedup_by(|a, b| a.path == b.path);
    let count = found.len();
    found.truncate(NAMED);
    (count > 0).then_some(Others {
        named: found,
        count,
    })
}

/// The object without what goes when these managers are taken over, as far as that can be told: items and keys that only
/// they own. What else they own and git does not say has a default, which only the server knows. None: nothing goes.
pub fn without_left_behind(answered: &Manifest, whose: &Takeover) -> Option<Manifest> {
    let ours = super::owned(answered, MANAGER)?.as_object()?;
    let root = Value::Object(answered.body().clone());
    let (goes, stays): (Vec<&Value>, Vec<&Value>) = entries(answered)
        .filter(|entry| !takeover::is_ours(entry))
        .partition(|entry| takeover::is_of(whose, entry));
    let mut found = Vec::new();
    for set in goes.into_iter().filter_map(takeover::fields_of) {
        gather(set, ours, &root, &Spot::top(), DEPTH, &mut found);
    }
    let mut pointers: Vec<Vec<String>> = found
        .into_iter()
        .filter(|found| found.sort == Sort::Addition)
        .map(|found| found.pointer)
        .filter(|at| {
            let mut sets = stays.iter().filter_map(|entry| takeover::fields_of(entry));
            sets.all(|set| takeover::find(set, &root, at).is_none())
        })
        .collect();
    // The last item of a list first, so that the places of those before it stay.
    pointers.sort_by_key(|at| {
        let parts = at
            .iter()
            .map(|part| (part.parse::<usize>().ok(), part.clone()));
        std::cmp::Reverse(parts.collect::<Vec<_>>())
    });
    pointers.dedup();
    let mut value = root.clone();
    for at in &pointers {
        let mut pointer = String::new();
        for part in at {
            crate::pointer::push(&mut pointer, part);
        }
        crate::pointer::remove(&mut value, &pointer);
    }
    (!pointers.is_empty())
        .then(|| Manifest::from_value(value).ok())
        .flatten()
}

#[derive(Default)]
struct Spot {
    path: String,
    name: String,
    pointer: Vec<String>,
}

impl Spot {
    fn top() -> Self {
        Self::default()
    }
}

/// The topmost thing that is theirs alone.
struct Found {
    path: String,
    sort: Sort,
    pointer: Vec<String>,
}

fn gather(
    theirs: &Set,
    ours: &Set,
    value: &Value,
    at: &Spot,
    depth: usize,
    found: &mut Vec<Found>,
) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for (key, below) in theirs {
        let is_status = at.path.is_empty() && key == "f:status";
        let is_echo = key == "f:kubectl.kubernetes.io/last-applied-configuration";
        if key == "." || is_status || is_echo {
            continue;
        }
        let (Some(below), Some((part, child))) = (below.as_object(), set::child(value, key)) else {
            continue;
        };
        let path = format!("{}{part}", at.path);
        let mut pointer = at.pointer.clone();
        pointer.push(place(value, key, child));
        match ours.get(key).and_then(Value::as_object) {
            None => {
                let is_item = !key.starts_with("f:");
                let sort = if is_item || FREE.contains(&at.name.as_str()) {
                    Sort::Addition
                } else {
                    Sort::Field
                };
                let path = path.trim_start_matches('.').to_owned();
                found.push(Found {
                    path,
                    sort,
                    pointer,
                });
            }
            Some(ours) if ours.is_empty() => {} // all of it is ours as well
            Some(ours) => {
                let name = key.strip_prefix("f:").unwrap_or_default().to_owned();
                let at = Spot {
                    path,
                    name,
                    pointer,
                };
                gather(below, ours, child, &at, depth, found);
            }
        }
    }
}

/// The part of a JSON pointer for a key of a set: a name, or the place in a list.
fn place(value: &Value, key: &str, child: &Value) -> String {
    let list = value.as_array().into_iter().flatten();
    let at = list.into_iter().position(|item| std::ptr::eq(item, child));
    at.map_or_else(
        || key.split_once(':').map_or("", |(_, name)| name).to_owned(),
        |at| at.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(entries: &Value) -> Manifest {
        Manifest::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web", "team": "shop"}, "managedFields": entries},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}]}, {"name": "proxy"}]}}},
            "status": {"replicas": 3}
        }))
        .expect("it is an object")
    }

    fn ours() -> Value {
        json!({"manager": "lockstep", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:env": {}}}}}}}})
    }

    #[test]
    fn additions_and_open_fields_are_told_apart_and_named_by_who_wrote_them() {
        let found = others(&live(&json!([ours(),
            {"manager": "team-labels", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:team": {}}}}},
            {"manager": "mesh", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"proxy\"}": {".": {}, "f:name": {}},
                "k:{\"name\":\"web\"}": {"f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}}}}}}}}}},
            {"manager": "keda", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ])));
        let found = found.expect("there are some");
        let told: Vec<(&str, Sort, &str)> = found
            .named
            .iter()
            .map(|other| (other.path.as_str(), other.sort, other.manager.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("metadata.labels.team", Sort::Addition, "team-labels"),
                ("spec.replicas", Sort::Field, "keda (scale)"),
                (
                    "spec.template.spec.containers[proxy]",
                    Sort::Addition,
                    "mesh"
                ),
            ]
        );
    }

    #[test]
    fn status_and_what_kubernetes_itself_writes_are_left_out() {
        let found = others(&live(&json!([ours(),
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "agent", "operation": "Update", "fieldsV1": {"f:status": {"f:replicas": {}}}},
            {"manager": "agent", "operation": "Update", "subresource": "status", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ])));
        assert_eq!(found, None);
    }

    #[test]
    fn what_others_own_with_us_is_ours() {
        let mut theirs = ours();
        theirs["manager"] = json!("kubectl-client-side-apply");
        assert_eq!(others(&live(&json!([ours(), theirs]))), None);
    }

    #[test]
    fn what_was_left_behind_beside_git_goes_unless_somebody_else_owns_it_too() {
        let kubectl = json!({"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:team": {}, "f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"proxy\"}": {".": {}, "f:name": {}}}}}}}});
        let whose = Takeover::LeftBehind { also: None };
        let both = live(&json!([ours(), kubectl]));
        let left = without_left_behind(&both, &whose).expect("something goes");
        assert_eq!(
            left.get(&["metadata", "labels"]),
            Some(&json!({"app": "web"}))
        );
        assert_eq!(left.get(&["spec", "replicas"]), Some(&json!(3)));
        let containers = left.get(&["spec", "template", "spec", "containers"]);
        assert_eq!(containers.and_then(Value::as_array).map(Vec::len), Some(1));
        let mesh = json!({"manager": "mesh", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:team": {}}}, "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"proxy\"}": {".": {}}}}}}}});
        let three = live(&json!([ours(), kubectl, mesh]));
        assert_eq!(without_left_behind(&three, &whose), None);
    }

    #[test]
    fn many_are_counted_and_eight_named() {
        let labels: serde_json::Map<String, Value> =
            (0..20).map(|n| (format!("f:l{n}"), json!({}))).collect();
        let mut object = live(&json!([ours(),
            {"manager": "agent", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": labels}}}]));
        for n in 0..20 {
            object.set_label(&format!("l{n}"), "x");
        }
        let found = others(&object).expect("there are some");
        assert_eq!((found.named.len(), found.count), (8, 20));
    }
}
