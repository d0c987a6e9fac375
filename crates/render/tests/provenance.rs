//! Every value knows which file and line set it last, and which ones before that.
//!
//! Each case renders a few files and looks at one value. A place is shown with what stands there, from its column to
//! the end of its line, so that a case says by itself whether the place is right.

use lockstep_app::{Source, SourceType};
use lockstep_manifest::{Manifest, Place};
use lockstep_render::{Limits, RenderError, Rendered, render};
use lockstep_tree::Tree;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn rendered(tree: &Tree, path: &str) -> Result<Rendered, RenderError> {
    let source = Source {
        remote: "https://git.example.com/shop"
            .parse()
            .expect("it is an address"),
        target: String::new(),
        path: path.to_owned(),
        kind: SourceType::Detect,
    };
    render(&source, tree, &Limits::default())
}

/// Where a value was set, oldest first, in an object that the folder `prod` renders to: `FILE:LINE what stands there`.
fn chain(
    files: &[(&str, &str)],
    object: &str,
    at: &str,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let rendered = rendered(&Tree::from_files(files.iter().copied()), "prod")?;
    let name = |manifest: &&Manifest| manifest.id().short().starts_with(object);
    let manifest = rendered
        .manifests
        .iter()
        .find(name)
        .ok_or("no such object")?;
    let value = manifest.places();
    Ok(value
        .chain(at)
        .iter()
        .map(|place| shown(files, place))
        .collect())
}

fn shown(files: &[(&str, &str)], place: &Place) -> String {
    let text = files
        .iter()
        .find(|(path, _)| *path == &*place.file)
        .map_or("", |(_, text)| text);
    let line = text.lines().nth(place.line as usize - 1).unwrap_or("?");
    let rest: String = line.chars().skip(place.column as usize - 1).collect();
    format!("{}:{} {rest}", place.file, place.line)
}

const DEPLOYMENT: (&str, &str) = (
    "base/web.yaml",
    "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app: web
spec:
  replicas: 1
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - name: web
        image: registry.example.com/web:1
        args: [--quiet, --fast]
        envFrom:
        - configMapRef:
            name: settings
",
);

const BASE: (&str, &str) = ("base/kustomization.yaml", "resources: [web.yaml]\n");

/// The chain of one value of the deployment, with an overlay of one file.
fn with(overlay: &str, at: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let overlay = format!("resources: [../base]\n{overlay}");
    let files = [BASE, DEPLOYMENT, ("prod/kustomization.yaml", &*overlay)];
    chain(&files, "Deployment/", at)
}

#[test]
fn what_nothing_changes_comes_from_its_base() -> Outcome {
    assert_eq!(
        with("namePrefix: p-\n", "/spec/replicas")?,
        ["base/web.yaml:8 1"]
    );
    Ok(())
}

#[test]
fn an_object_of_a_plain_folder_comes_from_its_file() -> Outcome {
    let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata:\n  k: v\n";
    let found = chain(&[("prod/a.yaml", text)], "ConfigMap/", "/data/k")?;
    assert_eq!(found, ["prod/a.yaml:5 v"]);
    Ok(())
}

#[test]
fn a_merge_patch_sets_what_it_says_and_nothing_else() -> Outcome {
    let patch = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 5
  template:
    spec:
      containers:
      - name: web
        image: registry.example.com/web:2
        args: [--loud]
";
    let files = [
        BASE,
        DEPLOYMENT,
        (
            "prod/kustomization.yaml",
            "resources: [../base]\npatches:\n- path: patch.yaml\n",
        ),
        ("prod/patch.yaml", patch),
    ];
    let at = |pointer| chain(&files, "Deployment/", pointer);
    assert_eq!(
        at("/spec/replicas")?,
        ["base/web.yaml:8 1", "prod/patch.yaml:6 5"]
    );
    assert_eq!(
        at("/spec/template/spec/containers/0/image")?,
        [
            "base/web.yaml:19 registry.example.com/web:1",
            "prod/patch.yaml:11 registry.example.com/web:2"
        ]
    );
    // A list that is replaced as a whole has the old list before each of its items.
    assert_eq!(
        at("/spec/template/spec/containers/0/args/0")?,
        [
            "base/web.yaml:20 [--quiet, --fast]",
            "prod/patch.yaml:12 --loud]"
        ]
    );
    // What only says which object and which container is meant sets nothing.
    for (pointer, want) in [
        ("/apiVersion", "base/web.yaml:1 apps/v1"),
        ("/kind", "base/web.yaml:2 Deployment"),
        ("/metadata/name", "base/web.yaml:4 web"),
        (
            "/spec/template/spec/containers/0/name",
            "base/web.yaml:18 web",
        ),
    ] {
        assert_eq!(at(pointer)?, [want]);
    }
    Ok(())
}

