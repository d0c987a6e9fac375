//! What runs: the hooks of a sync, and what becomes of them when they have ended.

use std::sync::Arc;

use lockstep_manifest::ObjectId;
use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::write::Propagation;

use super::{Making, Mode};
use crate::hook::{Course, Hook, HookState};
use crate::step::{Action, Barred, Plan, Reason, Step, Unstepped, Waiting};

impl Making<'_> {
    /// The hooks that belong to what is going on. Healing runs none, nor does a sync of some objects.
    pub(super) fn hooks(&mut self) {
        let Some(desired) = self.desired else { return };
        for id in &desired.skipped {
            self.unstepped.insert(id.clone(), Unstepped::HookSkipped);
        }
        let run = self.facts.run;
        let has_hooks = match self.mode {
            Mode::Heal => false,
            // Without a run this is what a sync would do; what has only hooks to run needs none.
            Mode::Sync => run.map_or(!self.steps.is_empty(), |run| !run.skip_hooks),
            Mode::Leave => run.is_some(),
        };
        for hook in &desired.hooks {
            let belongs = match self.mode {
                Mode::Leave => hook.phase.is_of_deletion(),
                Mode::Sync | Mode::Heal => {
                    !hook.phase.is_of_deletion() && hook.phase != HookPhase::SyncFail
                }
            };
            if has_hooks && belongs {
                self.hook(hook);
            } else if self.mode != Mode::Leave {
                let id = hook.wanted.id.clone();
                self.unstepped.entry(id).or_insert(Unstepped::HookSkipped);
            }
        }
    }

    fn hook(&mut self, hook: &Arc<Hook>) {
        let (id, stand) = self.stand(hook);
        self.unstepped.remove(&hook.wanted.id);
        match stand {
            Stand::Due(step) => self.steps.push(step),
            Stand::Waits(step, on) => self.waiting.push((step, on)),
            Stand::Over(tidy, why) => {
                self.steps.extend(tidy);
                self.unstepped.insert(id, why);
            }
        }
    }

    /// How far a hook is, and what comes next.
    fn stand(&self, hook: &Arc<Hook>) -> (ObjectId, Stand) {
        let id = self.id_of(hook);
        let run = self.facts.run;
        let known = run.and_then(|run| run.hooks.get(&(hook.phase, id.clone())));
        let stand = match known.map(|known| &known.state) {
            None | Some(HookState::Claimed) => {
                let not_before = known.and_then(|known| known.not_before);
                match not_before.filter(|at| *at > self.facts.now) {
                    Some(at) => Stand::Waits(self.run_step(hook, id.clone()), Waiting::Retry(at)),
                    None => self.due(hook, &id),
                }
            }
            Some(HookState::Running) => {
                Stand::Waits(self.run_step(hook, id.clone()), Waiting::Runs)
            }
            Some(state) => {
                let why = match state {
                    HookState::Failed(why) => Unstepped::HookFailed(why.clone()),
                    _ => Unstepped::HookRan,
                };
                Stand::Over(self.tidy(hook, &id, state), why)
            }
        };
        (id, stand)
    }

    fn id_of(&self, hook: &Hook) -> ObjectId {
        let revision = self.desired.map(|desired| &desired.revision);
        revision.map_or_else(
            || hook.wanted.id.clone(),
            |revision| hook.id(self.facts.run, revision),
        )
    }

    fn due(&self, hook: &Arc<Hook>, id: &ObjectId) -> Stand {
        let failure = self.facts.failures.get(id);
        let failure = failure.filter(|f| f.digest.as_ref() == Some(&hook.wanted.digest));
        let step = self.run_step(hook, id.clone());
        match failure.map(|failure| (failure.retry_at, &failure.fault)) {
            Some((None, fault)) => Stand::Over(None, Unstepped::Failed(fault.clone())),
            Some((Some(at), _)) if at > self.facts.now => Stand::Waits(step, Waiting::Retry(at)),
            _ => Stand::Due(step),
        }
    }

    fn run_step(&self, hook: &Arc<Hook>, id: ObjectId) -> Step {
        let runs_in = self.facts.run.map(|run| run.runs_in(hook.phase));
        let action = Action::Run {
            hook: Arc::clone(hook),
            runs_in: runs_in.unwrap_or_default(),
        };
        step_of(hook, id, action, Reason::Hook(hook.phase))
    }

    /// It has ended: our finalizer comes off, and at the end of the sync it goes, if that is its policy.
    fn tidy(&self, hook: &Hook, id: &ObjectId, state: &HookState) -> Option<Step> {
        let run = self.facts.run?;
        // What could not be tidied up is left to the next sync, which deletes it before it runs again.
        let has_failed = self
            .facts
            .failures
            .get(id)
            .is_some_and(|f| f.digest.is_none());
        let seen = self.observed.objects.get(id).filter(|_| !has_failed);
        let seen = seen.filter(|seen| run.is_of(hook.phase, seen))?;
        if self.mode == Mode::Leave {
            return None; // with the app it is deleted, which takes the finalizer off as well
        }
        let (gvk, uid) = (hook.wanted.gvk.clone(), seen.uid.clone());
        let is_kept = seen.hook.as_ref().is_some_and(|hook| hook.kept);
        let action = if hook.goes(state, run.course) && !seen.terminating {
            Action::Prune {
                gvk,
                uid,
                propagation: Propagation::Background,
            }
        } else if is_kept {
            Action::LetGo { gvk, uid }
        } else {
            return None;
        };
        Some(step_of(hook, id.clone(), action, Reason::HookOver))
    }

    /// A sync that cannot go on because something failed ends with the hooks for that; one that is over has only its
    /// hooks to tidy up.
    pub(super) fn after_failure(&mut self, plan: &mut Plan) {
        let Some(run) = self.facts.run.filter(|_| self.mode == Mode::Sync) else {
            return;
        };
        let tidies = |step: &Step| {
            matches!(step.action, Action::LetGo { .. })
                || (step.reason == Reason::HookOver && matches!(step.action, Action::Prune { .. }))
        };
        if run.course != Course::Forward {
            let barred = Waiting::Barred(Barred::Failed);
            let held = plan.front.extract_if(.., |step| !tidies(step));
            plan.waiting.extend(held.map(|step| (step, barred.clone())));
            for (_, on) in &mut plan.waiting {
                if on.goes_on() {
                    *on = barred.clone();
                }
            }
        }
        let is_over = matches!(run.course, Course::Over { .. });
        let works = plan.front.iter().any(|step| !tidies(step));
        let has_failed = run.course == Course::Failing || !plan.blocked().is_empty();
        let is_due = has_failed && !works && !plan.goes_on() && !run.skip_hooks;
        if !is_over && !is_due {
            return;
        }
        let hooks = self.desired.map_or(&[][..], |desired| &desired.hooks);
        let mut open: Option<(i32, ObjectId)> = None;
        for hook in hooks {
            let is_known = |id: ObjectId| run.hooks.contains_key(&(hook.phase, id));
            if hook.phase != HookPhase::SyncFail || (is_over && !is_known(self.id_of(hook))) {
                continue;
            }
            let wave = hook.wanted.wave;
            let (id, stand) = self.stand(hook);
            plan.unstepped.remove(&hook.wanted.id);
            match stand {
                Stand::Due(step) => match &open {
                    // One wave after the other, as everywhere.
                    Some((earlier, on)) if *earlier < wave => {
                        plan.waiting.push((step, Waiting::Hook(on.clone())));
                    }
                    _ => {
                        open.get_or_insert((wave, id));
                        plan.front.push(step);
                    }
                },
                Stand::Waits(step, on) => {
                    open.get_or_insert((wave, id));
                    plan.waiting.push((step, on));
                }
                Stand::Over(tidy, why) => {
                    plan.front.extend(tidy);
                    plan.unstepped.insert(id, why);
                }
            }
        }
    }
}

/// How far one hook is, and what comes next.
enum Stand {
    /// It is to be made.
    Due(Step),
    /// It runs, or waits for its time.
    Waits(Step, Waiting),
    /// It has ended; there may be something to tidy up.
    Over(Option<Step>, Unstepped),
}

fn step_of(hook: &Hook, id: ObjectId, action: Action, reason: Reason) -> Step {
    Step {
        id,
        action,
        reason,
        phase: hook.phase,
        wave: hook.wanted.wave,
        changes: Vec::new(),
        taken: Vec::new(),
    }
}
