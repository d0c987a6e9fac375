//! What is wrong with a text that a person wrote: where, what, and what to write instead.

use lockstep_manifest::pointer;

use crate::fault::{Blame, Fault};

/// One thing that is wrong with what was written. All of them are told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path(.pointer))]
pub struct SpecError {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong, as one clause.
    pub message: String,
    /// What to do, as an imperative sentence.
    pub hint: Option<String>,
}

impl SpecError {
    /// An error at this place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where, for people: `spec.source.path`.
    pub fn path(&self) -> String {
        path(&self.pointer)
    }

    /// All of these as the one fault that holds the app.
    pub fn fault(errors: &[Self]) -> Fault {
        let message = errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        Fault {
            blame: Blame::User,
            code: "spec.invalid".to_owned(),
            message,
            hint: errors.iter().find_map(|e| e.hint.clone()),
        }
    }
}

/// `/spec/sources/0/path` as `spec.sources[0].path`.
pub(crate) fn path(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer::parts(pointer).unwrap_or_default() {
        if part.contains(['.', '/'])
            || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        {
            text.extend(["[", &part, "]"]);
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place_as_people_write_it() {
        let error = SpecError::new("/spec/sources/0/path", "leaves the repository");
        assert_eq!(
            error.to_string(),
            "spec.sources[0].path: leaves the repository"
        );
    }

    #[test]
    fn all_errors_are_in_the_one_fault() {
        let errors = [
            SpecError::new("/spec/project", "a"),
            SpecError::new("/spec/source", "b").hint("do c"),
        ];
        let fault = SpecError::fault(&errors);
        assert_eq!(fault.message, "spec.project: a; spec.source: b");
        assert_eq!(fault.hint.as_deref(), Some("do c"));
        assert_eq!(fault.blame, Blame::User);
    }
}