#[test]
fn a_merge_patch_that_replaces_a_map_still_says_what_its_values_were() -> Outcome {
    let overlay = "\
patches:
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
      labels:
        $patch: replace
        app: shop
        tier: front
";
    assert_eq!(
        with(overlay, "/metadata/labels/app")?,
        ["base/web.yaml:6 web", "prod/kustomization.yaml:10 shop"]
    );
    assert_eq!(
        with(overlay, "/metadata/labels/tier")?,
        ["prod/kustomization.yaml:11 front"]
    );
    Ok(())
}

#[test]
fn a_json_patch_sets_by_the_value_of_its_operation() -> Outcome {
    let files = [
        BASE,
        DEPLOYMENT,
        (
            "prod/kustomization.yaml",
            "resources: [../base]\npatches:\n- path: patch.json\n  target: {kind: Deployment}\n",
        ),
        (
            "prod/patch.json",
            "[{\"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 3},\n {\"op\": \"add\", \"path\": \"/spec/paused\",\n  \"value\": true},\n {\"op\": \"copy\", \"from\": \"/metadata/labels\", \"path\": \"/metadata/annotations\"}]\n",
        ),
    ];
    let at = |pointer| chain(&files, "Deployment/", pointer);
    assert_eq!(
        at("/spec/replicas")?,
        ["base/web.yaml:8 1", "prod/patch.json:1 3},"]
    );
    assert_eq!(at("/spec/paused")?, ["prod/patch.json:3 true},"]);
    assert_eq!(
        at("/metadata/annotations/app")?,
        [
            "base/web.yaml:6 web",
            "prod/patch.json:4 {\"op\": \"copy\", \"from\": \"/metadata/labels\", \"path\": \"/metadata/annotations\"}]"
        ]
    );
    Ok(())
}

#[test]
fn an_inline_patch_sets_in_the_line_of_the_kustomization_where_it_says_so() -> Outcome {
    let overlay = "\
patches:
- target:
    kind: Deployment
  patch: |-

    # The second replica is for the upgrade.
    - op: replace
      path: /spec/replicas
      value: 2
";
    assert_eq!(
        with(overlay, "/spec/replicas")?,
        ["base/web.yaml:8 1", "prod/kustomization.yaml:10 2"]
    );
    let overlay = "\
patchesStrategicMerge:
- |-
    kind: Deployment
    apiVersion: apps/v1
    metadata: {name: web}
    spec: {replicas: 7}
";
    assert_eq!(
        with(overlay, "/spec/replicas")?,
        ["base/web.yaml:8 1", "prod/kustomization.yaml:7 7}"]
    );
    Ok(())
}

#[test]
fn a_patch_in_quotes_sets_where_its_quotes_begin() -> Outcome {
    let overlay = "\
patches:
- target: {kind: Deployment}
  patch: \"- op: replace\\n  path: /spec/replicas\\n  value: 2\"
";
    let quoted =
        "prod/kustomization.yaml:4 \"- op: replace\\n  path: /spec/replicas\\n  value: 2\"";
    assert_eq!(
        with(overlay, "/spec/replicas")?,
        ["base/web.yaml:8 1", quoted]
    );
    Ok(())
}

#[test]
fn a_prefix_sets_a_name_and_every_reference_to_it() -> Outcome {
    let service = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: front
spec:
  defaultBackend:
    service:
      name: back
---
apiVersion: v1
kind: Service
metadata:
  name: back
";
    let files = [
        ("base/kustomization.yaml", "resources: [all.yaml]\n"),
        ("base/all.yaml", service),
        (
            "prod/kustomization.yaml",
            "resources: [../base]\nnamePrefix: p-\nnameSuffix: -s\n",
        ),
    ];
    assert_eq!(
        chain(&files, "Service/", "/metadata/name")?,
        [
            "base/all.yaml:13 back",
            "prod/kustomization.yaml:2 p-",
            "prod/kustomization.yaml:3 -s"
        ]
    );
    assert_eq!(
        chain(&files, "Ingress/", "/spec/defaultBackend/service/name")?,
        ["base/all.yaml:8 back", "prod/kustomization.yaml:3 -s"]
    );
    Ok(())
}

