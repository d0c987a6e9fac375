use lockstep_manifest::{Manifest, yaml};
use serde_json::{Value, json};

use super::*;

#[test]
fn a_status_in_another_shape_stops_no_app() {
    let read = Application::read(json!({
        "metadata": {"name": "a"},
        "spec": {"destination": {}},
        "status": {"sync": "what", "history": [{"id": 4}], "unheardOf": 1}
    }))
    .expect("it can be read");
    let status = read.status.expect("what can be read of it");
    assert_eq!(status.sync, SyncStatus::default());
    assert_eq!(status.history.first().map(|entry| entry.id), Some(4));
}

#[test]
fn every_value_of_a_wrong_type_is_told_with_its_place() {
    let errors = Application::read(json!({
        "metadata": {"name": "a"},
        "spec": {
            "project": 5,
            "sources": [{"repoURL": true}],
            "syncPolicy": {"retry": {"limit": "three"}, "syncOptions": "CreateNamespace=true"}
        },
        "operation": {"sync": []}
    }))
    .expect_err("it has wrong types");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "spec.project: should be a text and is the number 5",
            "spec.sources[0].repoURL: should be a text and is true",
            "spec.syncPolicy.retry.limit: should be a whole number and is a text",
            "spec.syncPolicy.syncOptions: should be a list and is a text",
            "operation.sync: should be a map and is a list",
        ]
    );
}

#[test]
fn keys_with_nothing_after_them_are_as_good_as_absent() {
    let read = Application::read(json!({
        "metadata": {"name": "a"},
        "spec": {"project": null, "syncPolicy": {"syncOptions": null, "automated": null}, "info": null}
    }))
    .expect("it can be read");
    assert_eq!(read.wanted().project, "");
    assert_eq!(read.spec.unknown, Vec::<String>::new());
}

#[test]
fn unknown_fields_are_recorded_and_free_ones_are_not() {
    let read = Application::read(json!({
        "metadata": {"name": "a"},
        "spec": {"source": {"repoURL": "a", "helm": {"valuesObject": {"any": {"thing": null}}}, "twist": 1}}
    }))
    .expect("it can be read");
    assert_eq!(read.spec.unknown, ["spec.source.twist"]);
    let helm = read
        .wanted()
        .source
        .as_ref()
        .and_then(|s| s.helm.as_ref())
        .expect("helm");
    assert_eq!(helm.values_object, Some(json!({"any": {"thing": null}})));
}

#[test]
fn an_application_reads_back_what_it_writes() {
    let value = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "a", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "https://git.example/a", "path": "b", "ref": "c",
                "kustomize": {"replicas": [{"name": "web", "count": 3}]}},
            "destination": {"name": "in-cluster"},
            "ignoreDifferences": [{"kind": "*", "jqPathExpressions": [".a"]}]
        },
        "operation": {"sync": {"prune": true}},
    });
    let read = Application::read(value.clone()).expect("it can be read");
    assert_eq!(
        serde_json::to_value(&read).expect("it can be written"),
        value
    );
}

#[test]
fn a_record_holds_its_fields_at_the_top() {
    let record = Record::new(
        "r",
        RecordFields {
            app: RecordedApp {
                name: "shop".to_owned(),
                uid: "u".to_owned(),
            },
            epoch: 2,
            entries: vec![Entry {
                kind: "Service".to_owned(),
                name: "web".to_owned(),
                ..Entry::default()
            }],
            ..RecordFields::default()
        },
    );
    assert_eq!(
        serde_json::to_value(&record).expect("it can be written"),
        json!({
            "apiVersion": "lockstep.dev/v1alpha1",
            "kind": "Record",
            "metadata": {"name": "r"},
            "app": {"name": "shop", "uid": "u"},
            "epoch": 2,
            "entries": [{"kind": "Service", "name": "web"}]
        })
    );
}

fn crd(name: &str) -> Value {
    crds()
        .into_iter()
        .find(|crd| crd["metadata"]["name"] == name)
        .expect("it is one of ours")
}

#[test]
fn argo_cds_kinds_have_no_status_subresource_and_their_status_takes_anything_more() {
    for name in ["applications.argoproj.io", "appprojects.argoproj.io"] {
        let version = &crd(name)["spec"]["versions"][0];
        assert_eq!(version.get("subresources"), None, "{name}");
        let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(
            status["x-kubernetes-preserve-unknown-fields"], true,
            "{name}"
        );
    }
}

#[test]
fn kubectl_shows_argo_cds_columns_and_knows_its_short_names() {
    let application = crd("applications.argoproj.io");
    assert_eq!(
        application["spec"]["names"]["shortNames"],
        json!(["app", "apps"])
    );
    let columns = &application["spec"]["versions"][0]["additionalPrinterColumns"];
    let names: Vec<(&str, i64)> = columns
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            (
                c["name"].as_str().unwrap_or_default(),
                c["priority"].as_i64().unwrap_or(0),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("Sync Status", 0),
            ("Health Status", 0),
            ("Revision", 10),
            ("Project", 10)
        ]
    );
    assert_eq!(
        crd("appprojects.argoproj.io")["spec"]["names"]["shortNames"],
        json!(["appproj", "appprojs"])
    );
}

#[test]
fn a_record_is_marked_as_the_parent_of_an_applyset() {
    let record = crd("records.lockstep.dev");
    assert_eq!(
        record["metadata"]["labels"]["applyset.kubernetes.io/is-parent-type"],
        "true"
    );
    assert_eq!(record["spec"]["scope"], "Namespaced");
}

/// What an API server refuses in a schema, or writes into objects that nobody asked for.
#[test]
fn the_schemas_are_structural_and_set_no_defaults() {
    fn walk(at: &str, schema: &Value) {
        let Some(map) = schema.as_object() else {
            return;
        };
        for key in [
            "default",
            "$ref",
            "$schema",
            "anyOf",
            "oneOf",
            "definitions",
        ] {
            if key == "anyOf" && map.contains_key("x-kubernetes-int-or-string") {
                continue;
            }
            assert!(!map.contains_key(key), "{at} has {key}");
        }
        let typed = map.contains_key("type")
            || map.contains_key("x-kubernetes-int-or-string")
            || map.contains_key("x-kubernetes-preserve-unknown-fields");
        assert!(typed, "{at} has no type");
        if let Some(format) = map.get("format").and_then(Value::as_str) {
            assert!(
                ["int32", "int64", "date-time"].contains(&format),
                "{at} has format {format}"
            );
        }
        for (key, value) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            walk(&format!("{at}.{key}"), value);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = map.get(key) {
                walk(&format!("{at}.{key}"), inner);
            }
        }
    }
    for crd in crds() {
        let name = crd["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        walk(
            &name,
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        );
    }
}

/// Rewritten by `BLESS=1 cargo test -p lockstep-app`; `lockstep crds` prints the same.
#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let manifests: Vec<Manifest> = crds()
        .into_iter()
        .map(|crd| Manifest::from_value(crd).expect("an object"))
        .collect();
    let printed = yaml::print_manifests(&manifests);
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../manifests/crds/crds.yaml"
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &printed).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(path).expect("the file is there");
    assert!(
        committed == printed,
        "manifests/crds/crds.yaml is not what the types say; run with BLESS=1"
    );
}
