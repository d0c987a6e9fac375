//! What a plan is made of: steps with reasons, waits, and the reasons for doing nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::Fault;
use lockstep_app::app::Revision;
use lockstep_manifest::fields::takeover::Taken;
use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Digest, Gvk, ObjectId, Uid};

use crate::changes::FieldChange;
use crate::desired::Wanted;
use crate::hook::Hook;
use crate::seen::Going;

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
    /// A hook is made, once the one of an earlier run is gone.
    Run {
        /// Which.
        hook: Arc<Hook>,
        /// What it is to carry as [`marks::RUNS_IN`](lockstep_manifest::marks::RUNS_IN); empty where nothing runs.
        runs_in: String,
    },
    /// A hook that has ended is let go: our finalizer comes off.
    LetGo {
        /// Where to address the request.
        gvk: Gvk,
        /// The one we made.
        uid: Uid,
    },
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
    /// It is a hook of this phase.
    Hook(HookPhase),
    /// It is a hook that has ended.
    HookOver,
    /// It is the same object as another one in git, under the name of another group.
    Moved {
        /// What git calls it.
        to: ObjectId,
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
    /// The phase it belongs to; ordinary objects to `Sync`.
    pub phase: HookPhase,
    /// Its wave.
    pub wave: i32,
    /// What would change, where a dry run or a comparison has said so; empty is "not looked at".
    pub changes: Vec<FieldChange>,
    /// Whose fields would become ours, where somebody has looked.
    pub taken: Vec<Taken>,
}

/// What a step would do, by the server's own word where it gave it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foreseen {
    /// The fields that change.
    pub changes: Vec<FieldChange>,
    /// The fields that become ours, by whose they are.
    pub taken: Vec<Taken>,
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
    /// That hook is to have done its work first.
    Hook(ObjectId),
    /// It was made, and has not ended.
    Runs,
    /// By itself no further sync of this commit is begun.
    Barred(Barred),
    /// The sync that runs is of other objects.
    NotSelected,
}

impl Waiting {
    /// Does a sync go on by itself when what it waits for comes about?
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Applied(_)
            | Self::Healthy(_)
            | Self::Gone(_)
            | Self::Served(_)
            | Self::Retry(_)
            | Self::Others
            | Self::Hook(_)
            | Self::Runs => true,
            Self::Approval(_) | Self::HealAt(_) | Self::Barred(_) | Self::NotSelected => false,
        }
    }

    /// The object that it waits for.
    pub fn on(&self) -> Option<&ObjectId> {
        match self {
            Self::Applied(id) | Self::Healthy(id) | Self::Gone(id) | Self::Hook(id) => Some(id),
            _ => None,
        }
    }
}

/// Why no further sync of a commit is begun by itself: another commit, or a person's sync, begins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// One has failed.
    Failed,
    /// A person wanted some of its objects, and where every commit waits for a person, these are all that may.
    Partly,
}

/// Why a person is asked before a deletion. Greater is the one to be told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The policy says so.
    Policy,
    /// `Prune=confirm` or `Delete=confirm` stands on it, or on the app.
    Confirm,
    /// The record of what the app may have touched was lost: its mark is the only witness.
    Unsure,
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
    /// It is a hook that never runs here: `Skip`, or one that belongs to another moment.
    HookSkipped,
    /// It is a hook that has done its work in the sync that runs.
    HookRan,
    /// It is a hook that failed in the sync that runs.
    HookFailed(String),
    /// It is a hook that has ended, and its policy keeps it.
    HookKept,
    /// Its kind is not served by this API server, and nothing in the app brings it.
    NotServed(Gvk),
    /// The last try failed, and it is the user's move.
    Failed(Fault),
    /// The project does not allow it.
    Refused(Fault),
    /// It is on its way out.
    Terminating(Going),
}

impl Unstepped {
    /// Did it fail for good, so that what waits for it waits in vain?
    pub fn is_stuck(&self) -> bool {
        matches!(
            self,
            Self::Failed(_) | Self::Refused(_) | Self::NotServed(_) | Self::HookFailed(_)
        )
    }

    /// Is the object a hook, of which the app's state says nothing?
    pub fn is_of_hook(&self) -> bool {
        matches!(
            self,
            Self::HookSkipped | Self::HookRan | Self::HookFailed(_) | Self::HookKept
        )
    }
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

    /// What cannot go on until a person moves: what failed, and whatever waits for it, however far.
    pub fn blocked(&self) -> BTreeSet<ObjectId> {
        let mut blocked: BTreeSet<ObjectId> = self
            .unstepped
            .iter()
            .filter(|(_, why)| why.is_stuck())
            .map(|(id, _)| id.clone())
            .collect();
        loop {
            let more: Vec<ObjectId> = self
                .waiting
                .iter()
                .filter(|(step, on)| {
                    !blocked.contains(&step.id) && on.on().is_some_and(|on| blocked.contains(on))
                })
                .map(|(step, _)| step.id.clone())
                .collect();
            if more.is_empty() {
                return blocked;
            }
            blocked.extend(more);
        }
    }

    /// Does something wait that comes about by itself?
    pub fn goes_on(&self) -> bool {
        let blocked = self.blocked();
        self.waiting
            .iter()
            .any(|(step, on)| on.goes_on() && !blocked.contains(&step.id))
    }

    /// How many objects would be created, changed and deleted.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for step in self.steps() {
            match (&step.action, &step.reason) {
                (Action::Prune { .. }, _) => counts.2 += 1,
                (Action::Release | Action::Run { .. } | Action::LetGo { .. }, _) => {}
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
            .filter_map(|step| match &step.action {
                Action::Apply(wanted) => Some(format!("apply {} {}", step.id, wanted.digest)),
                Action::Prune { uid, .. } => Some(format!("prune {} {uid}", step.id)),
                Action::Release => Some(format!("release {}", step.id)),
                Action::Run { hook, .. } => {
                    let wanted = &hook.wanted;
                    let phase = hook.phase.text();
                    Some(format!("run {phase} {} {}", wanted.id, wanted.digest))
                }
                Action::LetGo { .. } => None,
            })
            .collect();
        lines.sort();
        if let Some(revision) = &self.revision {
            lines.push(revision.to_string());
        }
        Digest::of(lines.join("\n").as_bytes())
    }
}
