//! Hooks: what runs before, with and after the objects of a sync, once in it; and how far the ones of a run are.
//!
//! A hook is made, runs to its end, is let go (its finalizer comes off) and, by its policy, deleted. Each of these is
//! a step of a plan. What became of it is in the [`Run`], which the record keeps: a hook that was made is never made a
//! second time in the same run, and what vanishes before its end was written down has failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::app::Revision;
use lockstep_manifest::marks::{self, HookDelete, HookPhase};
use lockstep_manifest::{Health, Manifest, ObjectId, Uid};
use serde_json::Value;

use crate::desired::Wanted;
use crate::seen::Seen;

/// One hook in one of its phases.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// The object as git has it; its name may be only the beginning of one ([`Hook::id`]).
    pub wanted: Arc<Wanted>,
    /// When it runs.
    pub phase: HookPhase,
    /// When it is deleted.
    pub delete: HookDelete,
    /// Git gives only `generateName`.
    pub generated: bool,
}

/// Which hook of a run.
pub type HookKey = (HookPhase, ObjectId);

/// How far a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is about to be made, and may be there already.
    Claimed,
    /// It was made, and has not ended.
    Running,
    /// It has done what it had to.
    Succeeded,
    /// It has not, or nobody knows.
    Failed(String),
}

impl HookState {
    /// Has it ended?
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed(_))
    }
}

/// What is known of one hook of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// Its uid, once a server has told.
    pub uid: Option<Uid>,
    /// How far it is.
    pub state: HookState,
    /// It is not made before: one of an earlier run is on its way out.
    pub not_before: Option<Timestamp>,
}

impl HookRun {
    /// One that is about to be made.
    pub fn claimed() -> Self {
        Self {
            uid: None,
            state: HookState::Claimed,
            not_before: None,
        }
    }
}

/// Some objects of an app, as a sync names them. Empty texts and `*` match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Selector {
    /// Does it mean this object? As in Argo CD the group of the core is empty, and a namespace may be left out.
    pub fn selects(&self, id: &ObjectId) -> bool {
        let says = |wanted: &str, is: &str| wanted == "*" || wanted == is;
        says(&self.group, &id.group)
            && says(&self.kind, &id.kind)
            && says(&self.name, &id.name)
            && (self.namespace.is_empty() || says(&self.namespace, &id.namespace))
    }
}

/// How a run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// Step by step.
    #[default]
    Forward,
    /// It took too long: what is left are the hooks for a failed sync.
    Failing,
    /// It has ended, well or not; what is left is to tidy up after its hooks.
    Over {
        /// Did it end well?
        well: bool,
        /// Did somebody end it? Then the hooks that ran are deleted.
        terminated: bool,
    },
}

/// A sync that is under way, as far as plans depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The operation's id.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Its hooks.
    pub hooks: BTreeMap<HookKey, HookRun>,
    /// Only these objects; empty is all of them.
    pub only: Vec<Selector>,
    /// Without hooks: a sync of some objects, or one that was asked for without.
    pub skip_hooks: bool,
    /// What cannot be changed is deleted and made again.
    pub force: bool,
    /// How it goes on.
    pub course: Course,
}

impl Run {
    /// One that has just begun.
    pub fn new(id: String, started_at: Timestamp) -> Self {
        Self {
            id,
            started_at,
            hooks: BTreeMap::new(),
            only: Vec::new(),
            skip_hooks: false,
            force: false,
            course: Course::Forward,
        }
    }

    /// Does it concern this object?
    pub fn selects(&self, id: &ObjectId) -> bool {
        self.only.is_empty() || self.only.iter().any(|selector| selector.selects(id))
    }

    /// What a hook of this run carries as [`marks::RUNS_IN`].
    pub fn runs_in(&self, phase: HookPhase) -> String {
        format!("{}/{}", self.id, phase.text())
    }

    /// Is that what the object carries?
    pub fn is_of(&self, phase: HookPhase, seen: &Seen) -> bool {
        let carries = seen.hook.as_ref().map(|hook| hook.runs_in.as_str());
        carries == Some(&self.runs_in(phase))
    }
}

impl Hook {
    /// Its full name in a run. Without a run, for people, the name may be only a beginning.
    ///
    /// Source: Argo CD's names for `generateName`: revision, phase and the second in which the operation began.
    pub fn id(&self, run: Option<&Run>, revision: &Revision) -> ObjectId {
        let mut id = self.wanted.id.clone();
        if let (true, Some(run)) = (self.generated, run) {
            id.name = format!(
                "{}{}-{}-{}",
                id.name,
                revision.short(),
                self.phase.text().to_lowercase(),
                run.started_at.as_second()
            );
        }
        id
    }

    /// What is applied: with its full name, with the run that it belongs to, and kept from vanishing until it is known
    /// what became of it.
    pub fn body(&self, runs_in: &str, id: &ObjectId) -> Manifest {
        let mut body = self.wanted.manifest.as_ref().clone();
        body.set_annotation(marks::RUNS_IN, runs_in);
        if let Some(Value::Object(metadata)) = body.body_mut().get_mut("metadata") {
            metadata.insert("name".to_owned(), Value::from(id.name.as_str()));
            metadata.remove("generateName");
            let kept = metadata
                .entry("finalizers")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(kept) = kept {
                kept.push(Value::from(marks::HOOK_FINALIZER));
            }
        }
        body
    }

    /// Is it deleted after a run that ended like this, having itself been in this state?
    pub fn goes(&self, state: &HookState, course: Course) -> bool {
        let Course::Over { well, terminated } = course else {
            return false;
        };
        let was_ended = terminated && matches!(state, HookState::Failed(_));
        was_ended || (well && self.delete.succeeded) || (!well && self.delete.failed)
    }
}

/// What stands under a hook's name when it is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// The hook itself: the answer to an earlier request was lost.
    Itself,
    /// One of an earlier run: it goes first.
    Earlier,
    /// Somebody else's object.
    Foreign(String),
}

/// Tells what stands there. Argo CD's hooks of the same app count as ours: whoever comes from there has them.
pub fn leftover(live: &Manifest, runs_in: &str, set: &str, tracking_id: &str) -> Leftover {
    let is_ours = live.label(marks::PART_OF) == Some(set);
    if is_ours && live.annotation(marks::RUNS_IN) == Some(runs_in) {
        return Leftover::Itself;
    }
    let is_argos = live.label(marks::PART_OF).is_none()
        && live.annotation(marks::TRACKING_ID) == Some(tracking_id)
        && matches!(marks::hook(live), Ok(Some(_)));
    if is_ours || is_argos {
        return Leftover::Earlier;
    }
    let whose = live.label(marks::PART_OF).map_or_else(
        || "it carries no mark of this app".to_owned(),
        |set| format!("it is part of {set}"),
    );
    Leftover::Foreign(format!(
        "an object of the hook's name stands there already, and {whose}"
    ))
}

/// What a live hook says of itself: none while it runs.
pub fn verdict(seen: &Seen) -> Option<HookState> {
    let over = match &seen.health {
        Health::Healthy | Health::None => Some(HookState::Succeeded),
        Health::Degraded { why } => Some(HookState::Failed(why.clone())),
        Health::Unknown { why } => Some(HookState::Failed(format!("its health is unknown: {why}"))),
        Health::Progressing { .. } | Health::Suspended { .. } | Health::Missing => None,
    };
    over.or_else(|| {
        seen.terminating
            .then(|| HookState::Failed("it was deleted before it had ended".to_owned()))
    })
}
