//! What is shipped beside the binary says what the binary says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace is there")
}

/// Standard output of the binary, run at the top of the workspace.
fn lockstep(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(arguments)
        .current_dir(root())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("it can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "lockstep {}: {errors}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// `Kind name` of every object in a stream of YAML documents, in order.
fn objects(yaml: &str) -> Vec<String> {
    lockstep_manifest::yaml::read_yaml(yaml.as_bytes())
        .expect("it is YAML")
        .iter()
        .map(|object| format!("{} {}", object.kind(), object.name()))
        .collect()
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let committed =
        fs::read_to_string(root().join("manifests/crds/crds.yaml")).expect("it is committed");
    assert!(
        committed == lockstep(&["crds"]),
        "run `make generate` and commit what it writes"
    );
}

#[test]
fn the_table_of_variables_in_the_docs_is_the_one_that_is_read() {
    let docs = fs::read_to_string(root().join("docs/configuration.md")).expect("it is there");
    for line in lockstep(&["help", "environment"]).lines() {
        let names = line.split("  ").next().unwrap_or_default();
        for name in names.split(", ") {
            assert!(
                docs.contains(&format!("`{name}`")),
                "{name} is missing in docs/configuration.md"
            );
        }
    }
}

#[test]
fn the_example_configuration_and_the_demo_are_without_mistakes() {
    lockstep(&["validate", "config/lockstep.yaml"]);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let demo = root().join("config/demo");
    fs::create_dir(folder.path().join("apps")).expect("a folder can be made");
    fs::copy(
        demo.join("lockstep.yaml"),
        folder.path().join("lockstep.yaml"),
    )
    .expect("it can be copied");
    for entry in fs::read_dir(demo.join("apps")).expect("there are apps") {
        let entry = entry.expect("it can be read");
        let text = fs::read_to_string(entry.path()).expect("it can be read");
        let text = text.replace("${REPOSITORY}", "http://127.0.0.1:1/shop.git");
        fs::write(folder.path().join("apps").join(entry.file_name()), text)
            .expect("it can be written");
    }
    let folder = folder.path().to_string_lossy();
    assert_eq!(
        lockstep(&["validate", &folder]),
        "4 files checked, nothing wrong\n"
    );
}

#[test]
fn every_overlay_of_the_demo_renders() {
    let mut rendered = 0;
    for service in ["catalog", "checkout", "search", "storefront"] {
        for environment in ["dev", "staging", "prod"] {
            let path = format!("config/demo/shop/{service}/overlays/{environment}");
            let objects = objects(&lockstep(&["render", &path]));
            let deployment = format!("Deployment {service}");
            assert!(objects.contains(&deployment), "{path}: {objects:?}");
            rendered += objects.len();
        }
    }
    // As `kubectl kustomize` counts them.
    assert_eq!(rendered, 62);
}

#[test]
fn the_install_renders_with_writing_apart_from_reading() {
    let yaml = lockstep(&["render", "manifests/install"]);
    let objects = objects(&yaml);
    for wanted in [
        "CustomResourceDefinition applications.argoproj.io",
        "CustomResourceDefinition records.lockstep.dev",
        "ClusterRole lockstep-read",
        "ClusterRole lockstep-write",
        "ClusterRole lockstep-secrets",
        "Deployment lockstep",
        "NetworkPolicy lockstep",
        "ConfigMap lockstep",
    ] {
        assert!(
            objects.iter().any(|object| object == wanted),
            "{wanted} is missing in {objects:?}"
        );
    }
    for object in lockstep_manifest::yaml::read_yaml(yaml.as_bytes()).expect("it is YAML") {
        let role = object.kind() == "ClusterRole" && object.name() == "lockstep-read";
        let text = String::from_utf8(object.to_bytes()).expect("it is UTF-8");
        assert!(
            !role || !text.contains("\"create\"") && !text.contains("\"patch\""),
            "reading only reads"
        );
        assert!(
            !text.contains("\"escalate\"") && !text.contains("\"bind\""),
            "nobody is given more than they have"
        );
    }
}
