//! Bases of other repositories: asked for, never fetched, and kept to their own tree.

use std::collections::BTreeMap;

use lockstep_app::app::Base;
use lockstep_app::{Source, SourceType};
use lockstep_render::{
    Facts, Forest, Limits, RenderError, Rendered, Rendering, print, render, render_in,
};
use lockstep_tree::Tree;

type Files<'a> = &'a [(&'a str, &'a str)];

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";

fn source(path: &str) -> Source {
    Source {
        remote: "https://git.example/shop.git".parse().expect("an address"),
        target: "main".to_owned(),
        path: path.to_owned(),
        kind: SourceType::Detect,
    }
}

fn base(address: &str) -> Base {
    let (remote, target) = address.rsplit_once('@').unwrap_or((address, ""));
    Base {
        remote: remote.parse().expect("an address"),
        target: target.to_owned(),
    }
}

fn forest(own: Files<'_>, bases: &[(&str, Files<'_>)]) -> Forest {
    let tree = |files: Files<'_>| Tree::from_files(files.iter().copied());
    let mut forest = Forest::of(tree(own));
    forest.bases = bases
        .iter()
        .map(|(address, files)| (base(address), tree(files)))
        .collect();
    forest
}

fn rendering(forest: &Forest) -> Result<Rendering, RenderError> {
    render_in(
        &source("app"),
        forest,
        &Facts::default(),
        &Limits::default(),
    )
}

fn done(forest: &Forest) -> Rendered {
    match rendering(forest).expect("it renders") {
        Rendering::Done(rendered) => *rendered,
        Rendering::Needs(needs) => panic!("{needs:?} are needed"),
    }
}

fn needs(forest: &Forest) -> Vec<String> {
    match rendering(forest).expect("it says what it needs") {
        Rendering::Needs(needs) => needs
            .into_iter()
            .map(|need| format!("{} at {}", need.base, need.place))
            .collect(),
        Rendering::Done(rendered) => panic!("nothing is needed: {}", print(&rendered)),
    }
}

#[test]
fn everything_that_can_be_known_to_be_needed_is_asked_for_at_once() {
    let own = [
        (
            "app/kustomization.yaml",
            "resources:\n- https://git.example/org/a//x?ref=v1\n- ../near\n- https://git.example/org/a//y?ref=v2\ncomponents:\n- github.com/org/parts/tls\n",
        ),
        (
            "near/kustomization.yaml",
            "resources: ['https://git.example/org/b.git/z']\n",
        ),
    ];
    assert_eq!(
        needs(&forest(&own, &[])),
        [
            "https://git.example/org/a@v1 at app/kustomization.yaml:2:3",
            "https://git.example/org/a@v2 at app/kustomization.yaml:4:3",
            "https://git.example/org/b.git at near/kustomization.yaml:1:13",
            "https://github.com/org/parts at app/kustomization.yaml:6:3",
        ]
    );
    let offline = render(&source("app"), &forest(&own, &[]).own, &Limits::default())
        .expect_err("there is no network");
    assert_eq!(offline.code(), "render.remote");
    assert!(
        offline.to_string().contains("https://git.example/org/a@v1"),
        "{offline}"
    );
}

#[test]
fn a_base_is_built_from_its_own_tree_and_may_name_others() {
    let own = [
        (
            "app/kustomization.yaml",
            "resources: ['https://git.example/org/a//deploy/prod?ref=v1']\nnamePrefix: shop-\n",
        ),
        // What the base names by this path is its own, not this.
        ("deploy/base/web.yaml", "this is not YAML: ["),
    ];
    let a = [
        (
            "deploy/prod/kustomization.yaml",
            "resources: [../base, 'https://git.example/org/c']\nbuildMetadata: [managedByLabel]\n",
        ),
        (
            "deploy/base/kustomization.yaml",
            "resources: [web.yaml]\npatches: [{path: patch.yaml}]\n",
        ),
        ("deploy/base/web.yaml", WEB),
        (
            "deploy/base/patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n",
        ),
    ];
    let c = [
        ("kustomization.yml", "resources: [c.yaml]\n"),
        (
            "c.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
        ),
    ];
    let some = forest(&own, &[("https://git.example/org/a@v1", &a)]);
    assert_eq!(
        needs(&some),
        [
            "https://git.example/org/c at https://git.example/org/a@v1//deploy/prod/kustomization.yaml:1:22"
        ]
    );
    let all = forest(
        &own,
        &[
            ("https://git.example/org/a@v1", &a),
            ("https://git.example/org/c", &c),
            ("https://git.example/org/unused", &c),
        ],
    );
    let rendered = done(&all);
    assert_eq!(
        print(&rendered),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shop-c\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: shop-web\nspec:\n  replicas: 2\n"
    );
    let place = |pointer: &str| {
        let place = rendered.manifests[1].place(pointer).expect("it has one");
        place.to_string()
    };
    assert_eq!(
        place("/spec/replicas"),
        "https://git.example/org/a@v1//deploy/base/patch.yaml:4:18"
    );
    assert_eq!(place("/metadata/name"), "app/kustomization.yaml:2:13");
    let paths = |paths: &std::collections::BTreeSet<lockstep_tree::RelPath>| {
        let paths = paths.iter().map(ToString::to_string);
        paths
            .filter(|path| path.ends_with("aml"))
            .collect::<Vec<_>>()
    };
    assert!(
        paths(&rendered.read)
            .iter()
            .all(|path| path.starts_with("app/")),
        "what is looked at elsewhere is kept apart: {:?}",
        rendered.read
    );
    let elsewhere: BTreeMap<String, Vec<String>> = rendered
        .read_of
        .iter()
        .map(|(base, read)| (base.to_string(), paths(read)))
        .collect();
    assert_eq!(
        elsewhere.keys().collect::<Vec<_>>(),
        ["https://git.example/org/a@v1", "https://git.example/org/c"]
    );
    assert!(elsewhere["https://git.example/org/a@v1"].contains(&"deploy/base/web.yaml".to_owned()));
}

