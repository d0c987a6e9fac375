//! Every leaf of every object of the corpus has a place, and each place is in a file, in a line that it has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_app::{Source, SourceType};
use lockstep_manifest::{Manifest, Place, pointer};
use lockstep_render::{Limits, RenderError, Rendered, render};
use lockstep_tree::Tree;
use serde_json::Value;

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

/// All leaves of a value, by pointer; empty maps and lists are leaves.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, &pointer::join(at, key), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{at}/{index}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

/// What is wrong with the places of an object.
fn wrong(manifest: &Manifest, lines: &mut dyn FnMut(&str) -> Option<Vec<usize>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for leaf in manifest.places().leaves() {
        if known.insert(leaf.pointer.clone(), leaf.places).is_some() {
            wrong.push(format!("{} is there twice", leaf.pointer));
        }
    }
    let mut there = Vec::new();
    leaves(&Value::Object(manifest.body().clone()), "", &mut there);
    for pointer in there {
        let chain = known.remove(&pointer).unwrap_or_default();
        if chain.last() != manifest.place(&pointer).as_ref() || chain.is_empty() {
            wrong.push(format!("{pointer} has no place, or two last ones"));
        }
        for place in chain {
            let right = lines(&place.file).is_some_and(|lines| {
                let length = lines.get(place.line.max(1) as usize - 1);
                place.line > 0
                    && place.column > 0
                    && length.is_some_and(|length| place.column as usize <= length + 1)
            });
            if !right {
                wrong.push(format!("{pointer} comes from {place}, which is not there"));
            }
        }
    }
    wrong.extend(
        known
            .keys()
            .map(|at| format!("{at} has a place and is not there")),
    );
    let id = manifest.id();
    wrong
        .into_iter()
        .map(|text| format!("{id}: {text}"))
        .collect()
}

#[test]
fn every_leaf_of_the_corpus_comes_from_lines_that_are_there() -> Outcome {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let (mut cases, mut objects, mut failures) = (0, 0, Vec::new());
    for group in ["kustomize", "kustomize-own"] {
        let mut folders: Vec<PathBuf> = fs::read_dir(corpus.join(group))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        folders.sort();
        for folder in folders {
            let input = folder.join("input");
            if !input.is_dir() {
                continue;
            }
            let path = fs::read_to_string(folder.join("build-path")).unwrap_or_default();
            let path = path.trim().trim_start_matches("./");
            let Ok(rendered) = rendered(&Tree::from_directory(&input)?, path) else {
                continue;
            };
            cases += 1;
            let mut files: BTreeMap<String, Option<Vec<usize>>> = BTreeMap::new();
            let mut lines = |file: &str| {
                let read = || {
                    let bytes = fs::read(input.join(file)).ok()?;
                    let text = String::from_utf8_lossy(&bytes);
                    let lines = text.split('\n').map(|line| line.chars().count());
                    Some(lines.collect())
                };
                files.entry(file.to_owned()).or_insert_with(read).clone()
            };
            for manifest in &rendered.manifests {
                objects += 1;
                for text in wrong(manifest, &mut lines) {
                    failures.push(format!("{}: {text}", folder.display()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        cases > 150 && objects > 800,
        "{cases} cases, {objects} objects"
    );
    Ok(())
}
