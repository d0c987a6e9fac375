//! Closed events, closed effects (S9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::app::{Base, Bases, Revision};
use lockstep_app::{App, AppKey, Fault};
use lockstep_manifest::fields::takeover::Taken;
use lockstep_manifest::{Digest, GroupKind, Gvk, Manifest, ObjectId, Uid};
use lockstep_plan::{Desired, Entry, FieldChange, Foreseen, KindView, Run, Seen, Step, Wanted};

use crate::view::{CommitView, HistoryView, LogView};

/// Where to look again. It never says what to do; losing one costs a poll interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Ask git; then the cluster.
    Source,
    /// The cluster only: drift need not ask git.
    Cluster,
}

/// One commit, rendered and made ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The commit.
    pub commit: CommitView,
    /// What it wants.
    pub desired: Arc<Desired>,
    /// `Kustomize` or `Directory`.
    pub kind: String,
    /// Digest of the spec it was rendered under, other repositories' commits included ([`spec_digest`]): another one
    /// needs another rendering.
    pub spec: String,
    /// The commits of other repositories that it is made of.
    pub bases: Bases,
    /// When the commit was seen to be the target.
    pub seen_at: Timestamp,
    /// When the rendering was done.
    pub rendered_at: Timestamp,
    /// What is worth saying about the rendering.
    pub warnings: Vec<String>,
}

impl Slot {
    /// Does it have hooks that run when the app is deleted?
    pub fn has_deletion_hooks(&self) -> bool {
        let hooks = &self.desired.hooks;
        hooks.iter().any(|hook| hook.phase.is_of_deletion())
    }
}

/// What a rendering depends on besides its own commit: the spec, and the commits of other repositories.
pub fn spec_digest(source: &str, bases: &Bases) -> String {
    if bases.is_empty() {
        return source.to_owned();
    }
    let bases: Vec<[String; 2]> = bases
        .iter()
        .map(|(base, revision)| [base.to_string(), revision.to_string()])
        .collect();
    Digest::of_value(&serde_json::json!([source, bases])).0
}

/// The record as the cluster has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled {
    /// Its `metadata.resourceVersion`; none when there is none yet.
    pub resource_version: Option<String>,
    /// The revision that was last claimed.
    pub revision: Option<Revision>,
    /// Digest of the spec under which it was claimed.
    pub spec: String,
    /// The commits of other repositories that it was made of.
    pub bases: Bases,
    /// The inventory.
    pub entries: BTreeMap<ObjectId, Entry>,
    /// The sync that was under way.
    pub run: Option<RecordedRun>,
    /// What was done before, newest first.
    pub log: Vec<LogView>,
    /// To what the app was rolled back.
    pub rollback: Option<Rollback>,
    /// The digest of what was last deployed in whole, under which it is stored.
    pub bundle: Option<Digest>,
    /// Digest of the labels and annotations that the destination's namespace was given.
    pub namespace: String,
    /// There is none, and the Application's status says that there was one.
    pub is_lost: bool,
    /// In which epoch it was written, and as the how manieth of the app: of two words about one app the higher one
    /// counts.
    pub order: (u64, u64),
    /// The record lags behind: a claim says more.
    pub lags: bool,
}

impl Recalled {
    /// The record together with a claim that was made beside it: what it says counts until the record is written again.
    ///
    /// Shape: a claim names only what the record did not; the record said all the rest when it was made.
    #[must_use]
    pub fn with_claim(mut self, claim: Self) -> Self {
        if claim.order <= self.order {
            return self;
        }
        for (id, entry) in claim.entries {
            self.entries.entry(id).or_insert(entry);
        }
        Self {
            revision: claim.revision,
            spec: claim.spec,
            bases: claim.bases,
            run: claim.run,
            order: claim.order,
            lags: true,
            ..self
        }
    }
}

/// A sync as the record knows it: enough for another process to go on with it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRun {
    /// What plans depend on.
    pub run: Run,
    /// Who asked.
    pub by: String,
    /// The deletions that were let through with it.
    pub approved: BTreeSet<ObjectId>,
    /// Is the Application being deleted?
    pub leaves: bool,
}

/// Where an app is kept instead of at what its target names.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// The commit.
    pub to: Revision,
    /// What is kept of that commit: its objects' digest. None: whatever it renders to.
    pub bundle: Option<Digest>,
    /// The commits of other repositories that it was made of.
    pub bases: Bases,
    /// What the target named then.
    pub from: Option<Revision>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How long.
    pub until: Until,
}

