//! Syncs that run: how they begin, how far their hooks are, how they end, and what is remembered of them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::{Retry, Revision};
use lockstep_app::policy::NewCommitPolicy;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::ObjectId;
use lockstep_manifest::marks::HookPhase;
use lockstep_plan::hook::verdict;
use lockstep_plan::{
    Barred, Course, HookKey, HookRun, HookState, KindView, NOT_OURS, Plan, Unstepped, Waiting,
};

use crate::event::{Effect, RecordedRun, Slot, World};
use crate::life::Life;
use crate::view::{
    HistoryView, LogKind, LogView, OperationPhase, OperationView, ResultView, Verified,
};

/// How many syncs the log keeps, and how many heals: a fight over a field must not push out who deployed what.
const SYNCS_LOGGED: usize = 30;
const HEALS_LOGGED: usize = 20;

/// A sync that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) operation: OperationView,
    /// What plans depend on.
    pub(crate) at: lockstep_plan::Run,
    /// How it tries again what was refused.
    pub(crate) retry: Retry,
    pub(crate) kind: LogKind,
    pub(crate) written: usize,
    /// The objects, hooks apart, of which the operation holds a result.
    pub(crate) told: BTreeSet<ObjectId>,
    /// Since when it waits without anything else to do.
    pub(crate) waits_since: Option<Timestamp>,
    /// Why it cannot end well any more.
    pub(crate) failure: Option<String>,
    /// How it has ended, while its hooks are being tidied up.
    pub(crate) verdict: Option<(OperationPhase, String)>,
}

impl Run {
    /// Does one of its hooks run? That is not broken off for another commit.
    fn has_hooks_at_work(&self) -> bool {
        let at_work = |hook: &HookRun| !hook.state.is_over();
        self.at.hooks.values().any(at_work)
    }
}

/// A sync of this commit was tried, and is not tried again by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) revision: Revision,
    pub(crate) spec: String,
    pub(crate) why: String,
    pub(crate) barred: Barred,
}

/// What becomes of a run that has nothing ready.
pub(crate) enum Judgement {
    /// It waits.
    Goes,
    /// It goes on in another way.
    Again,
    /// It has ended.
    Ended(OperationPhase, String),
}

impl Life {
    /// Begins a run.
    pub(crate) fn begin(&mut self, id: String, by: &str, kind: LogKind, now: Timestamp) {
        self.touched.clear();
        self.heals.clear();
        self.attempt = None;
        self.tried = None;
        let app = self.app.as_ref();
        let retry = app.map(|app| {
            if by == "automated" {
                app.retry
            } else {
                app.retry_by_hand
            }
        });
        self.run = Some(Run {
            operation: self.operation(id.clone(), by, now),
            at: lockstep_plan::Run::new(id, now),
            retry: retry.unwrap_or_default(),
            kind,
            written: 0,
            told: BTreeSet::new(),
            waits_since: None,
            failure: None,
            verdict: None,
        });
    }

    /// What the record says of the run.
    pub(crate) fn recorded_run(&self) -> Option<RecordedRun> {
        let run = self.run.as_ref()?;
        Some(RecordedRun {
            run: run.at.clone(),
            by: run.operation.by.clone(),
            approved: self.approval.deletions.clone(),
            leaves: run.kind == LogKind::Deletion,
        })
    }

    /// Goes on with what another process had begun: with its hooks as they were written down.
    pub(crate) fn resume(&mut self, recorded: RecordedRun) {
        let RecordedRun {
            run,
            by,
            approved,
            leaves,
        } = recorded;
        let kind = match (&self.rollback, leaves) {
            (_, true) => LogKind::Deletion,
            (Some(_), false) => LogKind::Rollback,
            (None, false) => LogKind::Sync,
        };
        self.begin(run.id.clone(), &by, kind, run.started_at);
        self.approval.deletions = approved;
        self.approval.by = by;
        // What stands from before the restart holds later waves as if it had been applied since.
        self.touched.extend(self.inventory.entries.keys().cloned());
        if let Some(resumed) = &mut self.run {
            resumed.operation.revision.clone_from(&self.record.revision);
            resumed.at = run;
        }
    }