#[test]
fn a_namespace_is_set_by_the_field_of_that_name() -> Outcome {
    let files = [
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        (
            "base/a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: old}\n",
        ),
        (
            "prod/kustomization.yaml",
            "namespace: shop\nresources: [../base]\n",
        ),
    ];
    assert_eq!(
        chain(&files, "Secret/", "/metadata/namespace")?,
        ["base/a.yaml:3 old}", "prod/kustomization.yaml:1 shop"]
    );
    Ok(())
}

#[test]
fn labels_and_annotations_are_set_by_their_pairs() -> Outcome {
    let overlay = "\
labels:
- includeSelectors: true
  pairs:
    app: shop
    tier: front
commonAnnotations:
  team: shop
";
    assert_eq!(
        with(overlay, "/spec/selector/matchLabels/app")?,
        ["base/web.yaml:11 web", "prod/kustomization.yaml:5 shop"]
    );
    assert_eq!(
        with(overlay, "/spec/template/metadata/labels/tier")?,
        ["prod/kustomization.yaml:6 front"]
    );
    assert_eq!(
        with(overlay, "/metadata/annotations/team")?,
        ["prod/kustomization.yaml:8 shop"]
    );
    Ok(())
}

#[test]
fn images_and_replicas_are_set_by_their_entries() -> Outcome {
    let overlay = "\
images:
- name: registry.example.com/web
  newTag: '2'
replicas:
- name: web
  count: 4
";
    assert_eq!(
        with(overlay, "/spec/template/spec/containers/0/image")?,
        [
            "base/web.yaml:19 registry.example.com/web:1",
            "prod/kustomization.yaml:3 name: registry.example.com/web"
        ]
    );
    assert_eq!(
        with(overlay, "/spec/replicas")?,
        ["base/web.yaml:8 1", "prod/kustomization.yaml:6 name: web"]
    );
    Ok(())
}

#[test]
fn a_replacement_sets_by_its_path_and_says_where_the_value_was() -> Outcome {
    let overlay = "\
replacements:
- source: {kind: Deployment, fieldPath: metadata.name}
  targets:
  - select: {kind: Deployment}
    fieldPaths:
    - metadata.labels.app
    - metadata.annotations.name
    options: {create: true}
";
    assert_eq!(
        with(overlay, "/metadata/labels/app")?,
        [
            "base/web.yaml:6 web",
            "base/web.yaml:4 web",
            "prod/kustomization.yaml:7 metadata.labels.app"
        ]
    );
    assert_eq!(
        with(overlay, "/metadata/annotations/name")?,
        [
            "base/web.yaml:4 web",
            "prod/kustomization.yaml:8 metadata.annotations.name"
        ]
    );
    Ok(())
}

#[test]
fn a_variable_sets_by_its_definition_and_says_where_the_value_was() -> Outcome {
    let overlay = "\
patches:
- target: {kind: Deployment}
  patch: |-
    - op: add
      path: /spec/template/spec/containers/0/command
      value: [run, --name=$(NAME)]
vars:
- name: NAME
  objref: {apiVersion: apps/v1, kind: Deployment, name: web}
";
    assert_eq!(
        with(overlay, "/spec/template/spec/containers/0/command/1")?,
        [
            "prod/kustomization.yaml:7 --name=$(NAME)]",
            "base/web.yaml:4 web",
            "prod/kustomization.yaml:9 name: NAME"
        ]
    );
    Ok(())
}

/// Generators in a base, and one over them.
fn generated() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "base/kustomization.yaml",
            "\
resources: [web.yaml]
configMapGenerator:
- name: settings
  literals:
  - LOG=info
  - MODE=fast
  files: [notes.txt, other=sub/b.txt]
  envs: [more.env]
