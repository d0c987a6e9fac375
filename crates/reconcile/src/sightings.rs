//! What the watches say: live objects seen and gone, and the clock of drift that starts and stops with them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_manifest::{Manifest, ObjectId, Uid};
use lockstep_plan::{Action, DriftClock, HookState, KindView, Seen};

use crate::event::{Slot, World};
use crate::life::{Life, Phase, heal_wait};

/// An object that was left alone this long begins its back-off anew.
const QUIET: Duration = Duration::from_mins(10);

impl Life {
    pub(crate) fn saw(
        &mut self,
        id: &ObjectId,
        mut seen: Seen,
        live: Option<Arc<Manifest>>,
        now: Timestamp,
    ) -> bool {
        let old = self.observed.objects.get(id);
        if old.is_some_and(|old| seen.resource_version <= old.resource_version) {
            return false;
        }
        // Nothing that is being deleted stops being so: the watch is behind what the server answered us, and it would
        // be deleted a second time.
        if let Some(old) = old.filter(|old| old.terminating && old.uid == seen.uid)
            && !seen.terminating
        {
            seen.terminating = true;
            seen.going.clone_from(&old.going);
        }
        let matters = old.is_none_or(|old| {
            old.fingerprint != seen.fingerprint
                || old.health != seen.health
                || old.fact != seen.fact
                || old.terminating != seen.terminating
                || old.uid != seen.uid
                || old.hook != seen.hook
                || old.going != seen.going
                || old.others != seen.others
        });
        if let Some(entry) = self.inventory.entries.get_mut(id)
            && entry.uid.is_none()
        {
            entry.uid = Some(seen.uid.clone());
            self.record.dirty = true;
        }
        self.observed.objects.insert(id.clone(), seen);
        if self.enforced.is_none() && self.next.is_none() {
            self.early.insert(id.clone(), live.clone());
        }
        if matters {
            self.clock_drift(id, live, now);
        }
        matters
    }

    pub(crate) fn gone(
        &mut self,
        id: &ObjectId,
        uid: Option<&Uid>,
        resource_version: u64,
        now: Timestamp,
    ) -> bool {
        if let (Phase::Applying(_), Some(uid)) = (&self.phase, uid) {
            // The watch may say that an object is gone before the answer to our apply says that it was made.
            self.gone_meanwhile.insert(uid.clone());
        }
        self.hook_gone(id, uid, now);
        let Some(old) = self.observed.objects.get(id) else {
            return self.deleting.contains(id) && self.confirm_deleted(id, now);
        };
        let is_another = uid.is_some_and(|uid| *uid != old.uid);
        if is_another || resource_version < old.resource_version {
            return false;
        }
        self.observed.objects.remove(id);
        if !self.confirm_deleted(id, now) {
            self.clock_drift(id, None, now);
        }
        true
    }

    /// A hook is gone: one of an earlier run makes room, and one that has ended is no longer ours to look after.
    fn hook_gone(&mut self, id: &ObjectId, uid: Option<&Uid>, now: Timestamp) {
        let Some(entry) = self.inventory.entries.get(id).filter(|entry| entry.is_hook) else {
            return;
        };
        let (mut is_due, mut runs) = (false, false);
        let hooks = self.run.iter_mut().flat_map(|run| &mut run.at.hooks);
        for (_, hook) in hooks.filter(|((_, other), _)| other == id) {
            match hook.state {
                HookState::Claimed => {
                    hook.not_before = None;
                    is_due = true;
                }
                HookState::Running => runs = true,
                HookState::Succeeded | HookState::Failed(_) => {}
            }
        }
        let is_it = uid.is_none() || entry.uid.is_none() || entry.uid.as_ref() == uid;
        // The next one may be there already, unanswered, when the watch says that the one before it is gone.
        let is_being_made = matches!(&self.phase, Phase::Applying(plan) if plan.front.iter().any(
            |step| step.id == *id && matches!(step.action, Action::Run { .. })));
        if !is_due && !runs && is_it && !is_being_made {
            self.deleting.insert(id.clone());
            self.confirm_deleted(id, now);
        }
    }