    /// Notes what the hooks that run have come to.
    pub(crate) fn follow_hooks(&mut self, world: &World<'_>) {
        let Some(run) = &mut self.run else { return };
        let mut news: Vec<(HookKey, HookState)> = Vec::new();
        for (key, hook) in &run.at.hooks {
            let (phase, id) = key;
            let seen = self.observed.objects.get(id);
            let seen = seen.filter(|seen| run.at.is_of(*phase, seen));
            let is_seen = (world.kinds)(&id.group_kind()) == Some(KindView::Observed);
            let state = match (&hook.state, seen) {
                (HookState::Succeeded | HookState::Failed(_), _) | (HookState::Claimed, None) => {
                    continue;
                }
                (HookState::Running, None) if is_seen => {
                    HookState::Failed("it vanished before it was known how it ended".to_owned())
                }
                (HookState::Running, None) => continue,
                (_, Some(seen)) => verdict(seen).unwrap_or(HookState::Running),
            };
            if state != hook.state {
                news.push((key.clone(), state));
            }
        }
        for ((phase, id), state) in news {
            let uid = self.observed.objects.get(&id).map(|seen| seen.uid.clone());
            self.hook_is(phase, &id, state, uid);
        }
    }

    /// Writes down how far a hook is.
    pub(crate) fn hook_is(
        &mut self,
        phase: HookPhase,
        id: &ObjectId,
        state: HookState,
        uid: Option<lockstep_manifest::Uid>,
    ) {
        let Some(run) = &mut self.run else { return };
        let (word, message) = match &state {
            HookState::Claimed => ("Running", "is about to be made".to_owned()),
            HookState::Running => ("Running", "runs".to_owned()),
            HookState::Succeeded => ("Succeeded", "has done its work".to_owned()),
            HookState::Failed(why) => ("Failed", why.clone()),
        };
        let version = self.inventory.entries.get(id);
        let result = ResultView {
            id: id.clone(),
            version: version
                .map(|entry| entry.version.clone())
                .unwrap_or_default(),
            status: "Synced",
            message,
            phase,
            hook: Some(word),
        };
        let results = &mut run.operation.results;
        results.retain(|old| old.id != *id || old.phase != phase);
        results.push(result);
        // One that another process made before it could write down the uid is known by the run that it names.
        if let (Some(uid), Some(entry)) = (&uid, self.inventory.entries.get_mut(id)) {
            entry.uid = Some(uid.clone());
        }
        let hook = run.at.hooks.entry((phase, id.clone()));
        let hook = hook.or_insert_with(HookRun::claimed);
        hook.uid = uid.or(hook.uid.take());
        hook.state = state;
        self.record.dirty = true;
    }

