//! What went wrong, whose move it is, and what to do next: one shape for page, CLI, REST and conditions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose move it is. It decides retrying, the HTTP status, the exit code and the condition's reason (S14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Blame {
    /// A wrong spec or source: not retried until it changes.
    User,
    /// The network, the API server, the git host: retried with jittered back-off, for ever.
    Environment,
    /// Our bug: not retried, counted, alarmed.
    Lockstep,
}

/// Something that stops an app, told to a person.
///
/// Shape: `code` is from the reason catalogue (`render.field_unknown`, `repo.unreachable`, …) and is what machines
/// read; `message` is one clause without a full stop; `hint` is an imperative sentence with the next command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Whose move it is.
    pub blame: Blame,
    /// The reason's code.
    pub code: String,
    /// What failed, and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault with everything but the hint.
    pub fn new(blame: Blame, code: &str, message: impl Into<String>) -> Self {
        Self {
            blame,
            code: code.to_owned(),
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
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