    /// An entry leaves the inventory only here: the deletion we asked for has been seen to be done.
    pub(crate) fn confirm_deleted(&mut self, id: &ObjectId, now: Timestamp) -> bool {
        let confirmed = self.deleting.remove(id);
        if confirmed {
            let entry = self.inventory.entries.remove(id);
            let is_hook = entry.is_some_and(|entry| entry.is_hook);
            self.inventory_changes.push((id.clone(), false));
            self.record.dirty = true;
            self.forget_drift(id);
            if !is_hook {
                self.note(now, "lockstep", format!("{id} was deleted"));
            }
        }
        confirmed
    }

    /// Measures what was seen before the first rendering by what that says is ignored: the watch may be another app's,
    /// and quicker than git. What is not at hand any more is for the server to measure.
    pub(crate) fn measure_early(&mut self) {
        if self.enforced.is_none() && self.next.is_none() {
            return;
        }
        for (id, live) in std::mem::take(&mut self.early) {
            let ignored = self.ignored(&id);
            let known = self.observed.objects.get_mut(&id);
            let Some(known) = known.filter(|_| !ignored.is_empty()) else {
                continue;
            };
            match live.and_then(|live| Seen::of(&live, &ignored)) {
                Some(seen) if seen.resource_version == known.resource_version => {
                    known.fingerprint = seen.fingerprint;
                }
                Some(_) => {}
                None => {
                    known.fingerprint = None;
                    self.doubtful.insert(id);
                }
            }
        }
    }

    /// Starts or stops the clock of drift on one object.
    pub(crate) fn clock_drift(
        &mut self,
        id: &ObjectId,
        live: Option<Arc<Manifest>>,
        now: Timestamp,
    ) {
        let wanted = self.enforced.as_ref().and_then(|slot| slot.desired.get(id));
        let entry = self.inventory.entries.get(id);
        let (Some(wanted), Some(entry)) = (wanted, entry) else {
            return;
        };
        let was_applied = entry.digest.as_ref() == Some(&wanted.digest);
        let same = self.observed.objects.get(id).is_some_and(|seen| {
            entry.seen.is_some()
                && entry.seen == seen.fingerprint
                && entry.uid.as_ref() == Some(&seen.uid)
        });
        if !was_applied || same {
            self.forget_drift(id);
            return;
        }
        let heals = self.heals.get(id).copied();
        self.drift.entry(id.clone()).or_insert_with(|| {
            let not_before = heals.map_or(now, |heals| {
                let quiet = now.duration_since(heals.last)
                    > jiff::SignedDuration::try_from(QUIET).unwrap_or_default();
                if quiet {
                    now
                } else {
                    heals
                        .last
                        .checked_add(heal_wait(heals.times))
                        .unwrap_or(now)
                }
            });
            DriftClock {
                since: now,
                not_before,
            }
        });
        if let Some(live) = live {
            self.drift_live.insert(id.clone(), live);
        }
    }

    /// Starts the clocks of drift that nobody told us about as such: what changed while we were not there.
    pub(crate) fn notice_drift(&mut self, slot: &Slot, world: &World<'_>) {
        let left: Vec<ObjectId> = self
            .drift
            .keys()
            .filter(|id| slot.desired.get(id).is_none())
            .cloned()
            .collect();
        for id in left {
            self.forget_drift(&id); // it left git: what became of it is the plan's to say
        }
        let drifted: Vec<ObjectId> = slot
            .desired
            .objects
            .iter()
            .map(|wanted| &wanted.id)
            .filter(|id| !self.drift.contains_key(*id) && self.inventory.entries.contains_key(*id))
            .filter(|id| (world.kinds)(&id.group_kind()) == Some(KindView::Observed))
            .filter(|id| {
                let seen = self
                    .observed
                    .objects
                    .get(*id)
                    .and_then(|seen| seen.fingerprint.as_ref());
                self.inventory
                    .entries
                    .get(*id)
                    .is_some_and(|entry| entry.seen.as_ref() != seen)
            })
            .cloned()
            .collect();
        for id in drifted {
            self.clock_drift(&id, None, world.now);
        }
    }

    pub(crate) fn forget_drift(&mut self, id: &ObjectId) {
        self.drift.remove(id);
        self.drift_live.remove(id);
        self.ledger.remove(id);
    }
}