/// How long an app is kept where it was rolled back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the target names another commit than it did then.
    NewerCommit,
    /// Until somebody releases it.
    Release,
    /// Until then.
    Time(Timestamp),
}

/// What is to stand in the record: written as one compare-and-swap, before any object is touched.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordDraft {
    /// What the record must still be; none creates it.
    pub previous: Option<String>,
    /// Where this stands among all that was written of the app: the epoch is raised to that of the writer.
    pub order: (u64, u64),
    /// The objects that it names and the record does not, where that and the run is all that is new in it: then it may
    /// be claimed beside the record, see [`Recalled::with_claim`].
    pub added: Option<BTreeSet<ObjectId>>,
    /// The plan that is carried out.
    pub plan: Option<Digest>,
    /// The revision it leads to.
    pub revision: Option<Revision>,
    /// Digest of the spec under which that was rendered.
    pub spec: String,
    /// The commits of other repositories that it is made of.
    pub bases: Bases,
    /// The inventory: a superset of what exists, before and after.
    pub entries: BTreeMap<ObjectId, Entry>,
    /// The sync that is under way.
    pub run: Option<RecordedRun>,
    /// What was done before, newest first.
    pub log: Vec<LogView>,
    /// To what the app was rolled back.
    pub rollback: Option<Rollback>,
    /// The digest of what was last deployed in whole.
    pub bundle: Option<Digest>,
    /// Digest of the labels and annotations that the destination's namespace was given.
    pub namespace: String,
    /// The Application goes, and these of its objects stay, with nobody to look after them.
    pub is_tombstone: bool,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The server took the apply and answered this.
    Applied {
        /// Its answer, boiled down.
        seen: Seen,
        /// What changed, when the object was known before.
        changes: Vec<FieldChange>,
        /// Whose fields became ours by it.
        taken: Vec<Taken>,
    },
    /// The server took the deletion; the object may still be terminating.
    Deleting,
    /// There was nothing to delete.
    Absent,
    /// The object carries no mark of ours, or is another one of the same name: it stays.
    NotOurs {
        /// What was found.
        why: String,
    },
    /// We no longer count it as ours.
    Released,
    /// It failed.
    Failed(Fault),
}

/// One object by the rules of now: what is live, and what an apply of the same manifest would answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The digest of the manifest.
    pub digest: Digest,
    /// What is live.
    pub seen: Seen,
    /// The fingerprint of what the dry run answered.
    pub answered: Option<Digest>,
}

/// Everything that can wake an app.
#[derive(Clone, Debug)]
pub enum Event {
    /// The Application, read and checked; also after the configuration changed.
    Specified(Arc<App>),
    /// The Application says something impossible; it is held until it is changed.
    Misspecified(Vec<Fault>),
    /// Its project may allow something else now.
    Permitted,
    /// What stands in the record, and in the Application's status about earlier syncs.
    Recalled(Box<Recalled>, Vec<HistoryView>),
    /// Look again.
    Poke(Look),
    /// Git answered.
    Resolved {
        /// Of which turn of the source half this is news.
        turn: u64,
        /// The commit that the target names, or why it is not known.
        result: Result<Revision, Fault>,
        /// The same of each base that was asked for.
        bases: BTreeMap<Base, Result<Revision, Fault>>,
    },
    /// A commit was fetched and rendered, or not.
    Rendered {
        /// See `Resolved`.
        turn: u64,
        /// Which.
        revision: Revision,
        /// The other repositories that it names, each with the commit that was taken. One without a commit cannot be
        /// read, and that is then the fault.
        bases: BTreeMap<Base, Option<Revision>>,
        /// What it wants, or why it is not known.
        result: Result<Slot, Fault>,
    },
    /// A live object of ours was seen. The object itself comes along for the drift ledger; none when it was seen
    /// before its Application was, and nobody knew that it would be asked for.
    Saw(ObjectId, Seen, Option<Arc<Manifest>>),
    /// A live object was seen to be gone, or to carry our mark no longer.
    Gone {
        /// Which.
        id: ObjectId,
        /// Which one of that name; none when it was missing from a complete list.
        uid: Option<Uid>,
        /// The version at which that was so.
        resource_version: u64,
    },
    /// The record was written, or not.
    Claimed {
        /// Of which turn of the cluster half this is news.
        turn: u64,
        /// Its new version, or why not; none where the claim was made beside the record.
        result: Result<Option<String>, Fault>,
    },
    /// One step of the front is done.
    Applied {
        /// See `Claimed`.
        turn: u64,
        /// Which object.
        id: ObjectId,
        /// What became of it.
        outcome: Outcome,
    },
    /// Every step of the front is done.
    FrontDone {
        /// See `Claimed`.
        turn: u64,
    },
    /// What dry runs said of the shown plan's steps.
    Probed {
        /// The digest of that plan.
        plan: Digest,
        /// By object: what would change, and whose fields would become ours.
        foreseen: BTreeMap<ObjectId, Foreseen>,
    },
    /// What was deployed once is here again, or cannot be had.
    Recovered {
        /// Of which turn of the source half this is news.
        turn: u64,
        /// What it was.
        result: Result<Slot, Fault>,
    },
    /// What was deployed is stored, or not.
    Stored {
        /// Its digest.
        bundle: Digest,
        /// Why not.
        result: Result<(), Fault>,
    },
    /// The finalizers of deletion hooks stand on the Application as was asked for, or do not.
    Guarded(Result<(), Fault>),
    /// The objects that carry our mark, after the record was lost.
    Found(BTreeMap<ObjectId, Entry>),
    /// How objects compare by the rules of now; none where the server would not say.
    Measured(BTreeMap<ObjectId, Option<Measured>>),
    /// It is time.
    Tick,
}

