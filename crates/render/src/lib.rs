//! A source tree into manifests: plain, kustomize.
//!
//! Reading order: [`render`] decides what a folder is and has it rendered; `directory` takes every object of a folder,
//! [`kustomize`] builds a kustomization; `reading` is the only way either looks at files, so that the result can say
//! which paths it depends on; `environment` fills in `$ARGOCD_APP_NAME` and its like; [`RenderError`] says what was
//! wrong, where, and what to do.

mod directory;
mod environment;
mod error;
pub mod kustomize;
mod limits;
mod parsed;
mod reading;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::app::Base;
use lockstep_app::kustomize::Kustomize;
use lockstep_app::{Source, SourceType};
use lockstep_manifest::yaml::{self, Dialect, print_manifests, print_value};
use lockstep_manifest::{Manifest, Place};
use lockstep_tree::{RelPath, Tree};
use serde_json::{Map, Value};

use environment::Environment;
pub use environment::Facts;
pub use error::RenderError;
use kustomize::Overrides;
pub use limits::Limits;
pub use parsed::Parsed;
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
    /// The same of each other repository.
    pub read_of: BTreeMap<Base, BTreeSet<RelPath>>,
    /// The commit's own id is in the objects: every commit changes them, whatever else it changes.
    pub by_revision: bool,
    /// What the author should know and nothing fails for.
    pub warnings: Vec<String>,
    /// What is printed for the object at an index, where an API server would not take that as it is.
    odd: BTreeMap<usize, Value>,
}

impl Rendered {
    /// What is printed for the object at an index. It is the object, but for values that an API server would not take.
    pub fn body(&self, at: usize) -> Option<&Map<String, Value>> {
        match self.odd.get(&at) {
            Some(value) => value.as_object(),
            None => self.manifests.get(at).map(Manifest::body),
        }
    }
}

/// The trees that a rendering may look at.
#[derive(Clone, Debug)]
pub struct Forest {
    /// The app's own.
    pub own: Tree,
    /// Those of other repositories that are here already.
    pub bases: BTreeMap<Base, Tree>,
    /// Files that were read for others.
    pub parsed: Arc<Parsed>,
    /// Threads that one rendering may use; the answer is the same with any number. Whoever renders many sources at
    /// once does better with one for each.
    pub threads: usize,
}

impl Forest {
    /// The app's own tree, and nothing else.
    pub fn of(own: Tree) -> Self {
        Self {
            own,
            bases: BTreeMap::new(),
            parsed: Arc::new(Parsed::new(0)),
            threads: 1,
        }
    }

    /// The same, rendered on so many threads.
    #[must_use]
    pub fn on_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The same, with files that were read for others and may be read for them.
    #[must_use]
    pub fn sharing(mut self, parsed: Arc<Parsed>) -> Self {
        self.parsed = parsed;
        self
    }
}

/// Another repository that a kustomization names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which, and at which target.
    pub base: Base,
    /// Where it is named first.
    pub place: Place,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Rendering {
    /// The objects.
    Done(Box<Rendered>),
    /// Nothing yet: these trees are needed, and perhaps others that they name. Never empty.
    Needs(Vec<Need>),
}

/// Names of a kustomization file, as the reference looks for them.
const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Files of a source's folder that say how it is rendered, in the order in which they count.
const SOURCE_FILE: &str = ".argocd-source";

/// Renders `source.path` of one tree, for no app in particular.
///
/// Errors: as [`render_in`], and [`RenderError::Remote`] when another repository would be needed.
pub fn render(source: &Source, tree: &Tree, limits: &Limits) -> Result<Rendered, RenderError> {
    render_alone(source, &Forest::of(tree.clone()), limits)
}

/// The same in a forest that shares what it read with others.
pub fn render_alone(
    source: &Source,
    forest: &Forest,
    limits: &Limits,
) -> Result<Rendered, RenderError> {
    match render_in(source, forest, &Facts::default(), limits)? {
        Rendering::Done(rendered) => Ok(*rendered),
        Rendering::Needs(needs) => match needs.into_iter().next() {
            Some(need) => Err(RenderError::Remote {
                place: need.place,
                what: need.base.to_string(),
            }),
            None => Err(no_such_path(source)),
        },
    }
}

/// Renders `source.path` of the forest's own tree.
///
/// Shape: a pure function of trees, source and facts; no clock, no network, no process. What is not in the forest is
/// asked for, as many at once as can be known before the first of them is there.
/// Errors: [`RenderError::NoSuchPath`] when the folder is not there, never an empty result for it.
pub fn render_in(
    source: &Source,
    forest: &Forest,
    facts: &Facts,
    limits: &Limits,
) -> Result<Rendering, RenderError> {
    let mut reading = Reading::new(forest, limits);
    match rendered(source, &mut reading, facts) {
        Ok(rendered) => Ok(Rendering::Done(Box::new(rendered))),
        Err(RenderError::Remote { .. }) if !reading.needs.is_empty() => {
            Ok(Rendering::Needs(reading.needs.into_values().collect()))
        }
        Err(error) => Err(error),
    }
}

fn no_such_path(source: &Source) -> RenderError {
    RenderError::NoSuchPath {
        path: source.path.clone(),
    }
}