#[test]
fn the_origin_of_an_object_names_the_repository() {
    let own = [(
        "app/kustomization.yaml",
        "resources: ['https://git.example/org/a//deploy?ref=v1']\nbuildMetadata: [originAnnotations]\n",
    )];
    let a = [
        ("deploy/kustomization.yaml", "resources: [web.yaml]\n"),
        ("deploy/web.yaml", WEB),
    ];
    let rendered = done(&forest(&own, &[("https://git.example/org/a@v1", &a)]));
    let origin = rendered.manifests[0].annotation("config.kubernetes.io/origin");
    assert_eq!(
        origin,
        Some("path: deploy/web.yaml\nrepo: https://git.example/org/a\nref: v1\n")
    );
}

#[test]
fn a_base_cannot_leave_its_tree_and_errors_name_it() {
    let at = "https://git.example/org/a@v1";
    let own = |entry: &str| format!("resources: ['{entry}']\n");
    let cases: [(&str, Files<'_>, &str); 8] = [
        (
            "https://git.example/org/a//deploy?ref=v1",
            &[("deploy/kustomization.yaml", "resources: [../../app]\n")],
            "https://git.example/org/a@v1//deploy/kustomization.yaml:1:13: \"../../app\" leads out of the tree",
        ),
        (
            "https://git.example/org/a//deploy?ref=v1",
            &[
                ("deploy/kustomization.yaml", "resources: [../x.yaml]\n"),
                ("x.yaml", WEB),
            ],
            "https://git.example/org/a@v1//x.yaml is not in or below https://git.example/org/a@v1//deploy",
        ),
        (
            "https://git.example/org/a//deploy?ref=v1",
            &[
                ("deploy/kustomization.yaml", "resources: [x.yaml]\n"),
                ("deploy/x.yaml", "a: ["),
            ],
            "https://git.example/org/a@v1//deploy/x.yaml:",
        ),
        (
            "https://git.example/org/a//none?ref=v1",
            &[("x", "")],
            "app/kustomization.yaml:1:13: there is no https://git.example/org/a@v1//none",
        ),
        (
            "https://git.example/org/a//x.yaml?ref=v1",
            &[("x.yaml", WEB)],
            "app/kustomization.yaml:1:13: https://git.example/org/a@v1//x.yaml is a file",
        ),
        (
            "https://git.example/org/a//x?ref=v1",
            &[("x/web.yaml", WEB)],
            "https://git.example/org/a@v1//x has no kustomization.yaml",
        ),
        (
            "https://git.example/org/a//x?ref=v1",
            &[(
                "x/kustomization.yaml",
                "resources: ['https://git.example/org/a//x?ref=v1']\n",
            )],
            "this leads in a circle: https://git.example/org/a@v1//x is being built already",
        ),
        (
            "https://files.example/one/two/all.yaml",
            &[],
            "app/kustomization.yaml:1:13: \"https://files.example/one/two/all.yaml\" is a single file on a web server",
        ),
    ];
    for (entry, files, want) in cases {
        let own = own(entry);
        let forest = forest(&[("app/kustomization.yaml", &own)], &[(at, files)]);
        let error = rendering(&forest).expect_err(entry);
        assert!(error.to_string().contains(want), "{error}\nnot {want}");
        assert!(
            error.hint().is_some() || matches!(error, RenderError::Read { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_folder_that_is_called_like_an_address_is_a_folder() {
    let own = [
        ("app/kustomization.yaml", "resources: [github.com/org/x]\n"),
        (
            "app/github.com/org/x/kustomization.yaml",
            "resources: [web.yaml]\n",
        ),
        ("app/github.com/org/x/web.yaml", WEB),
    ];
    assert_eq!(done(&forest(&own, &[])).manifests.len(), 1);
}

#[test]
fn a_remote_component_joins_in_and_no_more_than_so_many_repositories_are_asked_for() {
    let own = [
        (
            "app/kustomization.yaml",
            "resources: [web.yaml]\ncomponents: ['https://git.example/org/parts//tls']\n",
        ),
        ("app/web.yaml", WEB),
    ];
    let parts = [(
        "tls/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -tls\n",
    )];
    let text = print(&done(&forest(
        &own,
        &[("https://git.example/org/parts", &parts)],
    )));
    assert!(text.contains("name: web-tls\n"), "{text}");

    let many: Vec<String> = (0..40)
        .map(|n| format!("- https://git.example/org/{n}\n"))
        .collect();
    let many = format!("resources:\n{}", many.concat());
    let error =
        rendering(&forest(&[("app/kustomization.yaml", &many)], &[])).expect_err("it is too many");
    assert!(
        error.to_string().contains("more than 32 remote bases"),
        "{error}"
    );
}
