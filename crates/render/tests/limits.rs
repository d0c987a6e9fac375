//! Every limit by itself: what is refused, and that the error names the limit and the file. Small texts that would make
//! large trees, deep ones or long work are refused in time.

use std::fmt::Write as _;

use lockstep_app::{Source, SourceType};
use lockstep_render::{Limits, RenderError, print, render};
use lockstep_tree::Tree;

fn source(kind: SourceType) -> Source {
    Source {
        remote: "https://git.example.com/shop".parse().expect("an address"),
        target: String::new(),
        path: String::new(),
        kind,
    }
}

fn kustomize() -> Source {
    source(SourceType::Kustomize(Box::default()))
}

/// What a tree renders to with these limits, or the error's text with its code.
fn rendered(files: &[(&str, &str)], limits: &Limits) -> Result<String, String> {
    let tree = Tree::from_files(files.iter().copied());
    let said = |error: RenderError| format!("{}: {error}", error.code());
    render(&kustomize(), &tree, limits)
        .map(|rendered| print(&rendered))
        .map_err(said)
}

fn refused(files: &[(&str, &str)], limits: &Limits) -> String {
    rendered(files, limits).expect_err("it is refused")
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n")
}

fn maps(many: usize) -> String {
    let texts: Vec<String> = (0..many).map(|at| map(&format!("m{at}"))).collect();
    texts.join("---\n")
}

const ONE: &str = "resources: [a.yaml]\n";

#[test]
fn a_file_over_its_size_is_refused_by_name() {
    let tree = Tree::from_files([("kustomization.yaml", ONE), ("a.yaml", &*map("a"))]);
    let tree = tree.with_largest_file(30);
    let error = render(&kustomize(), &tree, &Limits::default()).expect_err("it is refused");
    assert_eq!(
        error.to_string(),
        "kustomization.yaml:1:13: cannot read a.yaml: it has 64 bytes, more than the limit of 30"
    );
    let mut limits = Limits::default();
    limits.yaml.bytes = 40;
    let error = refused(
        &[("kustomization.yaml", ONE), ("a.yaml", &map("a"))],
        &limits,
    );
    assert_eq!(
        error,
        "render.yaml: a.yaml:1:1: the file has 64 bytes, more than the limit of 40"
    );
}

#[test]
fn all_files_together_are_bounded_however_often_one_is_named() {
    let limits = Limits {
        total_bytes: 100,
        ..Limits::default()
    };
    let files = [
        ("kustomization.yaml", "resources: [a.yaml, b.yaml]\n"),
        ("a.yaml", &*map("a")),
        ("b.yaml", &*map("b")),
    ];
    assert_eq!(
        refused(&files, &limits),
        "render.limit: b.yaml:1:1: more than 100 bytes in all files together"
    );
}

#[test]
fn documents_depth_and_values_of_a_file_are_bounded() {
    let with = |change: fn(&mut Limits), text: &str| {
        let mut limits = Limits::default();
        change(&mut limits);
        refused(&[("kustomization.yaml", ONE), ("a.yaml", text)], &limits)
    };
    let error = with(|limits| limits.yaml.documents = 2, &maps(3));
    assert!(
        error.contains("a.yaml:") && error.contains("more than 2 documents"),
        "{error}"
    );
    let deep = format!("{}deep: {}{}\n", map("a"), "[".repeat(101), "]".repeat(101));
    let error = with(|_| {}, &deep);
    assert!(error.starts_with("render.yaml: a.yaml:5:"), "{error}");
    let error = with(|limits| limits.yaml.nodes = 10, &maps(1));
    assert!(
        error.contains("a.yaml") && error.contains("more than 10 values"),
        "{error}"
    );
}

#[test]
fn aliases_count_as_what_they_stand_for() {
    let mut text = map("a");
    text.push_str("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for at in 1..9 {
        let below = vec![format!("*l{}", at - 1); 10].join(", ");
        let _ = writeln!(text, "l{at}: &l{at} [{below}]");
    }
    let error = refused(
        &[("kustomization.yaml", ONE), ("a.yaml", &text)],
        &Limits::default(),
    );
    assert!(
        error.contains("a.yaml") && error.contains("anchors and aliases"),
        "{error}"
    );
}

#[test]
fn objects_are_bounded_where_they_are_named() {
    let limits = Limits {
        resources: 3,
        ..Limits::default()
    };
    let error = refused(
        &[("kustomization.yaml", ONE), ("a.yaml", &maps(4))],
        &limits,
    );
    assert_eq!(
        error,
        "render.limit: kustomization.yaml:1:13: more than 3 objects"
    );
}

