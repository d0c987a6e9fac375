//! What our own writes were answered with: the record, the steps of a front.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::{App, Blame, Fault};
use lockstep_manifest::ObjectId;
use lockstep_plan::{Action, Failure, NOT_OURS, Plan, Reason, Seen, Step};

use crate::cluster::{LOST, NOTE, entry_of, forget_instance, recreated};
use crate::event::{Effect, Outcome, World};
use crate::life::{Heals, Life, Phase};
use crate::view::ResultView;

impl Life {
    pub(crate) fn claimed(
        &mut self,
        turn: u64,
        result: Result<String, Fault>,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let is_note = turn == NOTE;
        if !is_note && turn != self.turn {
            return;
        }
        if is_note {
            self.record.noting = false;
        }
        match result {
            Ok(version) => {
                self.record.resource_version = Some(version);
                self.record.claimed = true;
                self.record.retry_at = None;
                if let (false, Phase::Claiming(plan)) = (is_note, self.phase.clone()) {
                    if let Some(revision) = &plan.revision {
                        self.record.revision = Some(revision.clone());
                    }
                    let slot = self.enforced.as_ref();
                    if let Some(slot) =
                        slot.filter(|s| Some(&s.commit.revision) == plan.revision.as_ref())
                    {
                        self.record.spec.clone_from(&slot.spec);
                        self.record.bases.clone_from(&slot.bases);
                    }
                    // Whether or not the front is carried out: the record says so now.
                    for id in recreated(&plan) {
                        if let Some(entry) = self.inventory.entries.get_mut(id) {
                            forget_instance(entry);
                        }
                    }
                    if self.may_write(world) && !self.lost_one_of(&plan) {
                        effects.push(Effect::Apply {
                            turn: self.turn,
                            steps: plan.front.clone(),
                        });
                        self.phase = Phase::Applying(plan);
                    } else {
                        self.phase = Phase::Starting; // something came in between that forbids it
                    }
                }
            }
            Err(fault) => {
                self.record.dirty = true;
                self.record
                    .unsaid
                    .extend(self.inventory.entries.keys().cloned());
                if fault.code == LOST {
                    self.record.known = false; // somebody else wrote it: read it before anything else
                }
                let at = world
                    .now
                    .checked_add(Duration::from_secs(2))
                    .unwrap_or(world.now);
                self.record.retry_at = Some(at);
                effects.push(Effect::WakeAt(at));
                self.note(
                    world.now,
                    "cluster",
                    format!("the record could not be written: {fault}"),
                );
                if !is_note {
                    self.phase = Phase::Starting;
                }
            }
        }
    }

    /// Did an object go away that is to be changed and stands in the record with its uid? To make it again is another
    /// plan, with another record: after a crash nobody would know the new one as ours.
    fn lost_one_of(&self, plan: &Plan) -> bool {
        plan.front.iter().any(|step| {
            matches!(step.reason, Reason::Update | Reason::Heal)
                && !self.observed.objects.contains_key(&step.id)
                && self
                    .inventory
                    .entries
                    .get(&step.id)
                    .is_some_and(|entry| entry.uid.is_some())
        })
    }

    /// Does nothing stand against all writes: a lost lease, a frozen source, an impossible spec, a pause?
    pub(crate) fn may_write(&self, world: &World<'_>) -> bool {
        let is_free = |app: &Arc<App>| app.leaving || (!app.skip && self.source_fault.is_none());
        world.leading && self.spec_faults.is_empty() && self.app.as_ref().is_some_and(is_free)
    }

