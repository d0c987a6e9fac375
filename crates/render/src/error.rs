//! What can be wrong with a source, told with the place and the next move.

use lockstep_app::{Blame, Fault};
use lockstep_manifest::Place;
use lockstep_manifest::yaml::YamlError;
use lockstep_tree::ReadError;

/// A source cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The folder is not in the tree.
    #[error("there is no folder {path:?} in the repository")]
    NoSuchPath {
        /// The path as the app has it.
        path: String,
    },
    /// A folder that should be a kustomization has no kustomization file.
    #[error("{folder} has no kustomization.yaml, kustomization.yml or Kustomization")]
    NoKustomization {
        /// The folder.
        folder: String,
        /// Where it is named, when a kustomization does.
        place: Option<Place>,
    },
    /// A file or folder that is named is not there.
    #[error("{place}: there is no {path}")]
    FileMissing {
        /// Where it is named.
        place: Place,
        /// Where it was looked for.
        path: String,
    },
    /// A field that the format does not have.
    #[error("{place}: unknown field {field:?} in {owner}")]
    FieldUnknown {
        /// Where it stands.
        place: Place,
        /// The field.
        field: String,
        /// What has no such field.
        owner: String,
        /// What may have been meant.
        meant: Option<String>,
    },
    /// A field that holds the wrong kind of value.
    #[error("{place}: {field} takes {wanted}, and here is {found}")]
    FieldType {
        /// Where it stands.
        place: Place,
        /// The field.
        field: String,
        /// What it takes.
        wanted: &'static str,
        /// What stands there.
        found: String,
    },
    /// A text is no YAML.
    #[error("{0}")]
    Yaml(YamlError),
    /// A file cannot be read.
    #[error("{place}: {}", with_causes(cause))]
    Read {
        /// Where it is named.
        place: Place,
        /// Why not.
        #[source]
        cause: ReadError,
    },
    /// It costs more than it may.
    #[error("{place}: {what}")]
    Limit {
        /// Where.
        place: Place,
        /// Which limit, with its value.
        what: String,
    },
    /// A file outside of the folder that may name it.
    #[error("{place}: {path} is not in or below {folder}")]
    Outside {
        /// Where it is named.
        place: Place,
        /// The file.
        path: String,
        /// The folder of the kustomization.
        folder: String,
    },
    /// Another repository, which is not here.
    #[error("{place}: {what} is another repository, and nothing is fetched here")]
    Remote {
        /// Where it is named.
        place: Place,
        /// The repository, with its target.
        what: String,
    },
    /// Something this version does not do.
    #[error("{place}: {what}")]
    Unsupported {
        /// Where it is asked for.
        place: Place,
        /// What.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// Well-formed, and wrong.
    #[error("{place}: {what}")]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl RenderError {
    /// Well-formed, and wrong, at this place.
    pub(crate) fn invalid(place: &Place, what: impl Into<String>) -> Self {
        Self::Invalid {
            place: place.clone(),
            what: what.into(),
            hint: None,
        }
    }

    /// The same with what to do about it.
    pub(crate) fn invalid_hint(
        place: &Place,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            place: place.clone(),
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// Where it is, as far as it is anywhere.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::NoSuchPath { .. } => None,
            Self::NoKustomization { place, .. } => place.clone(),
            Self::Yaml(error) => Some(error.place()),
            Self::FileMissing { place, .. }
            | Self::FieldUnknown { place, .. }
            | Self::FieldType { place, .. }
            | Self::Read { place, .. }
            | Self::Limit { place, .. }
            | Self::Outside { place, .. }
            | Self::Remote { place, .. }
            | Self::Unsupported { place, .. }
            | Self::Invalid { place, .. } => Some(place.clone()),
        }
    }

    /// What the reader can do, as an imperative sentence.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchPath { .. } => {
                "correct spec.source.path, or spec.source.targetRevision if the folder is on another branch".to_owned()
            }
            Self::NoKustomization { .. } => "add a kustomization.yaml, or name the files one by one".to_owned(),
            Self::FileMissing { .. } => "add the file to the commit, or correct the path".to_owned(),
            Self::FieldUnknown { meant: Some(meant), .. } => format!("write `{meant}`, or remove the field"),
            Self::FieldUnknown { .. } => "remove the field, or correct its spelling".to_owned(),
            Self::FieldType { wanted, .. } if wanted.contains("text") => {
                "put the value in quotes: unquoted numbers and yes, no, on, off, y, n are no texts here".to_owned()
            }
            Self::Yaml(_) => "correct the YAML; `lockstep render` checks it without a commit".to_owned(),
            Self::FieldType { .. } | Self::Read { .. } => return None,
            Self::Limit { .. } => "split the source into smaller ones; docs/kustomize.md has all limits".to_owned(),
            Self::Outside { .. } => {
                "move the file below the kustomization that names it, or name its folder as a base".to_owned()
            }
            Self::Remote { .. } => {
                "let the daemon render it, which fetches it if the project's sourceRepos names it; or copy what is needed into the repository".to_owned()
            }
            Self::Unsupported { hint, .. } => hint.clone(),
            Self::Invalid { hint, .. } => return hint.clone(),
        })
    }

    /// The code of the reason catalogue.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPath { .. } => "render.path_missing",
            Self::NoKustomization { .. } => "render.kustomization_missing",
            Self::FileMissing { .. } => "render.file_missing",
            Self::FieldUnknown { .. } => "render.field_unknown",
            Self::FieldType { .. } => "render.field_type",
            Self::Yaml(_) => "render.yaml",
            Self::Read { .. } => "render.unreadable",
            Self::Limit { .. } => "render.limit",
            Self::Outside { .. } => "render.outside",
            Self::Remote { .. } => "render.remote",
            Self::Unsupported { .. } => "render.unsupported",
            Self::Invalid { .. } => "render.invalid",
        }
    }

    /// The same for page, CLI, REST and conditions.
    ///
    /// All of it is the user's move but contents that the store cannot produce: those are worth asking for again.
    pub fn fault(&self) -> Fault {
        let blame = match self {
            Self::Read {
                cause: ReadError::Blob { cause, .. },
                ..
            } if !matches!(cause, lockstep_tree::BlobError::TooLarge { .. }) => Blame::Environment,
            _ => Blame::User,
        };
        let fault = Fault::new(blame, self.code(), self.to_string());
        match self.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// An error with what is behind it: that a file is too large says its cause.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl From<YamlError> for RenderError {
    fn from(error: YamlError) -> Self {
        Self::Yaml(error)
    }
}