#[test]
fn folders_and_files_are_counted_as_often_as_they_are_built() {
    // Each folder names the next one twice, under another name: 2^30 without a bound.
    let mut files = vec![(
        "kustomization.yaml".to_owned(),
        "resources: [d0]\n".to_owned(),
    )];
    for at in 0..30 {
        for side in ["d", "e"] {
            let text = format!(
                "namePrefix: {side}\nresources: [../d{0}, ../e{0}]\n",
                at + 1
            );
            files.push((format!("{side}{at}/kustomization.yaml"), text));
        }
    }
    for end in ["d30", "e30"] {
        files.push((
            format!("{end}/kustomization.yaml"),
            format!("configMapGenerator: [{{name: {end}}}]\n"),
        ));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let limits = Limits {
        folders: 500,
        ..Limits::default()
    };
    let error = refused(&files, &limits);
    assert!(error.contains("more than 500 folders or files"), "{error}");
}

#[test]
fn bases_inside_each_other_are_bounded() {
    let mut files = vec![(
        "kustomization.yaml".to_owned(),
        "resources: [d0]\n".to_owned(),
    )];
    for at in 0..70 {
        files.push((
            format!("d{at}/kustomization.yaml"),
            format!("resources: [../d{}]\n", at + 1),
        ));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let error = refused(&files, &Limits::default());
    assert!(
        error.contains("more than 60 bases inside each other"),
        "{error}"
    );
}

#[test]
fn a_pattern_is_bounded_by_what_it_compiles_to() {
    let kustomization =
        "resources: [a.yaml]\npatches:\n- patch: '[]'\n  target: {name: '(a{1000}){1000}'}\n";
    let error = refused(
        &[("kustomization.yaml", kustomization), ("a.yaml", &map("a"))],
        &Limits::default(),
    );
    assert!(
        error.starts_with("render.limit: kustomization.yaml:4:") && error.contains("1048576 bytes"),
        "{error}"
    );
}

/// Kustomizations of some kilobytes that would make gigabytes of 2,000 objects, each in another way.
#[test]
fn what_a_step_makes_is_bounded_before_it_is_made() {
    let long = "x".repeat(200_000);
    let labels: String = (0..3_000).fold(String::new(), |mut text, at| {
        let _ = write!(text, "l{at}: v, ");
        text
    });
    let steps = [
        format!("namePrefix: {long}\n"),
        format!("nameSuffix: {long}\n"),
        format!("namespace: {long}\n"),
        format!("labels: [{{pairs: {{a: {long}}}}}]\n"),
        format!("commonAnnotations: {{{labels}}}\n"),
        format!("images: [{{name: i, newName: {long}}}]\n"),
        format!(
            "patches: [{{target: {{kind: ConfigMap}}, patch: \"{{kind: a, metadata: {{name: b}}, data: {{x: {long}}}}}\"}}]\n"
        ),
        format!(
            "patches: [{{target: {{kind: ConfigMap}}, patch: '[{{\"op\": \"add\", \"path\": \"/data/x\", \"value\": \"{long}\"}}]'}}]\n"
        ),
        format!(
            "configMapGenerator: [{{name: g, literals: [a={long}]}}]\nreplacements: [{{source: {{name: g, fieldPath: data.a}}, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [data.x], options: {{create: true}}}}]}}]\n"
        ),
    ];
    let objects = (0..2_000).fold(String::new(), |mut text, at| {
        let _ = writeln!(
            text,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{at}}}\ndata: {{a: b}}\ncontainers: [{{image: i}}]\n---"
        );
        text
    });
    for step in steps {
        let kustomization = format!("resources: [a.yaml]\n{step}");
        let limits = Limits {
            made_bytes: 64 << 20,
            ..Limits::default()
        };
        let error = refused(
            &[("kustomization.yaml", &kustomization), ("a.yaml", &objects)],
            &limits,
        );
        let step: String = step.chars().take(30).collect();
        assert!(
            error.contains("make more than 67108864 bytes"),
            "{step}: {error}"
        );
    }
}

#[test]
fn variables_cannot_multiply_a_text_without_end() {
    let value = "y".repeat(100_000);
    let uses = "$(V)".repeat(4_000);
    let object = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{long: {value}, uses: {uses}}}\n"
    );
    let kustomization = "resources: [a.yaml]\nvars: [{name: V, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldPath: data.long}}]\nconfigurations: [c.yaml]\n";
    let configuration = "varReference: [{path: data, kind: ConfigMap}]\n";
    let error = refused(
        &[
            ("kustomization.yaml", kustomization),
            ("a.yaml", &object),
            ("c.yaml", configuration),
        ],
        &Limits::default(),
    );
    assert!(error.contains("make more than"), "{error}");
}

