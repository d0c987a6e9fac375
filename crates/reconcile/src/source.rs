//! The source half: which commit does the target name, and what does it render to?

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::{Base, Bases, Revision};
use lockstep_app::policy::NewCommitPolicy;
use lockstep_app::{Blame, Fault};

use crate::event::{Effect, Slot, World, spec_digest};
use crate::life::{BaseState, Life, Looking, Wish};

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
            let bases = self.bases.keys().chain(self.record.bases.keys());
            effects.push(Effect::Resolve {
                turn: self.source_turn,
                bases: bases.cloned().collect(),
            });
            return;
        }
        if self.base_state == BaseState::Lost || self.recover_the_rollback(effects) {
            return;
        }
        match self.unrendered(&app.source_digest, app.policy.new_commit) {
            Some(wish) => {
                self.source_turn += 1;
                effects.push(Effect::Render {
                    turn: self.source_turn,
                    revision: wish.revision.clone(),
                    bases: wish.bases.clone(),
                });
                self.looking = Looking::Rendering(wish);
            }
            None => self.bases_are_here(world.now),
        }
    }

    /// The next revision that has to be rendered: first the one that the cluster is kept at, when a newer one may
    /// have to wait, for a person or for hooks that another process has begun, or does not render; then the target's. A
    /// base that moved makes the same commit a newer one.
    fn unrendered(&self, spec: &str, policy: NewCommitPolicy) -> Option<Wish> {
        let target = self.target.as_ref()?;
        let failed = |revision: &Revision| {
            self.render_fault
                .as_ref()
                .is_some_and(|(failed, _)| failed == revision)
        };
        let waits = policy != NewCommitPolicy::Apply || self.has_hooks();
        if self.enforced.is_none() && (waits || failed(target)) {
            let bases = &self.record.bases;
            let moved = !self.record.bases_are_gone
                && self.now_at(bases) != *bases
                && self.record.spec == spec_digest(spec, bases);
            let is_other = |last: &Revision| if last == target { moved } else { !failed(last) };
            let last = self.record.revision.as_ref();
            if let Some(last) = last.filter(|last| is_other(last)) {
                return Some(Wish {
                    revision: last.clone(),
                    bases: bases.clone(),
                    kept: true,
                });
            }
        }
        let has = |slot: &Option<Slot>| {
            slot.as_ref().is_some_and(|s| {
                s.commit.revision == *target && s.spec == spec_digest(spec, &self.now_at(&s.bases))
            })
        };
        let done = has(&self.enforced) && self.next.is_none() || has(&self.next) || failed(target);
        let known = |(base, at): (&Base, &Option<Revision>)| Some((base.clone(), at.clone()?));
        (!done).then(|| Wish {
            revision: target.clone(),
            bases: self.bases.iter().filter_map(known).collect(),
            kept: false,
        })
    }

    /// The same bases at the commits that they are at now, as far as known.
    fn now_at(&self, bases: &Bases) -> Bases {
        let now = |(base, then): (&Base, &Revision)| {
            let now = self.bases.get(base).cloned().flatten();
            (base.clone(), now.unwrap_or_else(|| then.clone()))
        };
        bases.iter().map(now).collect()
    }

    pub(crate) fn resolved(
        &mut self,
        result: Result<Revision, Fault>,
        bases: BTreeMap<Base, Result<Revision, Fault>>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.looking = Looking::Idle;
        match result {
            Ok(revision) => {
                match self.base_state {
                    BaseState::Here => {
                        if self.source_fault.take().is_some() {
                            self.note(now, "git", "the repository can be read again".to_owned());
                        }
                        self.source_failures = 0;
                    }
                    BaseState::Lost | BaseState::Asked => self.base_state = BaseState::Asked,
                }
                if self.target.as_ref() == Some(&revision) {
                    self.bases_resolved(bases, now, effects);
                } else {
                    // Which of them the new commit still names, only its rendering tells.
                    let found =
                        |(base, at): (Base, Result<Revision, Fault>)| Some((base, Some(at.ok()?)));
                    self.bases = bases.into_iter().filter_map(found).collect();
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

    /// What became of the bases of a commit that is still the target.
    fn bases_resolved(
        &mut self,
        bases: BTreeMap<Base, Result<Revision, Fault>>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let mut lost = None;
        for (base, result) in bases {
            let Some(known) = self.bases.get_mut(&base) else {
                // Only the record names it: it says where that one is now.
                if let Ok(at) = result {
                    self.bases.insert(base, Some(at));
                }
                continue;
            };
            match result {
                Ok(at) => {
                    let before = known.replace(at.clone());
                    if before.as_ref() != Some(&at) {
                        self.render_fault = None;
                        self.note(now, "git", format!("{base} is now at {}", at.short()));
                    }
                }
                Err(fault) => {
                    *known = None;
                    lost.get_or_insert(fault);
                }
            }
        }
        if let Some(fault) = lost {
            self.base_lost(fault, now, effects);
        }
    }

    /// Freezes the app as a remote that cannot be read does.
    fn base_lost(&mut self, fault: Fault, now: Timestamp, effects: &mut Vec<Effect>) {
        self.note(now, "git", format!("frozen: {fault}"));
        self.retry_source(&fault, now, effects);
        self.source_fault = Some(fault);
        self.base_state = BaseState::Lost;
    }

    /// Everything that the target needs could be read.
    fn bases_are_here(&mut self, now: Timestamp) {
        if self.base_state != BaseState::Here {
            self.base_state = BaseState::Here;
            self.source_failures = 0;
            self.source_fault = None;
            self.note(now, "git", "the remote bases can be read again".to_owned());
        }
    }

    pub(crate) fn rendered(
        &mut self,
        revision: &Revision,
        bases: BTreeMap<Base, Option<Revision>>,
        result: Result<Slot, Fault>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let kept = matches!(&self.looking, Looking::Rendering(wish) if wish.kept);
        self.looking = Looking::Idle;
        let lost = bases.values().any(Option::is_none);
        if !kept {
            self.bases = bases;
        }
        let result = match result {
            // What cannot be had again, of a commit that is no longer wanted, keeps nobody from the next one.
            Err(fault) if lost && (!kept || fault.blame == Blame::Environment) => {
                self.base_lost(fault, now, effects);
                return;
            }
            Err(_) if kept && self.target.as_ref() == Some(revision) => {
                self.record.bases_are_gone = true;
                return;
            }
            result => result,
        };
        if !kept {
            self.bases_are_here(now);
        }
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