    pub(crate) fn applied(&mut self, id: &ObjectId, outcome: Outcome, now: Timestamp) {
        let Phase::Applying(plan) = self.phase.clone() else {
            return;
        };
        let Some(step) = plan.front.iter().find(|step| step.id == *id) else {
            return;
        };
        let (status, message) = match outcome {
            Outcome::Applied { seen, changes } => {
                self.failures.remove(id);
                let is_heal = matches!(step.reason, Reason::Heal | Reason::Recreate);
                if is_heal {
                    self.say_healed(step, &changes, now);
                }
                self.took(step, seen, now);
                let message = match step.reason {
                    Reason::Heal | Reason::Recreate => "put back",
                    Reason::Create | Reason::Namespace => "created",
                    _ => "configured",
                };
                ("Synced", message.to_owned())
            }
            Outcome::Deleting => {
                self.failures.remove(id);
                self.deleting.insert(id.clone());
                if let Some(seen) = self.observed.objects.get_mut(id) {
                    seen.terminating = true; // the watch will say so; until then it is not asked for again
                }
                ("Pruned", "pruned".to_owned())
            }
            Outcome::Absent => {
                self.deleting.insert(id.clone());
                self.observed.objects.remove(id);
                self.confirm_deleted(id, now);
                ("Pruned", "was gone already".to_owned())
            }
            Outcome::Released => {
                self.inventory.entries.remove(id);
                self.inventory_changes.push((id.clone(), false));
                self.record.dirty = true;
                ("Synced", "left to another app".to_owned())
            }
            Outcome::NotOurs { why } => {
                let fault = Fault::new(Blame::User, NOT_OURS, why.clone());
                let failure = Failure {
                    digest: None,
                    fault,
                    retry_at: None,
                    times: 1,
                };
                self.failures.insert(id.clone(), failure);
                self.deleting.remove(id);
                self.note(now, "lockstep", format!("{id} is kept: {why}"));
                ("PruneSkipped", why)
            }
            Outcome::Failed(fault) => {
                let message = fault.message.clone();
                self.failed(step, fault, now);
                self.clock_drift(id, None, now);
                ("SyncFailed", message)
            }
        };
        if let Some(run) = &mut self.run {
            run.written += usize::from(status == "Synced" || status == "Pruned");
            run.operation.results.retain(|result| result.id != *id);
            let version = match &step.action {
                Action::Apply(wanted) => wanted.gvk.version.clone(),
                Action::Prune { gvk, .. } => gvk.version.clone(),
                Action::Release => String::new(),
            };
            run.operation.results.push(ResultView {
                id: id.clone(),
                version,
                status,
                message,
            });
        }
    }

    /// The server took our apply: what it answered is from now on how this object has to look.
    pub(crate) fn took(&mut self, step: &Step, seen: Seen, now: Timestamp) {
        let Action::Apply(wanted) = &step.action else {
            return;
        };
        self.touched.insert(step.id.clone());
        self.deleting.remove(&step.id);
        if step.reason == Reason::Namespace {
            self.namespace_made = true;
        } else {
            let entry = entry_of(wanted, Some(&seen));
            if self.inventory.entries.get(&step.id) != Some(&entry) {
                self.inventory.entries.insert(step.id.clone(), entry);
                self.record.dirty = true;
            }
            let known = self.observed.objects.get(&step.id);
            let is_newest =
                known.is_none_or(|known| known.resource_version <= seen.resource_version);
            if is_newest && !self.gone_meanwhile.contains(&seen.uid) {
                self.observed.objects.insert(step.id.clone(), seen);
            }
        }
        // Not by the drift's own clock: the watch may have said that all is well before the answer came.
        if let Some(since) = self.healing.remove(&step.id) {
            let heals = self.heals.entry(step.id.clone()).or_insert(Heals {
                times: 0,
                last: now,
            });
            heals.times += 1;
            heals.last = now;
            self.healed.push((step.id.clone(), since));
        }
        let live = self.drift_live.get(&step.id).cloned();
        self.forget_drift(&step.id);
        // An edit that came in while our apply was on its way counts from now on.
        self.clock_drift(&step.id, live, now);
    }

    pub(crate) fn failed(&mut self, step: &Step, fault: Fault, now: Timestamp) {
        let digest = match &step.action {
            Action::Apply(wanted) => Some(wanted.digest.clone()),
            Action::Prune { .. } | Action::Release => None,
        };
        let before = self
            .failures
            .get(&step.id)
            .filter(|failure| failure.digest == digest);
        let times = before.map_or(0, |failure| failure.times) + 1;
        let retry = self.app.as_ref().map(|app| app.retry).unwrap_or_default();
        // A deletion has no other manifest to wait for: whatever refuses it is asked again.
        let is_deletion = matches!(step.action, Action::Prune { .. });
        let retry_at = (fault.blame == Blame::Environment || is_deletion).then(|| {
            let factor = retry.factor.max(1).saturating_pow((times - 1).min(16));
            let wait = retry
                .first
                .saturating_mul(factor)
                .min(retry.longest.max(retry.first));
            now.checked_add(wait).unwrap_or(Timestamp::MAX)
        });
        self.note(now, "cluster", format!("{}: {fault}", step.id));
        self.namespace_made = false;
        self.failures.insert(
            step.id.clone(),
            Failure {
                digest,
                fault,
                retry_at,
                times,
            },
        );
    }
}
