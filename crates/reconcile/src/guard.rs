//! The hooks of a deletion: an Application cannot go without them, once what was deployed has any.
//!
//! What was deployed is stored first, so that a deletion needs no git; then Argo CD's finalizers are put on the
//! Application. Both are looked for again whenever nothing else is to be done: a process that ended in between leaves
//! no word of how far it was.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::lower::{POST_DELETE_FINALIZER, PRE_DELETE_FINALIZER, is_of_deletion_hooks};
use lockstep_app::{Blame, Fault};
use lockstep_manifest::Digest;
use lockstep_manifest::marks::HookPhase;

use crate::event::{Effect, Slot, World};
use crate::life::Life;

/// When what could not be stored, or put on the Application, is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// How far the finalizers of deletion hooks are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Guard {
    /// Nothing is under way, and nothing is before this moment.
    #[default]
    Idle,
    /// It failed, and is tried again then.
    After(Timestamp),
    /// It was asked for, or cannot be had for this spec.
    Asked,
}

impl Life {
    /// Stores what is deployed. What runs when it goes is needed at any moment; the rest may take its time.
    pub(crate) fn store(&mut self, slot: &Slot, bundle: Digest, effects: &mut Vec<Effect>) {
        let past = self.history.iter().filter_map(|past| past.bundle.clone());
        let guarded = slot.has_deletion_hooks();
        if guarded {
            self.guard = Guard::Asked;
        }
        let app = self.app.as_ref();
        let is_full = app.is_none_or(|app| self.history.len() >= app.history_limit);
        effects.push(Effect::Store {
            slot: Box::new(slot.clone()),
            hurry: guarded,
            keep: is_full.then(|| past.chain([bundle]).collect()),
        });
    }

    /// What is deployed is stored: now its hooks for the deletion can be relied on.
    pub(crate) fn stored(
        &mut self,
        bundle: &Digest,
        result: Result<(), Fault>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(()) if self.record.bundle.as_ref() == Some(bundle) => {
                self.guard = Guard::Idle;
                if let Some(wanted) = self.unguarded() {
                    self.ask_for(wanted, effects);
                }
            }
            Ok(()) => {}
            Err(fault) => {
                let text = format!("what was deployed could not be stored: {fault}");
                self.note(now, "cluster", text);
                self.not_guarded(&fault, now, effects);
            }
        }
    }

    /// The finalizers were put on the Application, or not.
    pub(crate) fn guarded(
        &mut self,
        result: Result<(), Fault>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(fault) = result {
            self.not_guarded(&fault, now, effects);
        }
    }

    fn not_guarded(&mut self, fault: &Fault, now: Timestamp, effects: &mut Vec<Effect>) {
        if fault.blame == Blame::Environment && self.guard == Guard::Asked {
            let at = now.checked_add(AGAIN).unwrap_or(now);
            self.guard = Guard::After(at);
            effects.push(Effect::WakeAt(at));
        }
    }

    /// Sees to it that the Application cannot go without the hooks of its deletion, and can when there are none.
    pub(crate) fn see_to_guard(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        let is_due = match self.guard {
            Guard::Idle => true,
            Guard::After(at) => at <= world.now,
            Guard::Asked => false,
        };
        if !is_due || self.run.is_some() {
            return;
        }
        let (Some(wanted), Some(slot)) = (self.unguarded(), self.enforced.clone()) else {
            return;
        };
        let bundle = slot.desired.digest();
        if self.record.bundle.as_ref() != Some(&bundle) {
            return; // it was not deployed in whole
        }
        if wanted.is_empty() {
            self.ask_for(wanted, effects);
        } else {
            self.store(&slot, bundle, effects);
        }
    }

    fn ask_for(&mut self, wanted: Vec<String>, effects: &mut Vec<Effect>) {
        self.guard = Guard::Asked;
        effects.push(Effect::Guard(wanted));
    }

    /// The finalizers that should stand on the Application; none when they do.
    fn unguarded(&self) -> Option<Vec<String>> {
        let (app, slot) = (self.app.as_ref()?, self.enforced.as_ref()?);
        let has = |phase| slot.desired.hooks.iter().any(|hook| hook.phase == phase);
        let wanted: Vec<String> = [
            (HookPhase::PreDelete, PRE_DELETE_FINALIZER),
            (HookPhase::PostDelete, POST_DELETE_FINALIZER),
        ]
        .into_iter()
        .filter(|(phase, _)| has(*phase))
        .map(|(_, finalizer)| finalizer.to_owned())
        .collect();
        let stands = app.finalizers.iter();
        let stands: BTreeSet<&String> =
            stands.filter(|known| is_of_deletion_hooks(known)).collect();
        (stands != wanted.iter().collect()).then_some(wanted)
    }
}
