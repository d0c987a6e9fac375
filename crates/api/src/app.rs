//! One app: its word, its sentence, its next step, its strip.

use serde::{Deserialize, Serialize};

use crate::operation::Operation;
use crate::past::Rollback;
use crate::time::Time;

/// The one word of an app, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The wanted commit failed at a step, or health degraded.
    Failing,
    /// The latest commit is applied and the cluster differs from it.
    Drifted,
    /// There is something to do and something forbids it.
    Held,
    /// Lockstep cannot see what it needs.
    Unknown,
    /// A commit, or a repair, is on its way.
    Syncing,
    /// The cluster equals the wanted commit and is healthy.
    Synced,
}

impl State {
    /// All of them, most urgent first: the display order.
    pub const ALL: [Self; 6] = [
        Self::Failing,
        Self::Drifted,
        Self::Held,
        Self::Unknown,
        Self::Syncing,
        Self::Synced,
    ];

    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Failing => "Failing",
            Self::Drifted => "Drifted",
            Self::Held => "Held",
            Self::Unknown => "Unknown",
            Self::Syncing => "Syncing",
            Self::Synced => "Synced",
        }
    }

    /// As machines read it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Drifted => "drifted",
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Syncing => "syncing",
            Self::Synced => "synced",
        }
    }

    /// The state that a machine means.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.code().eq_ignore_ascii_case(code))
    }

    /// Does somebody have to look?
    pub fn needs_a_look(self) -> bool {
        matches!(
            self,
            Self::Failing | Self::Drifted | Self::Held | Self::Unknown
        )
    }
}

/// How far a step of the strip got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepOutcome {
    /// Done.
    Done,
    /// Being done.
    Running,
    /// It failed.
    Failed,
    /// Something forbids it.
    Held,
    /// Nothing to do.
    Skipped,
    /// Not reached.
    None,
}

/// Does the cluster equal git?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncState {
    /// Yes.
    InSync,
    /// No.
    OutOfSync,
    /// Not known.
    Unknown,
}

/// How something is doing; `null` where its kind has no health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthState {
    /// As it should be.
    Healthy,
    /// Not there yet.
    Progressing,
    /// Something failed.
    Degraded,
    /// Stopped on purpose.
    Suspended,
    /// Not in the cluster.
    Missing,
    /// Could not be found out.
    Unknown,
}

/// Why the state is not Synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// From the reason catalogue: `held.approval`, `drift.reported`.
    pub code: String,
    /// One sentence.
    pub text: String,
}

/// The next step: a command, or who has to move. Exactly one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextMove {
    /// A command that can be pasted.
    pub command: Option<String>,
    /// Who has to do what, when no command helps.
    pub who: Option<String>,
}

/// A commit, as far as known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// All digits.
    pub sha: String,
    /// The first seven.
    pub short: String,
    /// The first line of its message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub committed_at: Option<Time>,
}

/// One app in a list: at most some 700 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppSummary {
    /// `prod/checkout`: its name everywhere.
    pub key: String,
    /// Its environment.
    pub env: String,
    /// Its name.
    pub name: String,
    /// The board's version at which it last changed.
    pub version: u64,
    /// The word.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// Why, unless Synced.
    pub reason: Option<Reason>,
    /// What to do about it.
    pub next: Option<NextMove>,
    /// The commit that the cluster was last brought to.
    pub live: Option<Commit>,
    /// The commit that the target names.
    pub wanted: Option<Commit>,
    /// The outcomes of commit, render, diff, apply and health, of the commit on its way, else of the live one.
    pub strip: Vec<StepOutcome>,
    /// Does the cluster equal git?
    pub sync: SyncState,
    /// The worst health of its objects.
    pub health: Option<HealthState>,
    /// How many fields differ from git.
    pub drift_fields: u64,
    /// Where it can be looked at.
    pub links: Links,
}

/// Addresses, relative to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The page.
    pub html: String,
}

/// A list of apps, a page of it at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppList {
    /// This page, by environment and name.
    pub items: Vec<AppSummary>,
    /// How many match the filter, on all pages.
    pub total: u64,
    /// How many apps the filter leaves out.
    pub hidden: u64,
    /// Where the next page begins; none on the last.
    pub cursor: Option<String>,
}

/// Is the strip's commit live, or on its way?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StripKind {
    /// On its way.
    Next,
    /// Live.
    Live,
}

/// What happened to one commit in one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strip {
    /// The commit.
    pub commit: Commit,
    /// Live, or on its way?
    pub kind: StripKind,
    /// The five steps, in order.
    pub steps: Vec<StripStep>,
    /// From the commit to healthy, once it is.
    pub total_ms: Option<u64>,
}

/// One step of a strip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StripStep {
    /// `commit`, `render`, `diff`, `apply` or `health`.
    pub name: String,
    /// How far it got.
    pub outcome: StepOutcome,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// Two facts at most.
    pub facts: Vec<String>,
}

