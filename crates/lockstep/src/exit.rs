//! What the exit code says: one table for every verb.

use std::process::ExitCode;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; no difference; the condition is met.
    Yes,
    /// The question was answered "no". Never an error.
    No,
    /// Wrong flags, a missing environment.
    Usage,
    /// The input was refused before anything was done.
    Invalid,
    /// Still waiting when the time was up.
    Timeout,
    /// Approval, a policy, a plan that has changed: a person has to look.
    NeedsAPerson,
    /// Render, diff or apply failed.
    SyncFailed,
    /// Another sync, or a hold, stands in the way.
    Blocked,
    /// Applied, then degraded.
    Unhealthy,
    /// No right to do that.
    NotAllowed,
    /// Server, cluster or repository did not answer.
    Unreachable,
    /// No such app, environment or commit.
    NotFound,
    /// A bug, or a failure that nobody foresaw.
    Unexpected,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// Every code, in order: what `lockstep help exit-codes` prints.
    pub(crate) const TABLE: [(Self, &str); 14] = [
        (Self::Yes, "done; no difference; the condition is met"),
        (
            Self::No,
            "the answer is no: differences found, not all synced; never an error",
        ),
        (Self::Usage, "wrong flags, or the environment is missing"),
        (
            Self::Invalid,
            "input refused before anything was done: a file, a revision",
        ),
        (
            Self::Timeout,
            "still waiting when the time was up; nothing was undone",
        ),
        (
            Self::NeedsAPerson,
            "a person has to look: approval, policy, a plan that changed",
        ),
        (
            Self::SyncFailed,
            "render, diff or apply failed; the message says which",
        ),
        (Self::Blocked, "a hold or another sync is in the way"),
        (Self::Unhealthy, "applied, then degraded"),
        (Self::NotAllowed, "no token, or no right"),
        (
            Self::Unreachable,
            "server, cluster or repository did not answer",
        ),
        (Self::NotFound, "no such app, environment or operation"),
        (Self::Unexpected, "a bug, or a failure that nobody foresaw"),
        (
            Self::Interrupted,
            "stopped by Ctrl-C; what was begun goes on",
        ),
    ];

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Timeout => 4,
            Self::NeedsAPerson => 5,
            Self::SyncFailed => 6,
            Self::Blocked => 7,
            Self::Unhealthy => 9,
            Self::NotAllowed => 13,
            Self::Unreachable => 14,
            Self::NotFound => 15,
            Self::Unexpected => 20,
            Self::Interrupted => 130,
        }
    }

    /// What a reason from the catalogue (`apply.immutable_field`, `held.approval`) means for whoever waits.
    pub(crate) fn of_reason(code: &str) -> Self {
        match code.split('.').next().unwrap_or_default() {
            // Git did not answer; everything else that is wrong with a repository is wrong with the app.
            "repo"
                if matches!(
                    code,
                    "repo.unreachable" | "repo.timed_out" | "repo.rate_limited"
                ) =>
            {
                Self::Unreachable
            }
            "repo" | "render" | "diff" | "apply" | "spec" | "prune" | "project" | "plan"
            | "sync" | "hook" | "delete" => Self::SyncFailed,
            "health" => Self::Unhealthy,
            "held" if code == "held.rollback" => Self::Blocked,
            "held" => Self::NeedsAPerson,
            "unknown" => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }

    /// What an answer with this status means.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::Invalid,
            401 | 403 => Self::NotAllowed,
            404 | 410 => Self::NotFound,
            409 => Self::Blocked,
            423 => Self::NeedsAPerson,
            429 | 502..=504 => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }

    /// How urgent it is when several apps end differently; the most urgent one is the command's.
    pub(crate) fn urgency(self) -> u8 {
        match self {
            Self::Unexpected => 12,
            Self::Interrupted => 11,
            Self::Unreachable => 10,
            Self::NotAllowed => 9,
            Self::SyncFailed => 8,
            Self::Unhealthy => 7,
            Self::Blocked => 6,
            Self::NeedsAPerson => 5,
            Self::Timeout => 4,
            Self::NotFound | Self::Invalid | Self::Usage => 3,
            Self::No => 1,
            Self::Yes => 0,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_can_never_look_like_a_difference() {
        for status in 100..600 {
            assert!(Exit::of_status(status).code() > 1, "{status}");
        }
        for code in [
            "render.timeout",
            "held.approval",
            "health.probe",
            "what.ever",
            "",
        ] {
            assert!(Exit::of_reason(code).code() > 1, "{code}");
        }
    }

    #[test]
    fn the_table_names_each_code_once_and_in_order() {
        let codes = Exit::TABLE.map(|(exit, _)| exit.code());
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }
}