    /// Nothing of the run is ready: does it wait, or how has it ended?
    pub(crate) fn judge(
        &mut self,
        made: &Plan,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Judgement {
        let patience = self
            .app
            .as_ref()
            .map_or(Duration::ZERO, |app| app.sync_timeout);
        let waits_for_nobody = self.waits_for_the_server(made);
        let is_going = !self.deleting.is_empty()
            || made
                .unstepped
                .values()
                .any(|why| matches!(why, Unstepped::Terminating(_)));
        let Some(run) = &mut self.run else {
            return Judgement::Goes;
        };
        let forward = run.at.course == Course::Forward;
        if made.goes_on() || (is_going && forward) {
            if waits_for_nobody {
                run.waits_since = None; // a server that does not answer has refused nothing
                return Judgement::Goes;
            }
            let since = *run.waits_since.get_or_insert(now);
            let due = since.checked_add(patience).unwrap_or(Timestamp::MAX);
            if due > now {
                effects.push(Effect::WakeAt(due));
                return Judgement::Goes;
            }
            let message = format!("gave up after {}; {}", minutes(patience), what_waits(made));
            if !forward {
                let message = run.failure.clone().unwrap_or(message);
                return Judgement::Ended(OperationPhase::Failed, message);
            }
            run.failure = Some(message);
            run.waits_since = None;
            run.at.course = Course::Failing;
            return Judgement::Again;
        }
        if let Some(failure) = &run.failure {
            return Judgement::Ended(OperationPhase::Failed, failure.clone());
        }
        if made.blocked().is_empty() {
            let message = "successfully synced (all tasks run)".to_owned();
            return Judgement::Ended(OperationPhase::Succeeded, message);
        }
        let failures = self.failures.values();
        let mut failures = failures.filter(|failure| failure.fault.code != NOT_OURS);
        let message = if let Some(failure) = failures.next() {
            let why = &failure.fault.message;
            format!("one or more objects failed to apply, reason: {why}")
        } else {
            let stuck = made.unstepped.iter().find(|(_, why)| why.is_stuck());
            let why = stuck.map_or_else(String::new, |(id, why)| format!("{id}: {why}"));
            format!("one or more synchronization tasks completed unsuccessfully, reason: {why}")
        };
        let message = match run.operation.retries {
            0 => message,
            1 => format!("{message} (retried 1 time)"),
            times => format!("{message} (retried {times} times)"),
        };
        Judgement::Ended(OperationPhase::Failed, message)
    }

    /// Is an API server that does not answer all that it waits for?
    fn waits_for_the_server(&self, made: &Plan) -> bool {
        let blocked = made.blocked();
        let mut waiting = made
            .waiting
            .iter()
            .filter(|(step, on)| on.goes_on() && !blocked.contains(&step.id))
            .peekable();
        let is_silent = |id: &ObjectId| {
            let failure = self.failures.get(id);
            failure.is_some_and(|failure| is_unanswered(&failure.fault))
        };
        waiting.peek().is_some()
            && waiting.all(|(step, on)| match on {
                Waiting::Retry(_) => is_silent(&step.id),
                Waiting::Applied(on) | Waiting::Gone(on) | Waiting::Hook(on) => is_silent(on),
                _ => false,
            })
    }

    /// The run has ended like this. What is left is to tidy up after its hooks.
    pub(crate) fn conclude(&mut self, phase: OperationPhase, message: String, terminated: bool) {
        let open: Vec<HookKey> = self
            .run
            .iter()
            .flat_map(|run| &run.at.hooks)
            .filter(|(_, hook)| !hook.state.is_over())
            .map(|(key, _)| key.clone())
            .collect();
        let why = if terminated {
            "Terminated"
        } else {
            "the sync ended before it did"
        };
        for (phase, id) in open {
            self.hook_is(phase, &id, HookState::Failed(why.to_owned()), None);
        }
        if let Some(run) = &mut self.run {
            let well = phase == OperationPhase::Succeeded;
            run.at.course = Course::Over { well, terminated };
            run.verdict = Some((phase, message));
            self.record.dirty = true;
        }
    }

    /// Forgets the run, and remembers what there is to remember of it.
    pub(crate) fn finish(
        &mut self,
        slot: Option<&Slot>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        let (phase, message) = run.verdict.take().unwrap_or_else(|| {
            let message = "ended by the deletion of the Application".to_owned();
            (OperationPhase::Failed, message)
        });
        let well = phase == OperationPhase::Succeeded;
        run.operation.phase = phase;
        run.operation.message = message;
        run.operation.finished_at = Some(now);
        self.approval = crate::life::Approval::default();
        self.applied_at = Some((run.operation.started_at, now));
        self.record.dirty = true;
        let is_whole = run.at.only.is_empty();
        if let (true, Some(slot)) = (well && is_whole, slot) {
            run.operation.verified = Some(Verified::Pending);
            self.deployed(slot, &run, now, effects);
        }
        let manual = self
            .app
            .as_ref()
            .is_some_and(|app| app.policy.new_commit != NewCommitPolicy::Apply);
        // Where nothing was refused and no hook has run, it was only late: it goes on when what it waited for is there.
        let mut failures = self.failures.values();
        let was_refused = failures.any(|f| f.retry_at.is_none() && f.fault.code != NOT_OURS);
        let mut stuck = self
            .unstepped
            .values()
            .filter(|why| why.is_stuck())
            .peekable();
        let lacks_kinds =
            stuck.peek().is_some() && stuck.all(|why| matches!(why, Unstepped::NotServed(_)));
        let was_late =
            !was_refused && run.at.hooks.is_empty() && (run.failure.is_some() || lacks_kinds);
        let barred = match (well, is_whole) {
            (false, _) if was_late => None,
            (false, _) => Some(Barred::Failed),
            (true, false) if manual => Some(Barred::Partly),
            (true, _) => None,
        };
        if let (Some(slot), Some(barred)) = (self.enforced.as_ref(), barred) {
            self.attempt = Some(Attempt {
                revision: slot.commit.revision.clone(),
                spec: slot.spec.clone(),
                why: run.operation.message.clone(),
                barred,
            });
            self.record.hurry = true; // a restart must not try it again
        }
        let short = slot.map_or("", |slot| slot.commit.revision.short());
        let text = match (well, run.kind) {
            (false, _) => run.operation.message.clone(),
            (true, LogKind::Deletion) => "its objects were deleted".to_owned(),
            (true, _) => format!("synced {short}: {} objects written", run.written),
        };
        self.note(now, "lockstep", text.clone());
        self.log(LogView {
            id: run.operation.id.clone(),
            kind: run.kind,
            by: run.operation.by.clone(),
            started_at: run.operation.started_at,
            finished_at: now,
            well,
            revision: run.operation.revision.clone(),
            spec: slot.map(|slot| slot.spec.clone()).unwrap_or_default(),
            objects: run.written,
            text,
        });
        self.last_operation = Some(run.operation);
    }

    /// A whole sync has ended well.
    fn deployed(&mut self, slot: &Slot, run: &Run, now: Timestamp, effects: &mut Vec<Effect>) {
        self.live = Some(slot.commit.clone());
        let bundle = slot.desired.digest();
        if run.written > 0 || self.fresh {
            self.remember(slot, run, bundle.clone(), now);
        }
        self.fresh = false;
        self.say(slot);
        let limit = self.app.as_ref().map_or(0, |app| app.history_limit);
        let is_another = self.record.bundle.as_ref() != Some(&bundle);
        if is_another && (limit > 0 || slot.has_deletion_hooks()) {
            self.store(slot, bundle.clone(), effects);
        }
        self.record.bundle = Some(bundle);
    }

    fn remember(
        &mut self,
        slot: &Slot,
        run: &Run,
        bundle: lockstep_manifest::Digest,
        now: Timestamp,
    ) {
        let started_at = run.operation.started_at;
        let is_known = self.history.front().is_some_and(|newest| {
            newest.commit.revision == slot.commit.revision
                && newest.started_at.as_second() == started_at.as_second()
        });
        if is_known {
            return; // it had ended before, and nobody could write it down
        }
        let limit = self.app.as_ref().map_or(10, |app| app.history_limit);
        let id = self.history.front().map_or(0, |newest| newest.id + 1);
        self.history.push_front(HistoryView {
            id,
            commit: slot.commit.clone(),
            started_at,
            deployed_at: now,
            by: run.operation.by.clone(),
            objects: run.written,
            bundle: Some(bundle),
            bases: slot.bases.clone(),
        });
        self.history.truncate(limit);
    }

    /// Lets the record say this commit, though nothing of it had to be applied: what a person let through stays let
    /// through after a restart.
    pub(crate) fn say(&mut self, slot: &Slot) {
        let revision = Some(&slot.commit.revision);
        if self.record.revision.as_ref() != revision || self.record.spec != slot.spec {
            self.record.revision = revision.cloned();
            self.record.spec.clone_from(&slot.spec);
            self.record.bases.clone_from(&slot.bases);
            self.record.dirty = true;
            // What is applied before that is written down has to be claimed: the record names another commit.
            let all = self.inventory.entries.keys().cloned();
            self.record.unsaid.extend(all);
        }
    }

    /// Writes down what was done.
    pub(crate) fn log(&mut self, entry: LogView) {
        let is_heal = |entry: &LogView| entry.kind == LogKind::Heal;
        if let Some(newest) = self.log.front_mut()
            && is_heal(newest)
            && is_heal(&entry)
            && newest.id == entry.id
        {
            newest.finished_at = entry.finished_at;
            newest.objects += entry.objects;
            newest.text = entry.text;
        } else {
            self.log.push_front(entry);
        }
        let (mut heals, mut syncs) = (0, 0);
        self.log.retain(|entry| {
            let (count, most) = if is_heal(entry) {
                (&mut heals, HEALS_LOGGED)
            } else {
                (&mut syncs, SYNCS_LOGGED)
            };
            *count += 1;
            *count <= most
        });
        self.record.dirty = true;
    }

    /// Has the sync that runs hooks, which are to be seen to whatever comes next?
    pub(crate) fn has_hooks(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| !run.at.hooks.is_empty())
    }

