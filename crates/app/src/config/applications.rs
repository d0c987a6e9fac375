//! Application files, checked without a cluster: for `lockstep validate`.

use lockstep_manifest::yaml::{self, Dialect, Limits, Node};
use lockstep_manifest::{Place, pointer};
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
    let documents = match yaml::read(text, Dialect::Kubectl, file, &Limits::default()) {
        Ok(documents) => documents,
        Err(error) => return vec![unreadable(error.place(), error.message)],
    };
    let mut problems = Vec::new();
    for document in &documents {
        let value = match document.to_value() {
            Ok(value) => value,
            Err(error) => {
                problems.push(unreadable(error.place.clone(), error.to_string()));
                continue;
            }
        };
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if !text("/apiVersion").starts_with("argoproj.io/") {
            continue;
        }
        let kind = text("/kind");
        let errors = match kind {
            "Application" => application(&value, environments),
            "AppProject" => project(&value),
            _ => continue,
        };
        let name = text("/metadata/name");
        for error in errors {
            let path = error.path();
            problems.push(Problem {
                place: place(document, &error.pointer),
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

fn unreadable(place: Place, message: String) -> Problem {
    Problem {
        place,
        object: String::new(),
        message,
        hint: None,
    }
}

/// Where the key stands that the pointer names, or the nearest above it.
fn place(document: &Node, at: &str) -> Place {
    let mut node = document;
    let mut place = &document.place;
    for part in pointer::parts(at).unwrap_or_default() {
        if let Some(pair) = node
            .as_map()
            .and_then(|map| map.iter().find(|p| p.key.text == part))
        {
            (node, place) = (&pair.value, &pair.place);
            continue;
        }
        let index = part.parse::<usize>().ok();
        let item = node
            .as_list()
            .and_then(|list| index.and_then(|index| list.get(index)));
        let Some(item) = item else { break };
        (node, place) = (item, &item.place);
    }
    place.clone()
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
        prune_budget: None,
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