",
        ),
        DEPLOYMENT,
        ("base/notes.txt", "some notes\n"),
        ("base/sub/b.txt", "b\n"),
        ("base/more.env", "# Comment\nA=1\n\nB=2\n"),
        (
            "prod/kustomization.yaml",
            "\
resources: [../base]
namePrefix: p-
configMapGenerator:
- name: settings
  behavior: merge
  literals:
  - LOG=debug
",
        ),
    ]
}

#[test]
fn what_is_generated_comes_from_literals_files_and_environment_files() -> Outcome {
    let files = generated();
    let at = |pointer| chain(&files, "ConfigMap/", pointer);
    assert_eq!(at("/data/MODE")?, ["base/kustomization.yaml:6 MODE=fast"]);
    assert_eq!(at("/data/notes.txt")?, ["base/notes.txt:1 some notes"]);
    assert_eq!(at("/data/other")?, ["base/sub/b.txt:1 b"]);
    assert_eq!(at("/data/B")?, ["base/more.env:4 B=2"]);
    assert_eq!(
        at("/data/LOG")?,
        [
            "base/kustomization.yaml:5 LOG=info",
            "prod/kustomization.yaml:7 LOG=debug"
        ]
    );
    let rendered = rendered(&Tree::from_files(files.iter().copied()), "prod")?;
    let map = rendered
        .manifests
        .iter()
        .find(|manifest| manifest.kind() == "ConfigMap");
    let origin = map.and_then(|map| map.places().origin());
    let origin = origin.map(|place| shown(&files, &place));
    assert_eq!(
        origin.as_deref(),
        Some("base/kustomization.yaml:3 name: settings")
    );
    Ok(())
}

#[test]
fn a_hash_is_set_by_the_generator_in_the_name_and_in_references() -> Outcome {
    let files = generated();
    assert_eq!(
        chain(&files, "ConfigMap/", "/metadata/name")?,
        [
            "base/kustomization.yaml:3 name: settings",
            "prod/kustomization.yaml:2 p-",
            "prod/kustomization.yaml:4 name: settings"
        ]
    );
    assert_eq!(
        chain(
            &files,
            "Deployment/",
            "/spec/template/spec/containers/0/envFrom/0/configMapRef/name"
        )?,
        [
            "base/web.yaml:23 settings",
            "prod/kustomization.yaml:4 name: settings"
        ]
    );
    Ok(())
}

#[test]
fn a_component_sets_by_its_own_lines() -> Outcome {
    let files = [
        BASE,
        DEPLOYMENT,
        (
            "prod/kustomization.yaml",
            "resources: [../base]\ncomponents: [../more]\nreplicas: [{name: web, count: 9}]\n",
        ),
        (
            "more/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nreplicas:\n- {count: 3, name: web}\n",
        ),
    ];
    assert_eq!(
        chain(&files, "Deployment/", "/spec/replicas")?,
        [
            "base/web.yaml:8 1",
            "more/kustomization.yaml:4 {count: 3, name: web}",
            "prod/kustomization.yaml:3 {name: web, count: 9}]"
        ]
    );
    Ok(())
}

#[test]
fn what_build_metadata_adds_is_set_by_the_word_that_asks_for_it() -> Outcome {
    let overlay = "buildMetadata:\n- managedByLabel\n- originAnnotations\n";
    assert_eq!(
        with(overlay, "/metadata/labels/app.kubernetes.io~1managed-by")?,
        ["prod/kustomization.yaml:3 managedByLabel"]
    );
    assert_eq!(
        with(
            overlay,
            "/metadata/annotations/config.kubernetes.io~1origin"
        )?,
        ["prod/kustomization.yaml:4 originAnnotations"]
    );
    Ok(())
}

#[test]
fn a_value_that_is_patched_without_end_keeps_a_short_chain() -> Outcome {
    let mut overlay = "patches:\n- target: {kind: Deployment}\n  patch: |-\n".to_owned();
    for count in 0..100_000 {
        let value = count.to_string();
        overlay.extend([
            "    - {op: replace, path: /spec/replicas, value: ",
            &value,
            "}\n",
        ]);
    }
    let found = with(&overlay, "/spec/replicas")?;
    assert_eq!(found.first().map(String::as_str), Some("base/web.yaml:8 1"));
    assert_eq!(
        found.last().map(String::as_str),
        Some("prod/kustomization.yaml:100004 99999}")
    );
    assert_eq!(found.len(), 17);
    Ok(())
}