    /// Is the running sync one that another commit may take the place of? One that only waits is; one whose hooks are
    /// at work is let finish these, unless its commit cannot be had again.
    pub(crate) fn may_overtake(&mut self) -> bool {
        let failed = self.render_fault.as_ref().map(|(failed, _)| failed);
        if self.enforced.is_none() && failed.is_some() && failed == self.record.revision.as_ref() {
            let message = "its commit cannot be rendered again".to_owned();
            self.conclude(OperationPhase::Failed, message, false);
            self.render_fault = None; // of a commit that nobody waits for any more
            return true;
        }
        let Some(run) = &self.run else { return true };
        if run.verdict.is_none() && !run.has_hooks_at_work() {
            let message = "overtaken by a newer commit".to_owned();
            self.conclude(OperationPhase::Failed, message, false);
        }
        let run = self.run.as_ref();
        run.is_none_or(|run| run.verdict.is_some() && run.at.hooks.is_empty())
    }

    /// Did everything that was applied become healthy?
    pub(crate) fn verify(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let patience = self
            .app
            .as_ref()
            .map_or(Duration::ZERO, |app| app.sync_timeout);
        let health = self.health();
        let Some(operation) = &mut self.last_operation else {
            return;
        };
        let (Some(Verified::Pending), Some(ended)) = (&operation.verified, operation.finished_at)
        else {
            return;
        };
        let due = ended.checked_add(patience).unwrap_or(Timestamp::MAX);
        if health.lets_the_next_wave_begin() {
            operation.verified = Some(Verified::Yes(now));
        } else if due > now {
            effects.push(Effect::WakeAt(due));
        } else {
            let why = health.why().unwrap_or("not everything is there");
            let why = format!(
                "not healthy {} after it was applied: {why}",
                minutes(patience)
            );
            operation.verified = Some(Verified::No(why.clone()));
            self.note(now, "cluster", why);
        }
    }

