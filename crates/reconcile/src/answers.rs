//! What our own writes were answered with: the record, the steps of a front.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::Retry;
use lockstep_app::{App, Blame, Fault};
use lockstep_manifest::ObjectId;
use lockstep_manifest::marks::HookPhase;
use lockstep_plan::{Action, Failure, Hook, HookState, NOT_OURS, Plan, Reason, Seen, Step};

use crate::cluster::{LOST, NOTE, entry_of, forget_instance};
use crate::event::{Effect, Outcome, World};
use crate::life::{Heals, Life, Phase};
use crate::run::{is_awaited, is_unanswered};
use crate::view::{LogKind, ResultView};

/// A hook of an earlier run that Argo CD made carries no mark of ours, so that no watch tells when it is gone.
const LEFTOVER_ASKED: Duration = Duration::from_secs(1);
/// By how many steps answers come out of order, as a rule.
const ANSWERS_OUT_OF_ORDER: usize = 16;

impl Life {
    pub(crate) fn claimed(
        &mut self,
        turn: u64,
        result: Result<Option<String>, Fault>,
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
                match version {
                    Some(version) => self.record.resource_version = Some(version),
                    None => self.record.dirty = true, // it stands beside the record, which is to say it, too
                }
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
                    for id in self.made_again(&plan) {
                        if let Some(entry) = self.inventory.entries.get_mut(&id) {
                            forget_instance(entry);
                            // Nor does the end of that instance end the entry, when the watch tells of it late.
                            self.deleting.remove(&id);
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
        // Answers come about in the order of the steps: the next one is looked for near the last.
        let (passed, near) = plan.front.split_at(self.answered.min(plan.front.len()));
        let mut found = near.iter().chain(passed).zip(passed.len()..);
        let Some((step, at)) = found.find(|(step, _)| step.id == *id) else {
            return;
        };
        self.answered = (at % plan.front.len()).saturating_sub(ANSWERS_OUT_OF_ORDER);
        if let Action::Run { hook, .. } = &step.action {
            self.hook_answered(step, hook, outcome, now);
            return;
        }
        // The watch may say that it is gone before the answer says that it goes; nobody would say so again.
        let outcome = match (&step.action, outcome) {
            (Action::Prune { uid, .. }, Outcome::Deleting) if self.gone_meanwhile.contains(uid) => {
                Outcome::Absent
            }
            (_, outcome) => outcome,
        };
        let (status, message) = match outcome {
            Outcome::Applied { seen, .. } if matches!(step.action, Action::LetGo { .. }) => {
                self.failures.remove(id);
                self.put_seen(id, seen);
                return;
            }
            Outcome::Applied {
                seen,
                changes,
                taken,
            } => {
                self.failures.remove(id);
                let is_heal = matches!(step.reason, Reason::Heal | Reason::Recreate);
                if is_heal {
                    self.say_healed(step, &changes, now);
                }
                if step.reason != Reason::Heal {
                    for taken in &taken {
                        self.note(now, "lockstep", format!("{id}: took over {taken}"));
                    }
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
                if step.reason == Reason::HookOver {
                    return;
                }
                let text = match step.action {
                    Action::Apply(_) => "deleted, to be made again",
                    _ => "pruned",
                };
                ("Pruned", text.to_owned())
            }
            Outcome::Absent => {
                self.deleting.insert(id.clone());
                self.observed.objects.remove(id);
                self.confirm_deleted(id, now);
                if step.reason == Reason::HookOver {
                    return;
                }
                ("Pruned", "was gone already".to_owned())
            }
            Outcome::Released => {
                self.inventory.entries.remove(id);
                self.inventory_changes.push((id.clone(), false));
                self.record.dirty = true;
                self.deleting.remove(id); // nor does anybody wait until it is gone
                let message = match step.reason {
                    Reason::TakenOver { .. } | Reason::Moved { .. } => step.reason.to_string(),
                    _ => {
                        self.observed.objects.remove(id);
                        "went with the definition of its kind".to_owned()
                    }
                };
                ("Synced", message)
            }
            Outcome::NotOurs { why } => {
                let fault = Fault::new(Blame::User, NOT_OURS, why.clone());
                let failure = Failure {
                    digest: None,
                    fault,
                    retry_at: None,
                    times: 1,
                    refusals: 1,
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
            let results = &mut run.operation.results;
            if !run.told.insert(id.clone()) {
                results.retain(|result| result.id != *id || result.hook.is_some());
            }
            let version = match &step.action {
                Action::Apply(wanted) => wanted.gvk.version.clone(),
                Action::Run { hook, .. } => hook.wanted.gvk.version.clone(),
                Action::Prune { gvk, .. } | Action::LetGo { gvk, .. } => gvk.version.clone(),
                Action::Release => String::new(),
            };
            results.push(ResultView {
                id: id.clone(),
                version,
                status,
                message,
                phase: HookPhase::Sync,
                hook: None,
            });
        }
    }

    /// A hook was made; or one of an earlier run stands there and goes first; or neither.
    fn hook_answered(&mut self, step: &Step, hook: &Hook, outcome: Outcome, now: Timestamp) {
        let id = &step.id;
        match outcome {
            Outcome::Applied { seen, .. } => {
                self.failures.remove(id);
                if let Some(run) = &mut self.run {
                    run.written += 1;
                }
                let uid = seen.uid.clone();
                self.deleting.remove(id);
                let is_gone = self.gone_meanwhile.contains(&uid);
                self.put_seen(id, seen);
                // Also when its run is over: the app may have begun to leave before this answer.
                if let Some(entry) = self.inventory.entries.get_mut(id) {
                    entry.uid = Some(uid.clone());
                    self.record.dirty = true;
                }
                let state = if is_gone {
                    HookState::Failed("it vanished before it was known how it ended".to_owned())
                } else {
                    HookState::Running
                };
                self.hook_is(hook.phase, id, state, Some(uid));
            }
            // The one of an earlier run goes; the watch says when it is gone, and the clock asks where none does.
            Outcome::Deleting => {
                let mut hooks = self.run.iter_mut().map(|run| &mut run.at.hooks);
                let key = (hook.phase, id.clone());
                if let Some(known) = hooks.find_map(|hooks| hooks.get_mut(&key)) {
                    known.not_before = now.checked_add(LEFTOVER_ASKED).ok();
                }
            }
            Outcome::NotOurs { why } => {
                let fault = Fault::new(Blame::User, "hook.in_the_way", format!("{id}: {why}"));
                let hint = "give the hook another name in git, or delete that object by hand";
                self.failed(step, fault.hint(hint), now);
            }
            Outcome::Failed(fault) => self.failed(step, fault, now),
            Outcome::Absent | Outcome::Released => {}
        }
    }

    /// What the server answered is newer than what the watch has said, unless that is newer.
    fn put_seen(&mut self, id: &ObjectId, seen: Seen) {
        let known = self.observed.objects.get(id);
        let is_newest = known.is_none_or(|known| known.resource_version <= seen.resource_version);
        if is_newest && !self.gone_meanwhile.contains(&seen.uid) {
            self.observed.objects.insert(id.clone(), seen);
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
            self.record.namespace.clone_from(&wanted.digest.0);
            self.record.dirty = true;
        } else {
            let entry = entry_of(wanted, Some(&seen));
            if self.inventory.entries.get(&step.id) != Some(&entry) {
                self.inventory.entries.insert(step.id.clone(), entry);
                self.record.dirty = true;
            }
            self.put_seen(&step.id, seen);
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

    /// Something was refused, or not answered. Whose move it is decides whether, and the run how often, it is tried
    /// again; an API server that does not answer has refused nothing.
    pub(crate) fn failed(&mut self, step: &Step, fault: Fault, now: Timestamp) {
        let digest = match &step.action {
            Action::Apply(wanted) => Some(wanted.digest.clone()),
            Action::Run { hook, .. } => Some(hook.wanted.digest.clone()),
            Action::Prune { .. } | Action::Release | Action::LetGo { .. } => None,
        };
        let before = self
            .failures
            .get(&step.id)
            .filter(|failure| failure.digest == digest);
        let (times, refusals) = before.map_or((0, 0), |failure| (failure.times, failure.refusals));
        let times = times + 1;
        let was_refused = !is_unanswered(&fault) && !is_awaited(&fault);
        let refusals = refusals + u32::from(was_refused);
        // A deletion has no other manifest to wait for: whatever refuses it is asked again.
        let is_deletion = matches!(step.action, Action::Prune { .. });
        let is_drift = matches!(step.reason, Reason::Heal | Reason::Recreate);
        let bounded = self
            .run
            .as_ref()
            .filter(|run| !is_drift && run.kind != LogKind::Deletion)
            .map(|run| run.retry);
        let endless = Retry {
            limit: None,
            ..Retry::default()
        };
        let wait = match bounded {
            _ if fault.blame != Blame::Environment && !is_deletion => None,
            Some(retry) if was_refused => retry.wait(refusals),
            // It is asked for as long as it takes, more and more seldom.
            _ => endless.wait(times),
        };
        self.note(now, "cluster", format!("{}: {fault}", step.id));
        self.namespace_made = false;
        if let Some(run) = &mut self.run {
            let retries = refusals.saturating_sub(1);
            run.operation.retries = run.operation.retries.max(retries);
        }
        self.failures.insert(
            step.id.clone(),
            Failure {
                digest,
                fault,
                retry_at: wait.map(|wait| now.checked_add(wait).unwrap_or(Timestamp::MAX)),
                times,
                refusals,
            },
        );
    }
}
