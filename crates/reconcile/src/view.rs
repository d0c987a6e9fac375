//! What faces show of one app: a snapshot in our own words, made by [`crate::Life::view`], read by page, REST and CLI.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::app::{Bases, Revision};
use lockstep_app::{AppKey, Policy};
use lockstep_manifest::fields::Writer;
use lockstep_manifest::fields::others::Others;
use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::{Digest, Health, ObjectId, Place, Uid};
use lockstep_plan::{Plan, Side};

/// The one word that an app has, by urgency of the first rule that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// The wanted commit failed at a step, or health degraded.
    Failing,
    /// The cluster differs from what was applied, and policy leaves it.
    Drifted,
    /// There is something to do and something forbids it.
    Held,
    /// We cannot see what we need.
    Unknown,
    /// A commit is between "seen" and "healthy", or drift is being put back right now.
    Syncing,
    /// The cluster equals the wanted commit and is healthy.
    Synced,
}

impl Word {
    /// The word as people read it.
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
}

/// Does the cluster equal git? Argo CD's axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncStatus {
    /// Yes.
    Synced,
    /// No.
    OutOfSync,
    /// Not known.
    Unknown,
}

impl SyncStatus {
    /// Argo CD's word.
    pub fn text(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why the word is not Synced, in one sentence, with what to do next.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// From the reason catalogue: `held.approval`, `apply.immutable_field`, `drift.reported`, …
    pub code: String,
    /// One sentence of at most 140 characters.
    pub text: String,
    /// What to do: a command, or who has to move.
    pub next: Option<String>,
}

/// A commit, as far as known.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitView {
    /// Its id.
    pub revision: Revision,
    /// The first line of its message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
}

/// How far a step of the strip got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
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

/// One step of the strip: commit, render, diff, apply, health.
#[derive(Clone, Debug, PartialEq)]
pub struct StripStep {
    /// `commit`, `render`, `diff`, `apply` or `health`.
    pub name: &'static str,
    /// How far it got.
    pub outcome: Outcome,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Two facts at most: "42 objects", "kustomize, overlays/prod".
    pub facts: Vec<String>,
}

/// The strip of one commit in this app.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// The commit.
    pub commit: CommitView,
    /// Is it live, or on its way?
    pub live: bool,
    /// The five steps, in order.
    pub steps: Vec<StripStep>,
}

/// One field that differs from git.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftField {
    /// `spec.template.spec.containers[web].image`.
    pub path: String,
    /// Git's side.
    pub git: Side,
    /// The cluster's side.
    pub cluster: Side,
    /// Who wrote it, as far as the server's bookkeeping tells; several may own it.
    pub by: Vec<Writer>,
    /// When we noticed.
    pub noticed_at: Timestamp,
    /// Where git says so: every place that set it, oldest first, the one that counts last.
    pub places: Vec<Place>,
}

/// One object that differs from git.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftObject {
    /// Which.
    pub id: ObjectId,
    /// Is it gone altogether? Then `fields` is empty.
    pub missing: bool,
    /// The fields that differ.
    pub fields: Vec<DriftField>,
    /// When it is put back by itself.
    pub heal_at: Option<Timestamp>,
}

/// One managed object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectView {
    /// Which.
    pub id: ObjectId,
    /// Its version, such as `v1`.
    pub version: String,
    /// Does it equal git?
    pub sync: SyncStatus,
    /// Is it to be deleted?
    pub requires_pruning: bool,
    /// How it is doing.
    pub health: Health,
    /// One fact: "2 of 3 ready".
    pub fact: Option<String>,
    /// Its wave.
    pub wave: i32,
    /// Why it is as it is, when that needs saying.
    pub why: Option<String>,
    /// Where git describes it.
    pub place: Option<Place>,
    /// What others wrote to it beside us.
    pub others: Option<Arc<Others>>,
}

/// How a sync ended, or that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationPhase {
    /// Not ended.
    Running,
    /// Somebody ended it, and its hooks are still being tidied up.
    Terminating,
    /// Everything was applied.
    Succeeded,
    /// Something was not.
    Failed,
}

/// Did what was applied become healthy?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It is not known yet.
    Pending,
    /// All of it did, at that moment.
    Yes(Timestamp),
    /// Not in time.
    No(String),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
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

impl LogKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [
        Self::Sync,
        Self::Rollback,
        Self::Heal,
        Self::Deletion,
        Self::Release,
    ];

    /// Its word in the record and in REST.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Rollback => "rollback",
            Self::Heal => "heal",
            Self::Deletion => "deletion",
            Self::Release => "release",
        }
    }
}

/// One line of the log of everything that was done to an app.
#[derive(Clone, Debug, PartialEq)]
pub struct LogView {
    /// The operation's id; of a heal, the object.
    pub id: String,
    /// What.
    pub kind: LogKind,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Did it end well?
    pub well: bool,
    /// The commit.
    pub revision: Option<Revision>,
    /// The digest of the spec that it was of.
    pub spec: String,
    /// How many objects were written; of a heal, how often.
    pub objects: usize,
    /// In words.
    pub text: String,
}

