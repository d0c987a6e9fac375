//! Rendering in process, from files in memory: `cargo bench --package lockstep-render`. `make bench` measures whole
//! processes beside the reference.

use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use lockstep_app::{Source, SourceType};
use lockstep_manifest::yaml::{self, Dialect};
use lockstep_render::{Forest, Limits, Parsed, Rendered, print, render_alone};
use lockstep_tree::Tree;

#[expect(unreachable_pub, reason = "it is a public part of the other benches")]
#[path = "../../../tests/src/bench/overlays.rs"]
mod overlays;

/// Objects of the generated overlays.
const OBJECTS: [usize; 4] = [10, 200, 1_000, 4_000];

fn main() {
    divan::main();
}

fn source(path: &str) -> Source {
    Source {
        remote: "https://git.example.com/shop".parse().expect("an address"),
        target: String::new(),
        path: path.to_owned(),
        kind: SourceType::Kustomize(Box::default()),
    }
}

fn tree(files: &overlays::Files) -> Tree {
    let files = files.iter();
    Tree::from_files(files.map(|(path, text)| (path.as_str(), text.as_str())))
}

fn rendered(source: &Source, forest: &Forest) -> Rendered {
    render_alone(source, forest, &Limits::default()).expect("it renders")
}

/// A case of the corpus, from its folder.
#[divan::bench]
fn shop(bencher: Bencher<'_, '_>) {
    let case =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/kustomize/repo-shop-dev");
    let below = std::fs::read_to_string(case.join("build-path")).expect("it is there");
    let source = source(below.trim());
    let input = case.join("input");
    bencher.bench(|| {
        let tree = Tree::from_directory(&input).expect("it is there");
        rendered(&source, &Forest::of(tree))
    });
}

#[divan::bench(args = OBJECTS)]
fn overlay(bencher: Bencher<'_, '_>, objects: usize) {
    let tree = tree(&overlays::overlay(objects));
    let source = source("overlay");
    bencher.bench(|| rendered(&source, &Forest::of(tree.clone())));
}

/// The same when the base was read before.
#[divan::bench(args = OBJECTS)]
fn overlay_of_a_known_base(bencher: Bencher<'_, '_>, objects: usize) {
    let tree = tree(&overlays::overlay(objects));
    let source = source("overlay");
    let parsed = Arc::new(Parsed::new(64 << 20));
    bencher.bench(|| {
        let forest = Forest::of(tree.clone()).sharing(Arc::clone(&parsed));
        rendered(&source, &forest)
    });
}

#[divan::bench(args = OBJECTS)]
fn printing(bencher: Bencher<'_, '_>, objects: usize) {
    let tree = tree(&overlays::overlay(objects));
    let rendered = rendered(&source("overlay"), &Forest::of(tree));
    bencher.bench(|| print(&rendered));
}

#[divan::bench(args = OBJECTS)]
fn reading_yaml(bencher: Bencher<'_, '_>, objects: usize) {
    let files = overlays::overlay(objects);
    let limits = yaml::Limits::default();
    bencher.bench(|| {
        for (path, text) in &files {
            let read = yaml::read(text.as_bytes(), Dialect::Kustomize, path, &limits);
            divan::black_box(read.expect("it is YAML"));
        }
    });
}

/// One overlay after another, of one base.
#[divan::bench]
fn five_hundred_overlays_of_one_base(bencher: Bencher<'_, '_>) {
    let tree = tree(&overlays::many(500, 20));
    let sources: Vec<Source> = (0..500).map(|at| source(&format!("o{at}"))).collect();
    bencher.bench(|| {
        let forest = Forest::of(tree.clone()).sharing(Arc::new(Parsed::new(Parsed::BYTES)));
        for source in &sources {
            divan::black_box(rendered(source, &forest));
        }
    });
}
