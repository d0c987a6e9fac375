//! All apps at a glance.

use serde::{Deserialize, Serialize};

use crate::app::{Commit, State};
use crate::time::Time;

/// What paints the top of the front page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The answer, as a sentence.
    pub headline: String,
    /// Lockstep's version.
    pub version: String,
    /// The board's version.
    pub board: u64,
    /// When this was so.
    pub at: Time,
    /// How many apps are in each state.
    pub counts: Counts,
    /// The repositories in use, newest commit first.
    pub repositories: Vec<Repository>,
    /// The environments, in the order in which they are shown.
    pub environments: Vec<Environment>,
    /// What is wrong with Lockstep's own surroundings.
    pub notices: Vec<Notice>,
    /// Does this replica hold the lease?
    pub leading: bool,
    /// Has every Application been read once?
    pub complete: bool,
    /// The API server.
    pub server: String,
    /// AppProjects that allow everything.
    pub permissive_projects: Vec<String>,
}

/// How many apps are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Failing.
    pub failing: u64,
    /// Drifted.
    pub drifted: u64,
    /// Held.
    pub held: u64,
    /// Unknown.
    pub unknown: u64,
    /// Syncing.
    pub syncing: u64,
    /// Synced.
    pub synced: u64,
    /// All of them.
    pub total: u64,
}

impl Counts {
    /// How many are in this state.
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::Failing => self.failing,
            State::Drifted => self.drifted,
            State::Held => self.held,
            State::Unknown => self.unknown,
            State::Syncing => self.syncing,
            State::Synced => self.synced,
        }
    }

    /// Counts one more.
    pub fn add(&mut self, state: State) {
        let slot = match state {
            State::Failing => &mut self.failing,
            State::Drifted => &mut self.drifted,
            State::Held => &mut self.held,
            State::Unknown => &mut self.unknown,
            State::Syncing => &mut self.syncing,
            State::Synced => &mut self.synced,
        };
        *slot += 1;
        self.total += 1;
    }

    /// How many need somebody to look.
    pub fn need_a_look(&self) -> u64 {
        self.failing + self.drifted + self.held + self.unknown
    }
}

/// Something that is wrong around all apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// From the reason catalogue.
    pub code: String,
    /// One sentence.
    pub text: String,
    /// What to do.
    pub next: Option<String>,
}

/// A repository in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Its address.
    pub url: String,
    /// The target whose newest commit this is.
    pub target: String,
    /// The newest commit there.
    pub head: Option<Commit>,
    /// Where that commit is live, in words.
    pub reach: Option<String>,
    /// When it was last asked.
    pub asked_at: Option<Time>,
    /// When a webhook last named it.
    pub webhook_at: Option<Time>,
    /// Why it cannot be read.
    pub fault: Option<Notice>,
}

/// An environment: its policy and how its apps do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// What it does by itself, in words; none for apps without an environment, which follow their own.
    pub policy: Option<String>,
    /// How many apps are in each state.
    pub counts: Counts,
    /// When something was last deployed there.
    pub last_deployment_at: Option<Time>,
    /// Its apps, most urgent first.
    pub apps: Vec<Cell>,
}

/// One app as a glyph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its word.
    pub state: State,
}

/// The environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environments {
    /// In the order in which they are shown: last of the configuration first.
    pub items: Vec<Environment>,
    /// How many.
    pub total: u64,
}