#[test]
fn no_step_makes_an_object_deeper_than_the_stack_bears() {
    // By the path of a field specification.
    let path = vec!["a"; 50_000].join("/");
    let configuration = format!("commonLabels: [{{path: {path}, create: true}}]\n");
    let error = refused(
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\nconfigurations: [c.yaml]\ncommonLabels: {a: b}\n",
            ),
            ("a.yaml", &map("a")),
            ("c.yaml", &configuration),
        ],
        &Limits::default(),
    );
    assert!(error.contains("more than 100 parts"), "{error}");
    // By the path of a replacement, at once and a little at a time.
    let path = vec!["a"; 50_000].join(".");
    let once = format!(
        "resources: [a.yaml]\nreplacements: [{{source: {{name: a}}, targets: [{{select: {{name: a}}, fieldPaths: [{path}], options: {{create: true}}}}]}}]\n"
    );
    let mut often = "resources: [a.yaml]\nreplacements:\n".to_owned();
    for _ in 0..3_000 {
        often.push_str("- {source: {name: a, fieldPath: data}, targets: [{select: {name: a}, fieldPaths: [data.x], options: {create: true}}]}\n- {source: {name: a, fieldPath: data.x}, targets: [{select: {name: a}, fieldPaths: [data]}]}\n- {source: {name: a, fieldPath: data}, targets: [{select: {name: a}, fieldPaths: [spec.y], options: {create: true}}]}\n- {source: {name: a, fieldPath: spec}, targets: [{select: {name: a}, fieldPaths: [data]}]}\n");
    }
    for kustomization in [once, often] {
        let error = refused(
            &[
                ("kustomization.yaml", &kustomization),
                ("a.yaml", &map("a")),
            ],
            &Limits::default(),
        );
        assert!(error.contains("deeper than 200"), "{error}");
    }
    // By moving a JSON patch's own work into itself.
    let mut patch = String::new();
    for _ in 0..2_000 {
        patch.push_str("- {op: add, path: /t, value: {}}\n- {op: move, from: /data, path: /t/x}\n- {op: move, from: /t, path: /data}\n");
    }
    let kustomization = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {name: a}}]\n";
    let error = refused(
        &[
            ("kustomization.yaml", kustomization),
            ("a.yaml", &map("a")),
            ("p.yaml", &patch),
        ],
        &Limits::default(),
    );
    assert!(error.contains("deeper than 200"), "{error}");
}

/// Each of these took minutes or hours when every pair was looked at.
#[test]
fn long_lists_do_not_take_the_square_of_their_length() {
    let many = 60_000;
    let keys = (0..many).fold(String::new(), |mut text, at| {
        let _ = writeln!(text, "  k{at}: v");
        text
    });
    let ports = (0..many).fold(String::new(), |mut text, at| {
        let _ = writeln!(text, "  - {{port: {at}, name: p{at}}}");
        text
    });
    let head = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n");
    let operations = "- {op: add, path: /data/0, value: 1}\n".repeat(many);
    let cases = [
        (
            format!("{}data:\n{keys}", head("ConfigMap")),
            format!("{}data:\n{keys}", head("ConfigMap")),
        ),
        (
            format!("{}spec:\n  ports:\n{ports}", head("Service")),
            format!("{}spec:\n  ports:\n{ports}", head("Service")),
        ),
        (format!("{}data: []\n", head("ConfigMap")), operations),
    ];
    let kustomization = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {name: a}}]\n";
    for (object, patch) in cases {
        // Both answers will do, as long as one comes.
        let files = [
            ("kustomization.yaml", kustomization),
            ("a.yaml", &*object),
            ("p.yaml", &*patch),
        ];
        if let Err(error) = rendered(&files, &Limits::default()) {
            assert!(error.starts_with("render.limit: "), "{error}");
        }
    }
}

#[test]
fn a_plain_directory_has_a_limit_of_its_own() {
    let limits = Limits {
        directory_bytes: 100,
        ..Limits::default()
    };
    let tree = Tree::from_files([("a.yaml", &*map("a")), ("b.yaml", &*map("b"))]);
    let error = render(&source(SourceType::Detect), &tree, &limits).expect_err("it is refused");
    assert_eq!(
        error.to_string(),
        "b.yaml:1:1: more than 100 bytes of manifests in ."
    );
}
