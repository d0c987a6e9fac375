//! What the targets share: a tree packed into one input, and what has to hold of every answer.

use lockstep_app::{Source, SourceType};
use lockstep_render::{Limits, print, render};
use lockstep_tree::Tree;

/// A line that begins with this begins a file, whose path is the rest of the line.
const FILE: &[u8] = b"=== ";

/// The files that are packed into an input: path and contents.
pub fn unpack(input: &[u8]) -> Vec<(&str, &[u8])> {
    let mut files = Vec::new();
    let mut rest = input;
    while let Some(after) = rest.strip_prefix(FILE) {
        let end_of_line = after.iter().position(|byte| *byte == b'\n');
        let (path, body) = after.split_at(end_of_line.unwrap_or(after.len()));
        let body = body.get(1..).unwrap_or_default();
        let next = if body.starts_with(FILE) {
            Some(0)
        } else {
            let mark = [b"\n", FILE].concat();
            body.windows(mark.len())
                .position(|window| window == mark)
                .map(|at| at + 1)
        };
        let (body, more) = body.split_at(next.unwrap_or(body.len()));
        if let Ok(path) = std::str::from_utf8(path) {
            files.push((path, body));
        }
        rest = more;
    }
    files
}

/// Packs files into one input.
pub fn pack<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (path, body) in files {
        packed.extend_from_slice(FILE);
        packed.extend_from_slice(path.as_bytes());
        packed.push(b'\n');
        packed.extend_from_slice(body);
        if !body.ends_with(b"\n") {
            packed.push(b'\n');
        }
    }
    packed
}

/// Renders the root of a tree as a kustomization, twice: both answers must be the same, and every error must have its
/// sentence. What is printed must be readable again.
pub fn check(files: &[(&str, &[u8])]) {
    let source = Source {
        remote: "https://git.example.com/shop".parse().expect("an address"),
        target: String::new(),
        path: String::new(),
        kind: SourceType::Kustomize(Box::default()),
    };
    let once = || {
        let tree = Tree::from_contents(files.iter().copied());
        match render(&source, &tree, &Limits::default()) {
            Ok(rendered) => {
                for manifest in &rendered.manifests {
                    let leaves = manifest.places().leaves();
                    let known = leaves.map(|leaf| leaf.places.len()).min();
                    assert_ne!(known, Some(0), "every leaf knows what set it");
                }
                Ok((print(&rendered), rendered.read))
            }
            Err(error) => {
                let fault = error.fault();
                assert!(!fault.message.is_empty(), "an error says what is wrong");
                Err((fault.message, error.place()))
            }
        }
    };
    assert_eq!(once(), once(), "the same tree renders to the same");
}
