//! The CRDs, made from the structs.

use kube_core::CustomResourceExt as _;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{AppProject, Application, Bundle, Record};

/// A map of whatever there is.
pub(super) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of such maps.
pub(super) fn free_form_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

/// The definitions of `Application`, `AppProject`, `Record` and `Bundle`, as they are applied to a cluster.
///
/// Source: Argo CD's own, which have no status subresource: its users write status through the object, and with a
/// subresource that would be ignored in silence.
pub fn crds() -> Vec<Value> {
    let mut application = written(&Application::crd());
    let mut project = written(&AppProject::crd());
    for crd in [&mut application, &mut project] {
        let Some(version) = crd.pointer_mut("/spec/versions/0") else {
            continue;
        };
        if let Some(version) = version.as_object_mut() {
            version.remove("subresources");
        }
        if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
            take_anything(status);
        }
        crd["metadata"]["labels"] = json!({
            "app.kubernetes.io/name": crd["metadata"]["name"],
            "app.kubernetes.io/part-of": "argocd"
        });
    }
    let mut record = written(&Record::crd());
    let (label, value) = super::APPLYSET_PARENT;
    record["metadata"]["labels"] = json!({label: value, "app.kubernetes.io/part-of": "lockstep"});
    let mut bundle = written(&Bundle::crd());
    bundle["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "lockstep"});
    vec![application, project, record, bundle]
}

/// The definition without what only servers fill in, and without defaults.
fn written(crd: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        drop_defaults(schema);
    }
    value
}

/// Lets a status hold whatever there is.
///
/// Argo CD may have written more there than this version knows, and it must survive our writes. And a status is
/// written by the one that made it up: a server that walks through a schema of 200 fields to check it, and keeps who
/// owns each, takes half as long again for every write of it, which is what it is asked for most.
fn take_anything(status: &mut Value) {
    let described = status.get("description").cloned();
    *status = json!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-map-type": "atomic"
    });
    if let (Some(map), Some(text)) = (status.as_object_mut(), described) {
        map.insert("description".to_owned(), text);
    }
}

/// A default in a schema is written into users' objects by the API server, which would then differ from git.
/// What is not given is decided where it is lowered.
fn drop_defaults(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    map.remove("default");
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            drop_defaults(inner);
        }
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(drop_defaults);
    }
}
