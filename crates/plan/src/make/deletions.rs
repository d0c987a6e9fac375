//! What goes: what left git, or everything when the app leaves. Every deletion has its witnesses, or waits, or stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::app::OnDelete;
use lockstep_app::policy::{DecidedBy, DeletionPolicy};
use lockstep_manifest::marks::{Deletable, HookPhase};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Gvk, ObjectId, Uid};

use super::{Making, Mode, NOT_OURS, going};
use crate::desired::Wanted;
use crate::order::namespace_id;
use crate::seen::{Entry, KindView};
use crate::step::{Action, Asked, Reason, Step, Unstepped, Waiting};

/// The last phase there is.
const AFTER_ALL: HookPhase = HookPhase::SyncFail;

impl Making<'_> {
    /// Everything of the inventory that is not wanted: one place in the plan for each.
    pub(super) fn deletions(&mut self) {
        let hooks = self.hook_ids();
        let wanted: BTreeSet<&ObjectId> = self
            .objects
            .iter()
            .map(|wanted| &wanted.id)
            .chain(self.desired.iter().flat_map(|desired| &desired.skipped))
            .collect();
        for (id, entry) in &self.inventory.entries {
            if self.mode == Mode::Leave {
                self.prune(id, entry, hooks.contains(id));
            } else if entry.is_hook || hooks.contains(id) {
                // Its own policy says when it goes; a plan with a sync says more of it.
                self.unstepped.insert(id.clone(), Unstepped::HookKept);
            } else if !wanted.contains(id) {
                self.prune(id, entry, false);
            }
        }
        if self.mode != Mode::Leave {
            self.keep_to_budget();
        }
        self.invert_waves();
    }

    /// The names of all hooks, as far as they are known without a run.
    fn hook_ids(&self) -> BTreeSet<ObjectId> {
        let of_run = self.facts.run.iter().flat_map(|run| run.hooks.keys());
        let of_run = of_run.map(|(_, id)| id.clone());
        let of_git = self.desired.iter().flat_map(|desired| &desired.hooks);
        of_run
            .chain(of_git.map(|hook| hook.wanted.id.clone()))
            .collect()
    }

    /// What git calls the object of this uid: an object may be served by two groups, as events are, and to delete it
    /// under one name deletes it under the other.
    fn same_object(&self, uid: &Uid) -> Option<ObjectId> {
        let is_it = |wanted: &&Arc<Wanted>| {
            let seen = self.observed.objects.get(&wanted.id);
            seen.is_some_and(|seen| seen.uid == *uid)
        };
        self.objects
            .iter()
            .find(is_it)
            .map(|wanted| wanted.id.clone())
    }

    fn prune(&mut self, id: &ObjectId, entry: &Entry, is_hook: bool) {
        let leaving = self.mode == Mode::Leave;
        let reason = if leaving {
            Reason::Leaving
        } else {
            Reason::Gone
        };
        if !leaving && self.app.create_namespace && *id == namespace_id(&self.app.namespace) {
            // It left git and is asked for all the same; it may be in the front already.
            if self.steps.iter().all(|step| step.id != *id) {
                self.skip(id, Unstepped::PruneDisabled);
            }
            return;
        }
        if let Some(by) = self.facts.elsewhere.wanted.get(id) {
            self.release(id, entry, Reason::TakenOver { by: by.clone() });
            return;
        }
        let moved = entry.uid.as_ref().filter(|_| !leaving);
        if let Some(to) = moved.and_then(|uid| self.same_object(uid)) {
            self.release(id, entry, Reason::Moved { to });
            return;
        }
        let deletable = self.deletable(id, entry);
        let cascades = !leaving || matches!(self.app.on_delete, OnDelete::Cascade(_)) || is_hook;
        let kept = deletable == Deletable::No || !cascades;
        if kept || self.app.policy.deletion == DeletionPolicy::Keep {
            self.skip(id, Unstepped::PruneDisabled);
            return;
        }
        let view = (self.facts.kinds)(&id.group_kind());
        if let KindView::Unobserved(fault) = view {
            self.skip(id, Unstepped::Unobserved(fault));
            return;
        }
        let seen = self.observed.objects.get(id);
        let Some(uid) = entry.uid.clone() else {
            // Nothing carries our mark under that name, and no server ever confirmed it: there is nothing.
            self.skip(id, Unstepped::NeverSeen);
            return;
        };
        if view == KindView::NotServed {
            // With its definition the object went, too: there is nothing to delete, and nothing to wait for.
            self.release(id, entry, reason);
            return;
        }
        let step = self.prune_step(id, entry, uid, reason, is_hook);
        if let Some(failure) = self.facts.failures.get(id).filter(|f| f.digest.is_none()) {
            if failure.fault.code == NOT_OURS {
                self.skip(id, Unstepped::NotOurs);
                return;
            }
            match failure.retry_at {
                None => {
                    self.skip(id, Unstepped::Failed(failure.fault.clone()));
                    return;
                }
                Some(at) if at > self.facts.now => {
                    self.waiting.push((step, Waiting::Retry(at)));
                    return;
                }
                Some(_) => {}
            }
        }
        if let Some(seen) = seen.filter(|seen| seen.terminating) {
            self.skip(id, going(seen));
            return;
        }
        // Who deletes an Application that has the finalizer has decided, as in Argo CD; only an environment asks again.
        let asks = !leaving || self.app.policy.deletion_by != DecidedBy::Application;
        let by_policy = asks && self.app.policy.deletion == DeletionPolicy::Approve;
        // What is not there any more is only confirmed to be gone.
        let protected = !leaving && seen.is_some_and(|seen| seen.protected);
        let is_confirmed = self
            .app
            .deletion_approved
            .zip(self.facts.asked_since)
            .is_some_and(|(approved, since)| approved >= since);
        let asked = if by_policy {
            Some(Asked::Policy)
        } else if deletable == Deletable::Confirm && !is_confirmed {
            Some(Asked::Confirm)
        } else if entry.by_mark_alone {
            Some(Asked::Unsure)
        } else {
            protected.then_some(Asked::Protected)
        };
        if let Some(asked) = asked.filter(|_| !self.facts.approved.contains(id)) {
            self.waiting.push((step, Waiting::Approval(asked)));
        } else if !leaving && (self.facts.others_looking)() {
            self.waiting.push((step, Waiting::Others));
        } else {
            self.steps.push(step);
        }
    }

    /// May it be deleted? The object's word counts before the app's.
    fn deletable(&self, id: &ObjectId, entry: &Entry) -> Deletable {
        let options = &self.app.options;
        if self.mode != Mode::Leave {
            return entry.prune.unwrap_or(options.prune);
        }
        // Argo CD leaves CRDs standing when an app goes: their objects may be other people's.
        if id.kind == "CustomResourceDefinition" {
            return Deletable::No;
        }
        entry.delete.unwrap_or(options.delete)
    }

    /// More deletions than the budget allows are not made by themselves: none of them, since nobody knows which were
    /// meant.
    fn keep_to_budget(&mut self) {
        let (approved, observed) = (self.facts.approved, self.observed);
        let goes = |step: &Step| {
            step.reason == Reason::Gone
                && observed.objects.contains_key(&step.id)
                && matches!(step.action, Action::Prune { .. })
                && !approved.contains(&step.id)
        };
        let waiting = self.waiting.iter().map(|(step, _)| step);
        let wanted = self
            .steps
            .iter()
            .chain(waiting)
            .filter(|step| goes(step))
            .count();
        let of_app = self.inventory.entries.values();
        let of_app = of_app.filter(|entry| !entry.is_hook).count();
        let allowed = self.app.policy.prune_budget.allows(of_app);
        if wanted <= allowed {
            return;
        }
        let asked = Waiting::Approval(Asked::Budget { wanted, allowed });
        for (step, on) in &mut self.waiting {
            if goes(step) {
                *on = asked.clone();
            }
        }
        let over: Vec<Step> = self.steps.extract_if(.., |step| goes(step)).collect();
        self.waiting
            .extend(over.into_iter().map(|step| (step, asked.clone())));
    }

    /// Deletions go in the reverse order of creation, among themselves: the lowest of their waves changes places with
    /// the highest, and so on. Those that are to be last come after every wave there is.
    ///
    /// Source: Argo CD's order of prunes (`argo-cd.md` 2.1, 9 and 10).
    fn invert_waves(&mut self) {
        let is_prune = |step: &Step| matches!(step.action, Action::Prune { .. });
        let planned = self.steps.iter();
        let planned = planned.chain(self.waiting.iter().map(|(step, _)| step));
        let mut waves: BTreeMap<ObjectId, i32> = planned
            .filter(|step| is_prune(step) && step.phase != AFTER_ALL)
            .map(|step| (step.id.clone(), step.wave))
            .collect();
        for (id, entry) in &self.inventory.entries {
            let is_under_way = matches!(
                self.unstepped.get(id),
                Some(Unstepped::Terminating(_) | Unstepped::Failed(_) | Unstepped::Unobserved(_))
            );
            if is_under_way && !self.objects.iter().any(|wanted| wanted.id == *id) {
                waves.insert(id.clone(), entry.wave);
            }
        }
        let ascending: BTreeSet<i32> = waves.values().copied().collect();
        let inverted: BTreeMap<i32, i32> = ascending
            .iter()
            .copied()
            .zip(ascending.iter().rev().copied())
            .collect();
        for wave in waves.values_mut() {
            *wave = inverted.get(wave).copied().unwrap_or(*wave);
        }
        let of_objects = self.objects.iter().map(|wanted| wanted.wave);
        let highest = of_objects.chain(waves.values().copied()).max().unwrap_or(0);
        let last = highest.max(0).saturating_add(1);
        for (id, wave) in &mut waves {
            let entry = self.inventory.entries.get(id);
            if self.mode != Mode::Leave
                && (self.app.options.prune_last || entry.is_some_and(|entry| entry.prune_last))
            {
                *wave = last;
            }
        }
        self.stages = waves;
    }

    fn prune_step(
        &self,
        id: &ObjectId,
        entry: &Entry,
        uid: Uid,
        reason: Reason,
        is_hook: bool,
    ) -> Step {
        let propagation = match self.app.on_delete {
            OnDelete::Cascade(how) if self.mode == Mode::Leave => how,
            _ if self.mode == Mode::Leave => Propagation::Background,
            _ => self.app.options.propagation,
        };
        Step {
            id: id.clone(),
            action: Action::Prune {
                gvk: Gvk {
                    group: id.group.clone(),
                    version: entry.version.clone(),
                    kind: id.kind.clone(),
                },
                uid,
                propagation,
            },
            reason,
            // The hooks of a deletion go when the last of them has done its work.
            phase: if is_hook { AFTER_ALL } else { HookPhase::Sync },
            wave: entry.wave,
            changes: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn release(&mut self, id: &ObjectId, entry: &Entry, reason: Reason) {
        self.steps.push(Step {
            id: id.clone(),
            action: Action::Release,
            reason,
            phase: HookPhase::Sync,
            wave: entry.wave,
            changes: Vec::new(),
            taken: Vec::new(),
        });
    }
}