    /// Somebody ends the sync that runs.
    pub fn terminate(&mut self, by: &str, world: &World<'_>) -> Result<Vec<Effect>, Fault> {
        let Some(run) = self.run.as_mut().filter(|run| run.verdict.is_none()) else {
            let fault = Fault::new(Blame::User, "sync.none", "no operation is in progress");
            return Err(fault.hint("there is nothing to end"));
        };
        run.operation.phase = OperationPhase::Terminating;
        run.operation.message = format!("{by} ends it");
        self.note(world.now, by, format!("{by} ended the sync"));
        let message = "Operation terminated".to_owned();
        self.conclude(OperationPhase::Failed, message, true);
        let mut effects = Vec::new();
        self.think(world, &mut effects);
        self.refresh_word(world.now);
        Ok(effects)
    }
}

/// Is something else to be there first? That may take its time, and nothing of the app was refused.
pub(crate) fn is_awaited(fault: &Fault) -> bool {
    matches!(
        fault.code.as_str(),
        "apply.namespace_missing" | "apply.crd_missing"
    )
}

/// Did the server say nothing at all? Then it has refused nothing either, and asking again is no further try.
pub(crate) fn is_unanswered(fault: &Fault) -> bool {
    matches!(fault.code.as_str(), "unknown.cluster" | "lease.lost")
}

fn what_waits(made: &Plan) -> String {
    let first = made.waiting.iter().find(|(_, on)| on.goes_on());
    let going = made
        .unstepped
        .iter()
        .find(|(_, why)| matches!(why, Unstepped::Terminating(_)));
    match (first, going) {
        (Some((step, on)), _) => format!("{}: {on}", step.id),
        (None, Some((id, why))) => format!("{id} {why}"),
        (None, None) => "objects to be deleted".to_owned(),
    }
}

/// `10 min`, or `90 s` where it is no whole number of minutes.
fn minutes(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
