//! Cases as folders: what a source is rendered to, byte for byte, or how it fails.
//!
//! `tests/corpus/{kustomize,kustomize-own}/NAME/{input/, build-path, expected.yaml | our-error.txt}` of the workspace, and
//! the same under `tests/cases/directory` here. `expected.yaml` of kustomize cases was recorded from the reference
//! (version 5.5); `our-error.txt` is our own text. `BLESS=1` rewrites error texts and directory cases, never recorded
//! ones. Beside the bytes this looks at what the command line does not print: a place for every leaf.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep_app::app::Directory;
use lockstep_app::{Source, SourceType};
use lockstep_render::{Limits, print, render};
use lockstep_tree::Tree;

fn main() {
    let arguments = Arguments::from_args();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("../../tests/corpus");
    let mut trials = Vec::new();
    for (group, cases) in [
        ("kustomize", corpus.join("kustomize")),
        ("kustomize-own", corpus.join("kustomize-own")),
        ("directory", here.join("tests/cases/directory")),
    ] {
        let mut folders: Vec<PathBuf> = fs::read_dir(cases)
            .expect("the cases are in the repository")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        for folder in folders {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            trials.push(Trial::test(format!("{group}/{name}"), move || {
                run(&folder, group == "directory")
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// `recurse: true`, `include: GLOB`, `exclude: GLOB`, one a line.
fn options(text: &str) -> Directory {
    let mut options = Directory::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("recurse", value)) => options.recurse = value == "true",
            Some(("include", value)) => value.clone_into(&mut options.include),
            Some(("exclude", value)) => value.clone_into(&mut options.exclude),
            _ => {}
        }
    }
    options
}

fn run(folder: &Path, directory: bool) -> Result<(), Failed> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let kind = if directory {
        SourceType::Directory(options(&text("options").unwrap_or_default()))
    } else {
        SourceType::Kustomize(Box::default())
    };
    let source = Source {
        remote: "https://git.example.com/shop".parse()?,
        target: String::new(),
        path: text("build-path")
            .unwrap_or_default()
            .trim()
            .trim_start_matches("./")
            .to_owned(),
        kind,
    };
    let tree = Tree::from_directory(&folder.join("input"))?;
    let rendered = render(&source, &tree, &Limits::default());
    let want = text("expected.yaml");
    let bless = std::env::var_os("BLESS").is_some();
    match (rendered, want) {
        (Ok(rendered), Some(want)) => {
            let got = print(&rendered);
            if bless && directory {
                fs::write(folder.join("expected.yaml"), &got)?;
            } else if got != want {
                return Err(
                    format!("the output differs\n--- wanted\n{want}\n--- got\n{got}").into(),
                );
            }
            check_places(&rendered.manifests)
        }
        (Ok(rendered), None) => {
            Err(format!("an error was wanted, and this came:\n{}", print(&rendered)).into())
        }
        (Err(error), Some(_)) => Err(format!("{error}").into()),
        (Err(error), None) => {
            let fault = error.fault();
            let mut got = format!("{}: {}\n", fault.code, fault.message);
            if let Some(hint) = fault.hint {
                got.extend(["hint: ", hint.as_str(), "\n"]);
            }
            if bless {
                fs::write(folder.join("our-error.txt"), &got)?;
                return Ok(());
            }
            let want = text("our-error.txt").unwrap_or_default();
            if got == want {
                Ok(())
            } else {
                Err(format!("--- wanted\n{want}\n--- got\n{got}").into())
            }
        }
    }
}

/// Every leaf of every object knows where it came from.
fn check_places(manifests: &[lockstep_manifest::Manifest]) -> Result<(), Failed> {
    for manifest in manifests {
        for leaf in manifest.places().leaves() {
            if !leaf
                .last()
                .is_some_and(|place| !place.file.is_empty() && place.line > 0)
            {
                return Err(format!("{} {} has no place", manifest.id(), leaf.pointer).into());
            }
        }
    }
    Ok(())
}
