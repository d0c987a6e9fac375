//! What a plan is made of: steps with reasons, waits, and the reasons for doing nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_app::Fault;
use lockstep_app::app::Revision;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Digest, Gvk, ObjectId, Uid};

use crate::changes::FieldChange;
use crate::desired::Wanted;

/// What is done to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Server-side apply of this.
    Apply(Arc<Wanted>),
    /// Deletion of exactly the object with this uid, once its mark has been seen on a fresh read.
    Prune {
        /// Where to address the request.
        gvk: Gvk,
        /// The one we knew.
        uid: Uid,
        /// What happens to its dependents.
        propagation: Propagation,
    },
    /// We stop counting it as ours: another app takes it over, or it went with its kind's definition.
    Release,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is in git and not known in the cluster.
    Create,
    /// Git says something else than it did at our last apply.
    Update,
    /// Somebody changed a field of ours.
    Heal,
    /// Somebody deleted it.
    Recreate,
    /// The namespace that `CreateNamespace=true` asks for.
    Namespace,
    /// It is no longer in git.
    Gone,
    /// The app is being deleted.
    Leaving,
    /// Another app has it in git.
    TakenOver {
        /// The app's name.
        by: String,
    },
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// To which object.
    pub id: ObjectId,
    /// What.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Its wave.
    pub wave: i32,
    /// What would change, where a dry run or a comparison has said so; empty is "not looked at".
    pub changes: Vec<FieldChange>,
}

/// What a step waits for: an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// That object is to be in the cluster first: kind order, or a namespace before its content.
    Applied(ObjectId),
    /// That object, of an earlier wave, is to be healthy first.
    Healthy(ObjectId),
    /// That object is to be gone first.
    Gone(ObjectId),
    /// The API server does not serve the kind yet.
    Served(Gvk),
    /// A failed step is tried again at that moment.
    Retry(jiff::Timestamp),
    /// The other apps of the repository are to be rendered first: one of them may have taken the object over.
    Others,
    /// A person has to let it through.
    Approval(Asked),
    /// Drift is put back at that moment.
    HealAt(jiff::Timestamp),
}

/// Why a person is asked before a deletion. Greater is the one to be told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The policy says so.
    Policy,
    /// What it holds cannot be made again from git, or it is marked as not to be deleted lightly.
    Protected,
    /// More objects would go than may go by themselves.
    Budget {
        /// How many would go.
        wanted: usize,
        /// How many may.
        allowed: usize,
    },
}

/// Why nothing is done to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Unstepped {
    /// It is as git wants it.
    InSync,
    /// It differs, and policy leaves it.
    Drifted,
    /// `Prune=false`, or the policy keeps it.
    PruneDisabled,
    /// It carries no mark of ours, or it is not the object that we knew: it is not ours to delete.
    NotOurs,
    /// It was never confirmed to exist, so there is nothing to delete.
    NeverSeen,
    /// Another app has it.
    OwnedByOther {
        /// The app's name.
        app: String,
    },
    /// Its kind cannot be observed now: nothing of it is deleted.
    Unobserved(Fault),
    /// It carries a hook annotation; hooks are not run by this version, so it is held.
    Hook {
        /// The annotation's text.
        text: String,
    },
    /// Its kind is not served by this API server, and nothing in the app brings it.
    NotServed(Gvk),
    /// The last try failed, and it is the user's move.
    Failed(Fault),
    /// The project does not allow it.
    Refused(Fault),
    /// It is on its way out.
    Terminating,
}

/// What would be done, what waits, what is left alone, each with its reason. A value: print it, compare it, approve it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The revision it leads to; none when the app is leaving.
    pub revision: Option<Revision>,
    /// The steps whose needs are met.
    pub front: Vec<Step>,
    /// The steps that wait, each with what for.
    pub waiting: Vec<(Step, Waiting)>,
    /// Everything else that was considered.
    pub unstepped: BTreeMap<ObjectId, Unstepped>,
}

impl Plan {
    /// All steps, ready or not.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.front
            .iter()
            .chain(self.waiting.iter().map(|(step, _)| step))
    }

    /// Is there nothing to do and nothing to wait for?
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.waiting.is_empty()
    }

    /// How many objects would be created, changed and deleted.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for step in self.steps() {
            match (&step.action, &step.reason) {
                (Action::Prune { .. }, _) => counts.2 += 1,
                (Action::Release, _) => {}
                (Action::Apply(_), Reason::Create | Reason::Recreate | Reason::Namespace) => {
                    counts.0 += 1;
                }
                (Action::Apply(_), _) => counts.1 += 1,
            }
        }
        counts
    }

    /// What a person approves: the revision and every step with what it would apply. Neither the state of the
    /// cluster nor what waits for what is in it, so that a plan stays the same plan while it is being carried out.
    pub fn digest(&self) -> Digest {
        let mut lines: Vec<String> = self
            .steps()
            .map(|step| match &step.action {
                Action::Apply(wanted) => format!("apply {} {}", step.id, wanted.digest),
                Action::Prune { uid, .. } => format!("prune {} {uid}", step.id),
                Action::Release => format!("release {}", step.id),
            })
            .collect();
        lines.sort();
        if let Some(revision) = &self.revision {
            lines.push(revision.to_string());
        }
        Digest::of(lines.join("\n").as_bytes())
    }
}
