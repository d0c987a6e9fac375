//! The source half: which commit does the target name, and what does it render to?

use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::Revision;
use lockstep_app::policy::NewCommitPolicy;
use lockstep_app::{Blame, Fault};

use crate::event::{Effect, Slot, World};
use crate::life::{Life, Looking};

impl Life {
    /// Asks git for whatever is missing, one thing at a time.
    pub(crate) fn look(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        let waits = !world.leading || !self.spec_faults.is_empty() || !self.record.known;
        let Some(app) = self.app.clone().filter(|_| !waits) else {
            return;
        };
        if app.leaving || app.skip || self.looking != Looking::Idle {
            return;
        }
        match self.source_retry_at {
            Some(at) if at <= world.now => {
                self.source_retry_at = None;
                self.look_again = true;
            }
            // An app has one alarm clock: whoever waits says so at every turn.
            Some(at) => effects.push(Effect::WakeAt(at)),
            None => {}
        }
        if self.look_again {
            self.look_again = false;
            if self
                .render_fault
                .as_ref()
                .is_some_and(|(_, f)| f.blame != Blame::User)
            {
                self.render_fault = None;
            }
            self.source_turn += 1;
            self.looking = Looking::Resolving;
            effects.push(Effect::Resolve {
                turn: self.source_turn,
            });
            return;
        }
        if let Some(revision) = self.unrendered(&app.source_digest, app.policy.new_commit) {
            self.source_turn += 1;
            self.looking = Looking::Rendering(revision.clone());
            effects.push(Effect::Render {
                turn: self.source_turn,
                revision,
            });
        }
    }

    /// The next revision that has to be rendered: first the one that the cluster is kept at, when a newer one may
    /// have to wait or does not render; then the target's.
    fn unrendered(&self, spec: &str, policy: NewCommitPolicy) -> Option<Revision> {
        let target = self.target.as_ref()?;
        let failed = |revision: &Revision| {
            self.render_fault
                .as_ref()
                .is_some_and(|(failed, _)| failed == revision)
        };
        if self.enforced.is_none() && (policy != NewCommitPolicy::Apply || failed(target)) {
            let last = self.record.revision.as_ref();
            if let Some(last) = last.filter(|last| *last != target && !failed(last)) {
                return Some(last.clone());
            }
        }
        let has = |slot: &Option<Slot>| {
            slot.as_ref()
                .is_some_and(|s| s.commit.revision == *target && s.spec == spec)
        };
        let done = has(&self.enforced) && self.next.is_none() || has(&self.next) || failed(target);
        (!done).then(|| target.clone())
    }

    pub(crate) fn resolved(
        &mut self,
        result: Result<Revision, Fault>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.looking = Looking::Idle;
        match result {
            Ok(revision) => {
                if self.source_fault.take().is_some() {
                    self.note(now, "git", "the repository can be read again".to_owned());
                }
                self.source_failures = 0;
                if self.target.as_ref() != Some(&revision) {
                    self.target = Some(revision);
                    self.target_seen_at = Some(now);
                    self.render_fault = None;
                    if self
                        .next
                        .as_ref()
                        .is_some_and(|next| Some(&next.commit.revision) != self.target.as_ref())
                    {
                        self.next = None;
                    }
                }
            }
            Err(fault) => {
                self.note(now, "git", format!("frozen: {fault}"));
                self.retry_source(&fault, now, effects);
                self.source_fault = Some(fault);
            }
        }
    }

    pub(crate) fn rendered(
        &mut self,
        revision: &Revision,
        result: Result<Slot, Fault>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.looking = Looking::Idle;
        match result {
            Ok(slot) => {
                self.source_failures = 0;
                self.render_fault = None;
                let was_enforced = self.enforced.is_none()
                    && self.record.revision.as_ref() == Some(revision)
                    && (self.record.spec == slot.spec || self.target.as_ref() != Some(revision));
                if was_enforced {
                    if self.live.is_none() {
                        self.live = Some(slot.commit.clone());
                    }
                    self.doubt(None, &slot);
                    self.enforced = Some(slot);
                } else if self.target.as_ref() == Some(revision) {
                    self.next = Some(slot);
                }
                self.measure_early();
            }
            Err(fault) => {
                self.note(
                    now,
                    "git",
                    format!("{} does not render: {fault}", revision.short()),
                );
                self.retry_source(&fault, now, effects);
                self.render_fault = Some((revision.clone(), fault));
            }
        }
    }

    /// Environment's faults are tried again: 5 s, doubling to 5 min. The user's wait for a change.
    fn retry_source(&mut self, fault: &Fault, now: Timestamp, effects: &mut Vec<Effect>) {
        if fault.blame != Blame::Environment {
            return;
        }
        let wait = Duration::from_secs((5u64 << self.source_failures.min(6)).min(300));
        self.source_failures += 1;
        let at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.source_retry_at = Some(at);
        effects.push(Effect::WakeAt(at));
    }
}
