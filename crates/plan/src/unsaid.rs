//! What git says and others fill in: left out, so that it is theirs.
//!
//! Whoever applies a field owns it, and puts it back when somebody else sets it. Generators print some fields empty that
//! a controller is to fill; to own them would be to empty them again and again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_manifest::Manifest;
use serde_json::Value;

/// Where the certificate authority of each kind stands: `*` is every item of a list. cert-manager and others fill it in.
const AUTHORITIES: [(&str, &str, &[&str]); 4] = [
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        &["webhooks", "*", "clientConfig", "caBundle"],
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        &["webhooks", "*", "clientConfig", "caBundle"],
    ),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &["spec", "conversion", "webhook", "clientConfig", "caBundle"],
    ),
    (
        "apiregistration.k8s.io",
        "APIService",
        &["spec", "caBundle"],
    ),
];

/// What the API server or a controller chooses when it is empty.
const CHOSEN: [(&str, &[&str]); 6] = [
    ("Service", &["spec", "clusterIP"]),
    ("Service", &["spec", "clusterIPs"]),
    ("Service", &["spec", "healthCheckNodePort"]),
    ("Service", &["spec", "ports", "*", "nodePort"]),
    ("PersistentVolumeClaim", &["spec", "volumeName"]),
    ("ServiceAccount", &["secrets"]),
];

/// Leaves out what is not git's to say.
pub(crate) fn leave_out(manifest: &mut Manifest) {
    let kind = manifest.gvk().group_kind();
    if kind.is("rbac.authorization.k8s.io", "ClusterRole")
        && manifest.get(&["aggregationRule"]).is_some()
    {
        manifest.body_mut().remove("rules"); // the aggregation of others' rules is all it has
    }
    for (group, name, path) in AUTHORITIES {
        if kind.is(group, name) {
            remove(manifest, path, is_no_certificate);
        }
    }
    for (name, path) in CHOSEN {
        if kind.is("", name) {
            remove(manifest, path, is_empty);
        }
    }
}

fn remove(manifest: &mut Manifest, path: &[&str], when: fn(&Value) -> bool) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let body = manifest.body_mut();
    if rest.is_empty() {
        if body.get(*first).is_some_and(when) {
            body.remove(*first);
        }
    } else if let Some(value) = body.get_mut(*first) {
        remove_below(value, rest, when);
    }
}

fn remove_below(value: &mut Value, path: &[&str], when: fn(&Value) -> bool) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match value {
        Value::Array(list) if *first == "*" => {
            for item in list {
                remove_below(item, rest, when);
            }
        }
        Value::Object(map) => match map.get_mut(*first) {
            Some(value) if !rest.is_empty() => remove_below(value, rest, when),
            Some(value) if when(value) => {
                map.remove(*first);
            }
            Some(_) | None => {}
        },
        _ => {}
    }
}

/// Generators write an empty one as nothing, or as a line break in base64.
fn is_no_certificate(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => STANDARD
            .decode(text.trim())
            .is_ok_and(|bytes| bytes.trim_ascii().is_empty()),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn left(value: Value) -> Value {
        let mut manifest = Manifest::from_value(value).expect("it is an object");
        leave_out(&mut manifest);
        manifest.into_value()
    }

    #[test]
    fn rules_of_an_aggregated_role_are_its_controllers_and_those_of_others_are_gits() {
        let role = |aggregation: Value| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "a"}, "rules": [], "aggregationRule": aggregation})
        };
        assert_eq!(left(role(json!({}))).get("rules"), None);
        let mut plain = role(json!({}));
        plain
            .as_object_mut()
            .expect("a map")
            .remove("aggregationRule");
        assert_eq!(left(plain.clone()), plain);
    }

    #[test]
    fn an_empty_authority_is_left_out_and_a_real_one_stays() {
        let hooks = |bundles: [&str; 3]| {
            let hooks: Vec<Value> = bundles
                .iter()
                .map(|bundle| json!({"clientConfig": {"url": "https://x", "caBundle": bundle}}))
                .collect();
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                   "metadata": {"name": "a"}, "webhooks": hooks})
        };
        let real = STANDARD.encode("-----BEGIN CERTIFICATE-----");
        let left = left(hooks(["", "Cg==", &real]));
        let bundle = |at: usize| {
            left["webhooks"][at]["clientConfig"]
                .get("caBundle")
                .cloned()
        };
        assert_eq!(
            [bundle(0), bundle(1), bundle(2)],
            [None, None, Some(json!(real))]
        );
    }

    #[test]
    fn what_the_server_chooses_is_left_out_only_where_it_is_empty() {
        let service = |address: &str, port: u32| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                   "spec": {"clusterIP": address, "ports": [{"port": 80, "nodePort": port}]}})
        };
        assert_eq!(
            left(service("", 0))["spec"],
            json!({"ports": [{"port": 80}]})
        );
        assert_eq!(left(service("None", 30_080)), service("None", 30_080));
    }
}
