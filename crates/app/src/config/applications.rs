//! Application files, checked without a cluster: for `lockstep validate`.

use lockstep_manifest::{Place, yaml};
use serde_json::Value;

use super::{Environment, Environments};
use crate::lower::{ENVIRONMENT_LABEL, lower};
use crate::project::Project;
use crate::spec_error::SpecError;
use crate::v1alpha1::{AppProject, Application};

/// One thing that is wrong with a file of Applications and AppProjects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {object}{message}")]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// `Application shop: spec.source.path: `, or nothing when the file itself cannot be read.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Checks every Application and AppProject of a file; other kinds are passed over.
///
/// Shape: all problems at once, in the order of the file, none when all is well. Without environments, when no
/// configuration is at hand, the label that names one is not checked.
pub fn validate_applications(
    text: &[u8],
    file: &str,
    environments: Option<&Environments>,
) -> Vec<Problem> {
    let documents = match yaml::documents(text, file) {
        Ok(documents) => documents,
        Err(error) => {
            return vec![Problem {
                place: error.place().cloned().unwrap_or_else(|| start(file)),
                object: String::new(),
                message: error.to_string(),
                hint: None,
            }];
        }
    };
    let mut problems = Vec::new();
    for document in &documents {
        let value = document.value();
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let kind = text("/kind");
        if !text("/apiVersion").starts_with("argoproj.io/") {
            continue;
        }
        let errors = match kind {
            "Application" => application(value, environments),
            "AppProject" => project(value),
            _ => continue,
        };
        let name = text("/metadata/name");
        for error in errors {
            let path = error.path();
            problems.push(Problem {
                place: document
                    .place(&error.pointer)
                    .unwrap_or_else(|| start(file)),
                object: format!(
                    "{kind} {name}: {path}{}",
                    if path.is_empty() { "" } else { ": " }
                ),
                message: error.message,
                hint: error.hint,
            });
        }
    }
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    problems
}

fn start(file: &str) -> Place {
    Place {
        file: file.into(),
        line: 1,
        column: 1,
    }
}

fn application(value: &Value, environments: Option<&Environments>) -> Vec<SpecError> {
    let mut errors = Vec::new();
    if value
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        errors.push(SpecError::new("/metadata/name", "is missing"));
    }
    let (read, findings) = match Application::read_strictly(value.clone()) {
        Ok(read) => read,
        Err(wrong) => {
            errors.extend(wrong);
            return errors;
        }
    };
    errors.extend(findings.unknown);
    // Without a configuration whatever the label names is there, and leaves every axis to the Application.
    let labelled = read.label(ENVIRONMENT_LABEL).map(|name| Environment {
        name: name.to_owned(),
        new_commit: None,
        drift: None,
        deletion: None,
    });
    let labelled = Environments::new(labelled.into_iter().collect());
    let environments = environments.unwrap_or(&labelled);
    errors.extend(lower(&read, environments).err().unwrap_or_default());
    errors
}

fn project(value: &Value) -> Vec<SpecError> {
    match AppProject::read(value.clone()) {
        Ok(project) => Project::lower(&project).err().unwrap_or_default(),
        Err(errors) => errors,
    }
}
