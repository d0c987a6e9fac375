//! A source tree into manifests: plain, kustomize.
//!
//! Reading order: [`render`] decides what a folder is and has it rendered; `directory` takes every object of a folder,
//! [`kustomize`] builds a kustomization; `reading` is the only way either looks at files, so that the result can say
//! which paths it depends on; [`RenderError`] says what was wrong, where, and what to do.

mod directory;
mod error;
pub mod kustomize;
mod limits;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_app::{Source, SourceType};
use lockstep_manifest::Manifest;
use lockstep_manifest::yaml::{print_manifests, print_value};
use lockstep_tree::{RelPath, Tree};
use serde_json::Value;

pub use error::RenderError;
pub use limits::Limits;
use reading::Reading;

/// What a source was rendered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory of YAML and JSON.
    Directory,
    /// A kustomization.
    Kustomize,
}

/// What a source is rendered to.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The objects, in the order they are printed, with the places of their leaves.
    pub manifests: Vec<Manifest>,
    /// What the source was rendered as.
    pub kind: Kind,
    /// Every path that was looked at, found or not: a commit that changes none of them changes nothing here.
    pub read: BTreeSet<RelPath>,
    /// What the author should know and nothing fails for.
    pub warnings: Vec<String>,
    /// What is printed for the object at an index, where an API server would not take that as it is.
    odd: BTreeMap<usize, Value>,
}

/// Names of a kustomization file, as the reference looks for them.
const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Renders `source.path` of a tree.
///
/// Shape: a pure function of tree, path and kind; no clock, no network, no process.
/// Errors: [`RenderError::NoSuchPath`] when the folder is not there, never an empty result for it.
pub fn render(source: &Source, tree: &Tree, limits: &Limits) -> Result<Rendered, RenderError> {
    let no_such_path = || RenderError::NoSuchPath {
        path: source.path.clone(),
    };
    let folder: RelPath = source.path.parse().map_err(|_| no_such_path())?;
    let mut reading = Reading::new(tree, limits);
    if !reading.is_folder(&folder)? {
        return Err(no_such_path());
    }
    let (kind, (manifests, odd)) = match &source.kind {
        SourceType::Directory(options) => (
            Kind::Directory,
            plain(directory::objects(&mut reading, &folder, options)?),
        ),
        SourceType::Kustomize(_) => (Kind::Kustomize, kustomization(&mut reading, &folder)?),
        SourceType::Detect => {
            let mut found = false;
            for name in KUSTOMIZATION_FILES {
                found |= reading.is_file(&reading.below(&folder, name)?)?;
            }
            if found {
                (Kind::Kustomize, kustomization(&mut reading, &folder)?)
            } else if reading.is_file(&reading.below(&folder, "Chart.yaml")?)? {
                return Err(RenderError::Unsupported {
                    place: reading::start_of(&reading.below(&folder, "Chart.yaml")?),
                    what: "Helm charts are not rendered yet".to_owned(),
                    hint:
                        "render the chart into a folder of manifests, or keep this app where it is"
                            .to_owned(),
                });
            } else {
                let options = lockstep_app::app::Directory::default();
                (
                    Kind::Directory,
                    plain(directory::objects(&mut reading, &folder, &options)?),
                )
            }
        }
    };
    Ok(Rendered {
        manifests,
        kind,
        read: reading.read,
        warnings: reading.warnings,
        odd,
    })
}

type Objects = (Vec<Manifest>, BTreeMap<usize, Value>);

fn plain(manifests: Vec<Manifest>) -> Objects {
    (manifests, BTreeMap::new())
}

fn kustomization(reading: &mut Reading<'_>, folder: &RelPath) -> Result<Objects, RenderError> {
    let (mut manifests, mut odd) = plain(Vec::new());
    for (at, (manifest, printed)) in kustomize::build(reading, folder)?.into_iter().enumerate() {
        manifests.push(manifest);
        odd.extend(printed.map(|value| (at, value)));
    }
    Ok((manifests, odd))
}

/// The text that `kustomize build` prints for what was rendered.
pub fn print(rendered: &Rendered) -> String {
    if rendered.odd.is_empty() {
        return print_manifests(&rendered.manifests);
    }
    let texts =
        rendered
            .manifests
            .iter()
            .enumerate()
            .map(|(at, manifest)| match rendered.odd.get(&at) {
                Some(value) => print_value(value),
                None => print_manifests(std::slice::from_ref(manifest)),
            });
    texts.collect::<Vec<_>>().join("---\n")
}
