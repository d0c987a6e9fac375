//! What was done to an app: its deployments, everything else, and whether it was rolled back.

use serde::{Deserialize, Serialize};

use crate::app::Commit;
use crate::time::Time;

/// One finished deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its number, from 0.
    pub n: u64,
    /// What was deployed.
    pub commit: Commit,
    /// When it began.
    pub started_at: Time,
    /// When everything was applied.
    pub deployed_at: Time,
    /// How long that took.
    pub took_ms: Option<u64>,
    /// Who asked.
    pub by: String,
    /// How many objects were written.
    pub objects: u64,
}

/// The last deployments of an app, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// As many as were asked for.
    pub items: Vec<Deployment>,
    /// How many are remembered.
    pub total: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// The cluster was brought to a commit, or to a part of it.
    Sync,
    /// It was brought back to what was deployed before.
    Rollback,
    /// What somebody changed was put back.
    Heal,
    /// The app's objects were deleted with it.
    Deletion,
    /// Somebody let go of something: an object, or a rollback.
    Release,
}

impl Deed {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sync => "Sync",
            Self::Rollback => "Rollback",
            Self::Heal => "Heal",
            Self::Deletion => "Deletion",
            Self::Release => "Release",
        }
    }
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// The operation's id; of a heal, the object.
    pub id: String,
    /// What.
    pub kind: Deed,
    /// Did it end well?
    pub succeeded: bool,
    /// The commit.
    pub revision: Option<String>,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Time,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// How many objects were written; of a heal, how often.
    pub objects: u64,
    /// In words.
    pub text: String,
}

/// Everything that was done to an app, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// As many as were asked for.
    pub items: Vec<LogEntry>,
    /// How many are remembered.
    pub total: u64,
}

/// Where an app is kept instead of at its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The commit.
    pub to: String,
    /// What the target named when it was rolled back.
    pub from: Option<String>,
    /// Why; empty when nobody said.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Time,
    /// How long: `newer-commit`, `release`, or a time.
    pub until: String,
}

impl Rollback {
    /// How long, in words.
    pub fn until_in_words(&self) -> String {
        match self.until.as_str() {
            "newer-commit" => "until a newer commit".to_owned(),
            "release" => "until it is released".to_owned(),
            time => time.parse::<jiff::Timestamp>().map_or_else(
                |_| format!("until {time}"),
                |at| format!("until {}", at.strftime("%Y-%m-%d %H:%M UTC")),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_rollback_holds_is_said_in_words() {
        let said = |until: &str| {
            let rollback = Rollback {
                to: "a".to_owned(),
                from: None,
                reason: String::new(),
                by: "ann".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH.into(),
                until: until.to_owned(),
            };
            rollback.until_in_words()
        };
        assert_eq!(said("newer-commit"), "until a newer commit");
        assert_eq!(said("2026-03-12T16:00:00Z"), "until 2026-03-12 16:00 UTC");
    }
}