/// What a command touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It changes the cluster.
    WritesCluster,
}

/// A command that can be pasted, with what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppCommand {
    /// What it means: "Go back to git".
    pub label: String,
    /// The command.
    pub command: String,
    /// What it touches.
    pub effect: Effect,
}

/// Where an app comes from and goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The repository.
    pub repository: String,
    /// Branch, tag or commit, as written.
    pub target: String,
    /// The folder.
    pub path: String,
    /// `Kustomize` or `Directory`, once rendered.
    pub renderer: Option<String>,
    /// The API server or cluster, as written in the Application.
    pub cluster: String,
    /// The namespace there.
    pub namespace: String,
}

/// Which text decided on an axis of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SetBy {
    /// The Application's own `syncPolicy`.
    Application,
    /// The environment in the daemon's configuration.
    Environment,
    /// Both say the same.
    Both,
}

/// One axis of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Axis {
    /// `apply`, `approve`, `hold`; `heal`, `healAfter`, `report`; `prune`, `approve`, `keep`.
    pub value: String,
    /// How long drift stands before it is put back, for `healAfter`.
    pub after_ms: Option<u64>,
    /// Who decided it.
    pub set_by: SetBy,
}

/// What may happen to an app by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// On a new commit.
    pub new_commit: Axis,
    /// On drift.
    pub drift: Axis,
    /// On an object gone from git.
    pub deletion: Axis,
}

/// How much there is in each section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sections {
    /// Fields that differ, objects that are gone included.
    pub drift: u64,
    /// Steps of the plan.
    pub plan: u64,
    /// Managed objects.
    pub objects: u64,
    /// Remembered deployments.
    pub history: u64,
    /// Remembered deeds: syncs, rollbacks, heals.
    #[serde(default)]
    pub log: u64,
    /// Remembered events.
    pub events: u64,
}

/// A condition, in Argo CD's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `ComparisonError`, `SyncError`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    pub message: String,
    /// Since when.
    pub at: Time,
}

/// The Application object behind an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its AppProject.
    pub project: String,
}

/// One app, with everything but the long sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// What the list says of it.
    #[serde(flatten)]
    pub summary: AppSummary,
    /// Next, when there is one, then live.
    pub strips: Vec<Strip>,
    /// What can be done, most useful first.
    pub commands: Vec<AppCommand>,
    /// Where it comes from and goes to.
    pub source: Source,
    /// What may happen by itself; none until the Application could be read.
    pub policy: Option<Policy>,
    /// How much there is in each section.
    pub sections: Sections,
    /// The digest of the plan: what a sync approves.
    pub plan: Option<String>,
    /// The sync that runs, or the last one.
    pub operation: Option<Operation>,
    /// Where it is kept instead of at its target, since somebody rolled it back.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// What is wrong, in Argo CD's terms.
    pub conditions: Vec<Condition>,
    /// The Application object.
    pub application: Application,
    /// When cluster and git were last compared.
    pub compared_at: Option<Time>,
    /// The environments that have an app of the same name.
    pub also: Vec<String>,
    /// The apps before and after it in its environment.
    pub neighbours: Neighbours,
}

/// The apps before and after one, by name, in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Neighbours {
    /// The one before.
    pub previous: Option<String>,
    /// The one after.
    pub next: Option<String>,
}

/// An object's name in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// `Deployment/web`.
    pub fn short(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Where git says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitPlace {
    /// The file inside the repository.
    pub file: String,
    /// The line, from 1; 0 where there are none, as in an Application's own fields.
    pub line: u32,
}

/// `base/deployment.yaml:12`
impl std::fmt::Display for GitPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One managed object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Which.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// Its version, such as `v1`.
    pub version: String,
    /// Does it equal git?
    pub sync: SyncState,
    /// How it is doing.
    pub health: Option<HealthState>,
    /// What it waits for, or what failed.
    pub health_text: Option<String>,
    /// One fact: "2 of 3 ready".
    pub fact: Option<String>,
    /// Is it to be deleted?
    pub requires_pruning: bool,
    /// Its wave.
    pub wave: i32,
    /// Why it is as it is, when that needs saying.
    pub why: Option<String>,
    /// Where git describes it.
    pub git_at: Option<GitPlace>,
    /// What others wrote to it beside git, in words: `1 field of others: spec.replicas by kubectl (scale)`.
    #[serde(default)]
    pub others: Option<String>,
}

/// The managed objects of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    /// All of them.
    pub items: Vec<Object>,
    /// How many.
    pub total: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Time,
    /// A sentence.
    pub text: String,
    /// `git`, `cluster`, `lockstep`, or who.
    pub source: String,
}

/// What happened to an app, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// As many as were asked for.
    pub items: Vec<Event>,
    /// How many are remembered.
    pub total: u64,
}