/// Everything that an app can ask of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask git which commit the target names.
    Resolve {
        /// Answer with this turn.
        turn: u64,
        /// Other repositories of which the same is asked.
        bases: BTreeSet<Base>,
    },
    /// Fetch and render this commit.
    Render {
        /// Answer with this turn.
        turn: u64,
        /// Which.
        revision: Revision,
        /// Commits of other repositories to take, should it name these.
        bases: Bases,
    },
    /// Bring what was deployed once: as it was stored, or rendered again and compared.
    Recover {
        /// Answer with this turn.
        turn: u64,
        /// The commit.
        revision: Revision,
        /// The commits of other repositories that it was made of.
        bases: Bases,
        /// What it was; none takes whatever the commit renders to.
        bundle: Option<Digest>,
    },
    /// Store what is deployed, and forget what is not among `keep`.
    Store {
        /// What.
        slot: Box<Slot>,
        /// Does something wait for it?
        hurry: bool,
        /// The digests of the deployments that one can still go back to; none where no other can be stored yet.
        keep: Option<BTreeSet<Digest>>,
    },
    /// Put these finalizers of Argo CD's on the Application: hooks are to run when it goes.
    Guard(Vec<String>),
    /// Look through all kinds for objects that carry our mark.
    Find,
    /// See to it that these kinds are watched.
    Observe(BTreeSet<Gvk>),
    /// Ask the API server again what it serves.
    Discover,
    /// Write the record.
    Claim {
        /// Answer with this turn.
        turn: u64,
        /// What is to stand in it.
        draft: Box<RecordDraft>,
    },
    /// Carry out these steps.
    Apply {
        /// Answer with this turn.
        turn: u64,
        /// The front.
        steps: Vec<Step>,
    },
    /// Ask by dry run what these steps would change, for people to read.
    Probe {
        /// Answer with this digest.
        plan: Digest,
        /// The steps.
        steps: Vec<Step>,
    },
    /// Ask what is live of these objects, and by dry run what an apply would answer.
    Measure(Vec<Arc<Wanted>>),
    /// Wake this app when it is its turn to sync.
    Queue,
    /// Wake this app at that moment.
    WakeAt(Timestamp),
    /// Everything is gone that had to go: take the finalizer off, and let the record go, too, unless it has to tell of
    /// what stays.
    Farewell(Option<Box<RecordDraft>>),
    /// Forget the top-level `operation` and the refresh annotation: they have been heard.
    Heard,
}

/// What the machine may look at besides its own state.
pub struct World<'a> {
    /// The time.
    pub now: Timestamp,
    /// Do we hold the lease?
    pub leading: bool,
    /// How far a kind can be seen; none when nobody has asked for it yet.
    pub kinds: &'a dyn Fn(&GroupKind) -> Option<KindView>,
    /// The namespaces that exist and are not terminating; none before they have been seen.
    pub namespaces: Option<&'a BTreeSet<String>>,
    /// Which other app had this object first.
    pub owner: &'a dyn Fn(&ObjectId) -> Option<(AppKey, String)>,
    /// Is another app of the same repository still finding out what its commit wants?
    pub others_looking: &'a dyn Fn() -> bool,
    /// May this app begin a sync by itself now? Few at a time are each over soon, and a newer commit finds those that
    /// still wait ready for it.
    pub may_begin: &'a dyn Fn() -> bool,
    /// Which other app has this object in git.
    pub wanted_by: &'a dyn Fn(&AppKey, &ObjectId) -> Option<String>,
}