/// That an app is kept where it was rolled back to, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackView {
    /// The commit.
    pub to: Revision,
    /// What the target named then.
    pub from: Option<Revision>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How long.
    pub until: crate::event::Until,
}

impl OperationPhase {
    /// Argo CD's word.
    pub fn text(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Terminating => "Terminating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// One sync: what REST calls an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationView {
    /// `op-` and eight hex digits.
    pub id: String,
    /// The app's environment and name.
    pub app: (String, String),
    /// How far it is.
    pub phase: OperationPhase,
    /// One sentence.
    pub message: String,
    /// The commit it goes to.
    pub revision: Option<Revision>,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What was done to which object: Argo CD's `syncResult.resources`.
    pub results: Vec<ResultView>,
    /// How often something was tried again.
    pub retries: u32,
    /// Did what it applied become healthy?
    pub verified: Option<Verified>,
    /// May it delete what left git?
    pub prune: bool,
    /// Was it only tried? Then nothing was written.
    pub dry_run: bool,
}

impl OperationView {
    /// Is it under way?
    pub fn is_running(&self) -> bool {
        matches!(
            self.phase,
            OperationPhase::Running | OperationPhase::Terminating
        )
    }
}

/// What a sync did to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultView {
    /// Which.
    pub id: ObjectId,
    /// Its version.
    pub version: String,
    /// Argo CD's code: `Synced`, `SyncFailed`, `Pruned`, `PruneSkipped`.
    pub status: &'static str,
    /// In words.
    pub message: String,
    /// The phase it belongs to.
    pub phase: HookPhase,
    /// Of a hook: Argo CD's `Running`, `Succeeded`, `Failed`.
    pub hook: Option<&'static str>,
}

/// One finished deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryView {
    /// Counted from 0.
    pub id: u64,
    /// What was deployed.
    pub commit: CommitView,
    /// When it began.
    pub started_at: Timestamp,
    /// When everything was applied.
    pub deployed_at: Timestamp,
    /// Who asked.
    pub by: String,
    /// How many objects were written.
    pub objects: usize,
    /// The digest of everything that was applied, under which it is stored.
    pub bundle: Option<Digest>,
    /// The commits of other repositories that it was made of.
    pub bases: Bases,
}

/// One line of what happened.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// When.
    pub at: Timestamp,
    /// A sentence.
    pub text: String,
    /// `git`, `cluster`, `lockstep`, or who.
    pub source: String,
}

/// A condition, as Argo CD has them; types that end in Error or Warning.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `ComparisonError`, `SyncError`, `SharedResourceWarning`, …
    pub kind: String,
    /// In words.
    pub message: String,
    /// Since when.
    pub at: Timestamp,
}

/// Where the app comes from and goes to, for showing.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SourceView {
    /// The repository.
    pub remote: String,
    /// Branch, tag or commit as written.
    pub target: String,
    /// The folder.
    pub path: String,
    /// `Kustomize` or `Directory`, once rendered.
    pub kind: String,
}

/// Everything the faces know about one app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppView {
    /// Which Application.
    pub key: AppKey,
    /// Its uid.
    pub uid: Uid,
    /// Its name on page, CLI and REST.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its AppProject.
    pub project: String,
    /// The word.
    pub word: Word,
    /// Since when it is that word.
    pub since: Timestamp,
    /// Why, unless Synced.
    pub why: Option<Why>,
    /// Argo CD's axis.
    pub sync: SyncStatus,
    /// The worst health of its objects.
    pub health: Health,
    /// The commit that the cluster was last brought to.
    pub live: Option<CommitView>,
    /// The commit that the target names.
    pub wanted: Option<CommitView>,
    /// Next (when there is one), then live.
    pub strips: Vec<Strip>,
    /// What differs from git.
    pub drift: Vec<DriftObject>,
    /// What a sync would do.
    pub plan: Option<Arc<Plan>>,
    /// The digest to approve.
    pub plan_digest: Option<Digest>,
    /// The managed objects.
    pub objects: Vec<ObjectView>,
    /// The last deployments, newest first.
    pub history: VecDeque<HistoryView>,
    /// What happened, newest first; at most 50.
    pub events: VecDeque<EventView>,
    /// Everything that was done, newest first; bounded.
    pub log: VecDeque<LogView>,
    /// Where it is kept, when it was rolled back.
    pub rollback: Option<RollbackView>,
    /// The policy in force.
    pub policy: Option<Policy>,
    /// Argo CD's conditions.
    pub conditions: Vec<Condition>,
    /// Where it comes from.
    pub source: SourceView,
    /// Where it goes: server or cluster name.
    pub destination: String,
    /// Its namespace.
    pub namespace: String,
    /// The current or last sync.
    pub operation: Option<OperationView>,
    /// When cluster and git were last compared.
    pub compared_at: Option<Timestamp>,
    /// The container images in what git wants, sorted.
    pub images: Vec<String>,
    /// Does Argo CD's `automated` stand in its spec?
    pub automated: bool,
}
