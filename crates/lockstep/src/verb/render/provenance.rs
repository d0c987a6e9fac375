//! Where everything that was rendered comes from: as comments in the YAML, and as JSON.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use lockstep_manifest::yaml::print_leaves;
use lockstep_manifest::{Manifest, Place, pointer};
use lockstep_render::Rendered;
use serde_json::{Value, json};

/// Comments of an object begin below each other, as long as its lines end before this column.
const FURTHEST: usize = 60;

/// The YAML as it is printed without, each object headed by where it comes from, each value followed by where it was
/// set last and what that overrides, newest first.
pub(super) fn text(rendered: &Rendered, arrow: &str) -> String {
    let mut out = String::new();
    for (at, manifest) in rendered.manifests.iter().enumerate() {
        if at > 0 {
            out.push_str("---\n");
        }
        out.push_str(&heading(manifest));
        let (text, spots) = print_leaves(rendered.body(at).unwrap_or(manifest.body()));
        let width = |end: usize| {
            let line = text.get(..end).unwrap_or_default();
            let begun = line.rfind('\n').map_or(0, |at| at + 1);
            line.get(begun..).unwrap_or_default().chars().count()
        };
        let widths: Vec<usize> = spots.iter().map(|spot| width(spot.end)).collect();
        let column = widths.iter().filter(|width| **width <= FURTHEST).max();
        let column = column.copied().unwrap_or_default();
        let chains: HashMap<String, Vec<Place>> = manifest
            .places()
            .leaves()
            .map(|leaf| (leaf.pointer, leaf.places))
            .collect();
        let mut written = 0;
        for (spot, width) in spots.iter().zip(&widths) {
            out.push_str(text.get(written..spot.end).unwrap_or_default());
            written = spot.end;
            let Some(chain) = chains.get(&spot.pointer) else {
                continue;
            };
            let gap = column.saturating_sub(*width) + 2;
            let places: Vec<String> = chain.iter().rev().map(shown).collect();
            let _ = write!(out, "{:gap$}# {}", "", places.join(&format!(" {arrow} ")));
        }
        out.push_str(text.get(written..).unwrap_or_default());
    }
    out
}

/// `# Deployment/web in shop: from base/web.yaml:1:1, changed by prod/kustomization.yaml`
fn heading(manifest: &Manifest) -> String {
    let id = manifest.id();
    let mut line = format!("# {}", id.short());
    if !id.namespace.is_empty() {
        line.extend([" in ", &id.namespace]);
    }
    if let Some(origin) = manifest.places().origin() {
        line.extend([": from ", &origin.to_string()]);
        let mut others: Vec<&Arc<str>> = Vec::new();
        for file in manifest.places().files() {
            if *file != origin.file {
                others.push(file);
            }
        }
        for (at, file) in others.into_iter().enumerate() {
            line.push_str(if at == 0 { ", changed by " } else { ", " });
            line.push_str(file);
        }
    }
    one_line(&line) + "\n"
}

fn shown(place: &Place) -> String {
    one_line(&place.to_string())
}

/// A file's name may hold anything, and a comment ends with its line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') {
                '?'
            } else {
                c
            }
        })
        .collect()
}

/// The objects as a list that kubectl takes, too.
pub(super) fn list(rendered: &Rendered) -> Value {
    let bodies = (0..rendered.manifests.len()).filter_map(|at| rendered.body(at));
    let items: Vec<Value> = bodies.cloned().map(Value::Object).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// For each object what it is, where it comes from, and for each value all places that set it, oldest first.
pub(super) fn table(rendered: &Rendered) -> Value {
    let items: Vec<Value> = rendered
        .manifests
        .iter()
        .enumerate()
        .map(|(at, manifest)| {
            let id = manifest.id();
            let body = Value::Object(rendered.body(at).unwrap_or(manifest.body()).clone());
            let leaves: Vec<Value> = manifest
                .places()
                .leaves()
                .map(|leaf| {
                    json!({
                        "pointer": leaf.pointer,
                        "path": pointer::readable(&body, &leaf.pointer),
                        "value": body.pointer(&leaf.pointer),
                        "places": leaf.places.iter().map(place).collect::<Vec<_>>(),
                    })
                })
                .collect();
            json!({
                "ref": {
                    "group": id.group,
                    "kind": id.kind,
                    "namespace": Some(&id.namespace).filter(|namespace| !namespace.is_empty()),
                    "name": id.name,
                },
                "from": manifest.places().origin().as_ref().map(place),
                "leaves": leaves,
            })
        })
        .collect();
    json!({"items": items})
}

fn place(place: &Place) -> Value {
    json!({"file": &*place.file, "line": place.line, "column": place.column})
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lockstep_app::app::{Source, SourceType};
    use lockstep_manifest::yaml::{self, Limits};
    use lockstep_render::render;
    use lockstep_tree::Tree;

    use super::*;

    fn rendered(tree: &Tree, path: &str) -> Option<Rendered> {
        let source = Source {
            remote: "https://git.example.com/shop".parse().ok()?,
            target: String::new(),
            path: path.to_owned(),
            kind: SourceType::Detect,
        };
        render(&source, tree, &lockstep_render::Limits::default()).ok()
    }

    fn bodies(text: &str) -> Vec<Value> {
        let read = yaml::read_objects(text.as_bytes(), "", &Limits::default());
        let objects = read.unwrap_or_else(|error| panic!("{error} in\n{text}"));
        objects.into_iter().map(Manifest::into_value).collect()
    }

    #[test]
    fn the_comments_leave_every_value_as_it_is() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/kustomize");
        let mut seen = 0;
        for case in std::fs::read_dir(corpus).expect("it is in the repository") {
            let case = case.expect("it can be read").path();
            let path = std::fs::read_to_string(case.join("build-path")).unwrap_or_default();
            let Ok(tree) = Tree::from_directory(&case.join("input")) else {
                continue;
            };
            let Some(rendered) = rendered(&tree, path.trim().trim_start_matches("./")) else {
                continue;
            };
            // What is no object cannot be read back as one.
            let plain = lockstep_render::print(&rendered);
            if yaml::read_objects(plain.as_bytes(), "", &Limits::default()).is_err() {
                continue;
            }
            let text = text(&rendered, "←");
            assert_eq!(bodies(&text), bodies(&plain), "{}", case.display());
            let comments = text.lines().filter(|line| line.contains("# ")).count();
            assert!(comments >= rendered.manifests.len(), "{}", case.display());
            seen += 1;
        }
        assert!(seen > 150, "{seen} cases");
    }

    #[test]
    fn a_comment_ends_with_its_line_whatever_a_file_is_called() {
        let files = [(
            "prod/a\nb.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
        )];
        let rendered = rendered(&Tree::from_files(files), "prod").expect("it renders");
        let text = text(&rendered, "<-");
        assert!(
            text.starts_with("# ConfigMap/a: from prod/a?b.yaml:1:1\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