fn rendered(
    source: &Source,
    reading: &mut Reading<'_>,
    facts: &Facts,
) -> Result<Rendered, RenderError> {
    let folder: RelPath = source.path.parse().map_err(|_| no_such_path(source))?;
    if !reading.is_folder(&folder)? {
        return Err(no_such_path(source));
    }
    let source = with_its_files(source, reading, &folder, facts)?;
    let mut by_revision = false;
    let mut kustomization = |reading: &mut Reading<'_>, options: &Kustomize| {
        let mut overrides = Overrides {
            options,
            app: &facts.app,
            environment: Environment::new(facts, &source),
        };
        let objects = built(reading, &folder, &mut overrides);
        by_revision = overrides.environment.by_revision;
        for name in overrides.environment.unknown {
            reading.warnings.push(format!(
                "{}: ${name} is no variable of the build, so nothing stands in its place",
                options.at
            ));
        }
        objects
    };
    let (kind, (manifests, odd)) = match &source.kind {
        SourceType::Directory(options) => (
            Kind::Directory,
            plain(directory::objects(reading, &folder, options)?),
        ),
        SourceType::Kustomize(options) => (Kind::Kustomize, kustomization(reading, options)?),
        SourceType::Detect => {
            let mut found = false;
            for name in KUSTOMIZATION_FILES {
                found |= reading.is_file(&reading.below(&folder, name)?)?;
            }
            let chart = reading.below(&folder, "Chart.yaml")?;
            if found {
                let options = Kustomize::default();
                (Kind::Kustomize, kustomization(reading, &options)?)
            } else if reading.is_file(&chart)? {
                return Err(RenderError::Unsupported {
                    place: reading.start_of(&chart),
                    what: "Helm charts are not rendered yet".to_owned(),
                    hint:
                        "render the chart into a folder of manifests, or keep this app where it is"
                            .to_owned(),
                });
            } else {
                let options = lockstep_app::app::Directory::default();
                (
                    Kind::Directory,
                    plain(directory::objects(reading, &folder, &options)?),
                )
            }
        }
    };
    Ok(Rendered {
        manifests,
        kind,
        read: std::mem::take(&mut reading.read),
        read_of: std::mem::take(&mut reading.read_of),
        by_revision,
        warnings: std::mem::take(&mut reading.warnings),
        odd,
    })
}

/// The source as files in its folder change it: `.argocd-source.yaml`, then `.argocd-source-APP.yaml`.
fn with_its_files(
    source: &Source,
    reading: &mut Reading<'_>,
    folder: &RelPath,
    facts: &Facts,
) -> Result<Source, RenderError> {
    let mut source = source.clone();
    let mut names = vec![format!("{SOURCE_FILE}.yaml")];
    if !facts.app.is_empty() {
        names.push(format!("{SOURCE_FILE}-{}.yaml", facts.app));
    }
    for name in names {
        let path = reading.below(folder, &name)?;
        let place = reading.start_of(&path);
        let Some(text) = reading.file(&path, &place)? else {
            continue;
        };
        let documents = yaml::read(
            &text,
            Dialect::Kubectl,
            &reading.name(&path),
            &reading.limits.yaml,
        )?;
        let Some(said) = documents.first() else {
            continue;
        };
        let value = said.to_value().map_err(|e| {
            RenderError::invalid_hint(&e.place, e.what, "correct the value, or take it away")
        })?;
        source = source.merged(path.as_str(), &value).map_err(|errors| {
            let hint = errors.iter().find_map(|error| error.hint.clone());
            RenderError::Invalid {
                place,
                what: lockstep_app::SpecError::fault(&errors).message,
                hint,
            }
        })?;
    }
    Ok(source)
}

type Objects = (Vec<Manifest>, BTreeMap<usize, Value>);

fn plain(manifests: Vec<Manifest>) -> Objects {
    (manifests, BTreeMap::new())
}

fn built(
    reading: &mut Reading<'_>,
    folder: &RelPath,
    overrides: &mut Overrides<'_>,
) -> Result<Objects, RenderError> {
    let (mut manifests, mut odd) = plain(Vec::new());
    let objects = kustomize::build(reading, folder, overrides)?;
    for (at, (manifest, printed)) in objects.into_iter().enumerate() {
        manifests.push(manifest);
        odd.extend(printed.map(|value| (at, value)));
    }
    Ok((manifests, odd))
}

/// The text that `kustomize build` prints for what was rendered.
pub fn print(rendered: &Rendered) -> String {
    print_on(rendered, 1)
}

/// The same text, made on so many threads.
pub fn print_on(rendered: &Rendered, threads: usize) -> String {
    if rendered.odd.is_empty() && threads < 2 {
        return print_manifests(&rendered.manifests);
    }
    let manifests = rendered.manifests.iter().enumerate().collect();
    let texts =
        threads::each(
            threads,
            manifests,
            |(at, manifest): (usize, &Manifest)| match rendered.odd.get(&at) {
                Some(value) => print_value(value),
                None => print_manifests(std::slice::from_ref(manifest)),
            },
        );
    texts.join("---\n")
}
