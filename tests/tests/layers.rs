//! The layers: who may need whom, and what the pure crates may never need. Source: ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use lockstep_tests::packages::{Package, Packages};
use lockstep_tests::world::root;

/// A crate's place.
struct Place {
    name: &'static str,
    layer: u8,
    pure: bool,
    may_need: &'static [&'static str],
}

const fn place(
    name: &'static str,
    layer: u8,
    pure: bool,
    may_need: &'static [&'static str],
) -> Place {
    Place {
        name,
        layer,
        pure,
        may_need,
    }
}

/// Lowest first. A new edge is a change of the architecture: a commit of its own, with the reason in its body.
const LAYERS: &[Place] = &[
    place("manifest", 0, true, &[]),
    place("tree", 0, true, &[]),
    place("api", 0, true, &[]),
    place("app", 1, true, &["manifest"]),
    place("render", 2, true, &["manifest", "tree", "app"]),
    place("plan", 2, true, &["manifest", "app"]),
    place("source", 2, false, &["tree", "app"]),
    place("cluster", 2, false, &["manifest", "app"]),
    place("reconcile", 3, true, &["manifest", "app", "plan"]),
    place(
        "daemon",
        4,
        false,
        &[
            "manifest",
            "tree",
            "api",
            "app",
            "render",
            "plan",
            "source",
            "cluster",
            "reconcile",
        ],
    ),
    place(
        "lockstep",
        5,
        false,
        &[
            "daemon", "api", "app", "manifest", "tree", "render", "source",
        ],
    ),
];

/// What touches the world: none of it may be in the tree of a pure crate.
const WORLDLY: &[&str] = &[
    "async-std",
    "axum",
    "gix",
    "hyper",
    "hyper-util",
    "kube",
    "kube-client",
    "kube-runtime",
    "mio",
    "notify",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
    "tower",
    "ureq",
];

fn of(name: &str) -> Option<&'static Place> {
    LAYERS.iter().find(|place| place.name == name)
}

/// The directory under `crates/`, which is the package's name without the prefix.
fn short(package: &Package) -> &str {
    package
        .name
        .strip_prefix("lockstep-")
        .unwrap_or(&package.name)
}

/// What is wrong with an edge between two of ours; none when nothing is.
fn wrong(from: &str, to: &str, only_tests: bool) -> Option<String> {
    let (Some(above), Some(below)) = (of(from), of(to)) else {
        return Some(format!(
            "{from} needs {to}, and one of them has no place in the table of layers"
        ));
    };
    if below.layer >= above.layer {
        return Some(format!(
            "{from} (layer {}) needs {to} (layer {}): edges go down",
            above.layer, below.layer
        ));
    }
    (!only_tests && !above.may_need.contains(&to))
        .then(|| format!("{from} needs {to}, which the table does not allow"))
}

/// The crates that are built into the program: all of ours but the tests.
fn shipped(packages: &Packages) -> impl Iterator<Item = &Package> {
    packages
        .ours()
        .filter(|package| package.name != "lockstep-tests")
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    let packages = Packages::read()?;
    let mut mistakes = Vec::new();
    for package in shipped(&packages) {
        for need in &package.needs {
            let to = packages.get(&need.id).context("every need is a package")?;
            if to.source.is_none() {
                mistakes.extend(wrong(short(package), short(to), need.only_tests));
            }
        }
    }
    assert_eq!(mistakes, Vec::<String>::new());
    Ok(())
}

#[test]
fn an_upward_or_sideways_edge_is_noticed() {
    for (from, to) in [
        ("render", "plan"),
        ("app", "render"),
        ("manifest", "app"),
        ("cluster", "source"),
        ("plan", "tests"),
    ] {
        assert!(wrong(from, to, false).is_some(), "{from} -> {to}");
        assert!(wrong(from, to, true).is_some(), "{from} -> {to} in tests");
    }
    assert!(
        wrong("lockstep", "plan", false).is_some(),
        "the command line speaks to the daemon, not to its planner"
    );
    assert!(
        wrong("source", "manifest", true).is_none(),
        "a test may use what lies lower"
    );
}

#[test]
fn every_crate_has_its_place_and_the_places_are_crates() -> Result<()> {
    let packages = Packages::read()?;
    let there: BTreeSet<&str> = shipped(&packages).map(short).collect();
    let named: BTreeSet<&str> = LAYERS.iter().map(|place| place.name).collect();
    assert_eq!(there, named);
    for package in shipped(&packages) {
        let folder = Path::new(&package.manifest_path)
            .parent()
            .context("a Cargo.toml lies in a folder")?;
        assert_eq!(
            folder,
            root().join("crates").join(short(package)),
            "{}",
            package.name
        );
    }
    Ok(())
}

#[test]
fn what_touches_the_world_is_in_no_pure_crates_tree() -> Result<()> {
    let packages = Packages::read()?;
    for package in
        shipped(&packages).filter(|package| of(short(package)).is_some_and(|place| place.pure))
    {
        let tree = packages.tree([package], false);
        let worldly: Vec<&str> = tree
            .iter()
            .map(|one| one.name.as_str())
            .filter(|name| WORLDLY.contains(name))
            .collect();
        assert!(
            worldly.is_empty(),
            "{} is pure, and has {worldly:?} in its tree",
            package.name
        );
        assert!(tree.len() > 5, "the tree of {} was not read", package.name);
    }
    Ok(())
}

#[test]
fn only_the_cluster_crate_needs_the_kubernetes_client_and_only_source_needs_gix() -> Result<()> {
    let packages = Packages::read()?;
    for (name, home) in [
        ("kube", "cluster"),
        ("gix", "source"),
        ("axum", "daemon"),
        ("clap", "lockstep"),
    ] {
        let users: Vec<&str> = shipped(&packages)
            .filter(|package| {
                package
                    .needs
                    .iter()
                    .any(|need| packages.get(&need.id).is_some_and(|one| one.name == name))
            })
            .map(short)
            .collect();
        assert_eq!(users, [home], "{name}");
    }
    Ok(())
}

#[test]
fn the_workspace_lists_its_crates_in_layer_order() -> Result<()> {
    let text = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let listed: Vec<u8> = text
        .lines()
        .filter(|line| line.contains("path ="))
        .filter_map(|line| {
            line.strip_prefix("lockstep-")?
                .split_whitespace()
                .next()
                .and_then(of)
        })
        .map(|place| place.layer)
        .collect();
    assert!(listed.is_sorted(), "{listed:?}");
    assert_eq!(
        listed.len(),
        LAYERS.len() - 1,
        "all but the program stand there"
    );
    Ok(())
}

#[test]
fn each_crate_says_in_one_sentence_what_it_is() -> Result<()> {
    let packages = Packages::read()?;
    for package in packages.ours() {
        let folder = Path::new(&package.manifest_path)
            .parent()
            .context("a Cargo.toml lies in a folder")?;
        let front =
            ["src/lib.rs", "src/main.rs"].map(|file| std::fs::read_to_string(folder.join(file)));
        let text = front
            .into_iter()
            .find_map(std::result::Result::ok)
            .context("a crate has a front")?;
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            format!("//! {}", package.description),
            "{}",
            package.name
        );
    }
    Ok(())
}
