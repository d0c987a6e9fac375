//! The cluster half: plan, claim, apply, look again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::App;
use lockstep_app::policy::{DriftPolicy, NewCommitPolicy};
use lockstep_manifest::{Gvk, ObjectId, marks};
use lockstep_plan::{
    Action, Asked, Desired, Entry, HookState, Mode, Plan, Reason, Seen, Step, Unstepped, Waiting,
};

use crate::event::{Effect, RecordDraft, Slot, World};
use crate::life::{Hold, Life, Phase};
use crate::run::{Judgement, Run};
use crate::view::LogKind;

/// The turn of a record write that no front waits for.
pub(crate) const NOTE: u64 = 0;
/// How long a record may lag behind what was learnt: the marks on the objects say the same meanwhile.
const NOTE_WAITS: Duration = Duration::from_secs(10);
/// The fault code of a record that somebody else wrote.
pub(crate) const LOST: &str = "record.lost";

impl Life {
    /// Makes up its mind: what to do next, or why nothing.
    pub(crate) fn think(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        let had_run = self.run.is_some();
        self.think_once(world, effects);
        // A sync that ended may have kept another commit waiting.
        if had_run && self.run.is_none() && self.next.is_some() {
            self.think_once(world, effects);
        }
    }

    fn think_once(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Claiming(_) | Phase::Applying(_)) {
            return;
        }
        if !world.leading || !self.record.known {
            self.phase = Phase::Starting;
            return;
        }
        if !self.spec_faults.is_empty() {
            self.phase = Phase::Faulted;
            return;
        }
        let Some(app) = self.app.clone() else { return };
        self.take_order(world, effects);
        if app.leaving {
            self.leave(&app, world, effects);
            return;
        }
        let frozen = if app.skip {
            Some(Hold::Skip)
        } else {
            self.source_fault.clone().map(Hold::Source)
        };
        if let Some(hold) = frozen {
            self.observe(world, effects);
            self.phase = Phase::Holding(hold);
            return;
        }
        let held = self.promote(&app, world, effects);
        let Some(slot) = self.enforced.clone() else {
            let ready = self.next.is_some() && self.observe(world, effects);
            self.phase = match held {
                Some(hold) if ready => {
                    self.show(&app, world, effects);
                    Phase::Holding(hold)
                }
                _ => self
                    .render_fault
                    .clone()
                    .map_or(Phase::Starting, |(_, fault)| {
                        Phase::Holding(Hold::Render(fault))
                    }),
            };
            return;
        };
        if !self.observe(world, effects) {
            self.phase = Phase::Starting;
            return;
        }
        self.keep(&app, &slot, held, world, effects);
    }

    /// Keeps the cluster at the enforced commit.
    fn keep(
        &mut self,
        app: &Arc<App>,
        slot: &Slot,
        held: Option<Hold>,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if self.measure(slot, effects) {
            self.phase = Phase::Starting; // the answer wakes us
            return;
        }
        self.compared_at = Some(world.now);
        self.notice_drift(slot, world);
        let made = self.made(app, slot, world, effects);
        let Some(made) = made.map(Arc::new) else {
            return; // it is another app's turn
        };
        self.unstepped.clone_from(&made.unstepped);
        if made.front.is_empty() {
            if self.run.as_ref().is_some_and(|run| run.verdict.is_some()) {
                self.finish(Some(slot), world.now, effects);
            }
            self.rest(app, slot, &made, held, world, effects);
        } else {
            if let Some(run) = &mut self.run {
                run.waits_since = None;
            }
            self.act(&made, Some(slot), world, effects);
        }
    }

    /// The plan of what is to be done now, with the run that it belongs to begun, gone on with, or ended. None: the app
    /// waits for its turn.
    fn made(
        &mut self,
        app: &Arc<App>,
        slot: &Slot,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) -> Option<Plan> {
        self.follow_hooks(world);
        let desired = Some(slot.desired.as_ref());
        let mode = if self.run.is_some() {
            Mode::Sync
        } else {
            Mode::Heal
        };
        let mut made = self.plan(app, mode, desired, world);
        if self.run.is_none() && made.front.iter().any(is_not_drift) {
            if !(world.may_begin)() {
                effects.push(Effect::Queue);
                self.unstepped.clone_from(&made.unstepped);
                self.phase = Phase::Queued(Arc::new(made));
                return None;
            }
            let id = self.operation_id(world.now);
            // What stands from an earlier run, before a restart, holds later waves as if it were of this one.
            let earlier: Vec<ObjectId> = self.inventory.entries.keys().cloned().collect();
            let resumed = !self.fresh && !self.record.claimed;
            self.begin(id, "automated", LogKind::Sync, world.now);
            if resumed {
                self.touched.extend(earlier);
            }
            made = self.plan(app, Mode::Sync, desired, world);
        }
        // At most: on to the hooks of a failed sync, to its end, and to what is then tidied up.
        for _ in 0..3 {
            let is_open = self.run.as_ref().is_some_and(|run| run.verdict.is_none());
            if !is_open || !made.front.is_empty() {
                break;
            }
            match self.judge(&made, world.now, effects) {
                Judgement::Goes => break,
                Judgement::Again => {}
                Judgement::Ended(phase, message) => self.conclude(phase, message, false),
            }
            made = self.plan(app, Mode::Sync, desired, world);
        }
        Some(made)
    }

    /// Writes the record if it does not say yet what is about to be touched; then the front.
    pub(crate) fn act(
        &mut self,
        made: &Arc<Plan>,
        slot: Option<&Slot>,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) {
        // Putting back needs no word in the record, which names the object; making it again does: it gets a new uid.
        let heals_only = made.front.iter().all(|step| step.reason == Reason::Heal);
        let was_said = !self.record.dirty;
        self.claim_hooks(made);
        for step in made.steps() {
            if let (Action::Apply(wanted), false) = (&step.action, step.reason == Reason::Namespace)
                && !self.inventory.entries.contains_key(&step.id)
            {
                let mut entry = entry_of(wanted, None);
                entry.uid = self
                    .observed
                    .objects
                    .get(&step.id)
                    .map(|seen| seen.uid.clone());
                self.inventory.entries.insert(step.id.clone(), entry);
                self.record.dirty = true;
                self.record.unsaid.insert(step.id.clone());
                self.inventory_changes.push((step.id.clone(), true));
            }
        }
        self.gone_meanwhile.clear();
        self.healing = made
            .front
            .iter()
            .filter(|step| matches!(step.reason, Reason::Heal | Reason::Recreate))
            .map(|step| {
                let since = self
                    .drift
                    .get(&step.id)
                    .map_or(world.now, |clock| clock.since);
                (step.id.clone(), since)
            })
            .collect();
        let revision = slot.map(|slot| slot.commit.revision.clone());
        let is_said = self.record.claimed
            && !self.record.noting
            && self.made_again(made).is_empty()
            && self.record.says(&made.front)
            && self.run.as_ref().is_none_or(|run| self.record.names(run))
            && slot.is_none_or(|slot| self.record.spec == slot.spec)
            && (revision.is_none() || self.record.revision == revision);
        self.turn += 1;
        if heals_only || is_said {
            effects.push(Effect::Apply {
                turn: self.turn,
                steps: made.front.clone(),
            });
            self.phase = Phase::Applying(Arc::clone(made));
            return;
        }
        let waits = self.record.retry_at.is_some_and(|at| at > world.now);
        if self.record.noting || waits {
            effects.extend(self.record.retry_at.map(Effect::WakeAt));
            self.phase = Phase::Starting; // the answer, or the time, wakes us
            return;
        }
        let is_brief = was_said && self.is_brief(made);
        let added = is_brief.then(|| self.record.unsaid.clone());
        let mut draft = Box::new(self.draft(Some(made), revision));
        draft.added = added;
        effects.push(Effect::Claim {
            turn: self.turn,
            draft,
        });
        self.phase = Phase::Claiming(Arc::clone(made));
    }

    /// Does a claim of it say no more than which objects there may be from now on, and who makes them?
    fn is_brief(&self, made: &Plan) -> bool {
        let has_hooks = |run: &Run| !run.at.hooks.is_empty();
        let is_apply = |step: &Step| matches!(step.action, Action::Apply(_));
        made.front.iter().all(is_apply)
            && self.made_again(made).is_empty()
            && !self.run.as_ref().is_some_and(has_hooks)
    }

    /// What the front makes again: whoever finds it under its name and with our mark after a crash may take its uid for
    /// ours, so the old one must not stand in the record when it is made.
    pub(crate) fn made_again(&self, made: &Plan) -> Vec<ObjectId> {
        let has_uid = |id: &ObjectId| {
            let entry = self.inventory.entries.get(id);
            entry.is_some_and(|entry| entry.uid.is_some())
        };
        let again = made.front.iter().filter(|step| match step.action {
            Action::Run { .. } => has_uid(&step.id),
            _ => step.reason == Reason::Recreate,
        });
        again.map(|step| step.id.clone()).collect()
    }

    /// Notes the hooks that are about to be made: a crash leaves word of them.
    fn claim_hooks(&mut self, made: &Plan) {
        for step in &made.front {
            let Action::Run { hook, .. } = &step.action else {
                continue;
            };
            let key = (hook.phase, step.id.clone());
            let is_new = self
                .run
                .as_ref()
                .is_some_and(|run| !run.at.hooks.contains_key(&key));
            let entry = self.inventory.entries.entry(step.id.clone());
            let entry = entry.or_insert_with(|| {
                self.inventory_changes.push((step.id.clone(), true));
                entry_of(&hook.wanted, None)
            });
            if is_new || !entry.is_hook {
                entry.is_hook = true;
                self.hook_is(hook.phase, &step.id, HookState::Claimed, None);
            }
        }
    }

    pub(crate) fn draft(
        &mut self,
        made: Option<&Plan>,
        revision: Option<lockstep_app::app::Revision>,
    ) -> RecordDraft {
        self.record.dirty = false;
        self.record.dirty_since = None;
        self.record.hurry = false;
        self.record.unsaid.clear();
        let run = self.recorded_run();
        self.record.run = run.as_ref().map(|run| run.run.id.clone());
        let mut entries = self.inventory.entries.clone();
        for id in made.into_iter().flat_map(|made| self.made_again(made)) {
            if let Some(entry) = entries.get_mut(&id) {
                forget_instance(entry);
            }
        }
        self.record.order.1 += 1;
        RecordDraft {
            previous: self.record.resource_version.clone(),
            order: self.record.order,
            added: None,
            plan: made.map(Plan::digest),
            spec: self
                .enforced
                .as_ref()
                .map_or_else(|| self.record.spec.clone(), |s| s.spec.clone()),
            bases: self
                .enforced
                .as_ref()
                .map_or_else(|| self.record.bases.clone(), |s| s.bases.clone()),
            revision: revision.or_else(|| self.record.revision.clone()),
            entries,
            run,
            log: self.log.iter().cloned().collect(),
            rollback: self.rollback.clone(),
            bundle: self.record.bundle.clone(),
            namespace: self.record.namespace.clone(),
            is_tombstone: false,
        }
    }

    /// Nothing is ready: ends the run if there is one, waits or rests, and says for what.
    fn rest(
        &mut self,
        app: &Arc<App>,
        slot: &Slot,
        made: &Arc<Plan>,
        held: Option<Hold>,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if self.run.is_none() && self.fresh && made.is_empty() {
            self.fresh = false; // the commit changed nothing here
            self.live = Some(slot.commit.clone());
        }
        self.verify(world.now, effects);
        self.see_to_guard(world, effects);
        for (_, waiting) in &made.waiting {
            match waiting {
                Waiting::Retry(at) | Waiting::HealAt(at) => effects.push(Effect::WakeAt(*at)),
                Waiting::Served(_) => {
                    effects.push(Effect::Discover);
                    let soon = world.now.checked_add(Duration::from_millis(500));
                    effects.push(Effect::WakeAt(soon.unwrap_or(world.now)));
                }
                Waiting::Others => {
                    // Whoever runs us wakes us when the last of them has been rendered; this is for the lost wake.
                    let soon = world.now.checked_add(Duration::from_secs(1));
                    effects.push(Effect::WakeAt(soon.unwrap_or(world.now)));
                }
                Waiting::Applied(_)
                | Waiting::Healthy(_)
                | Waiting::Gone(_)
                | Waiting::Hook(_)
                | Waiting::Runs
                | Waiting::Barred(_)
                | Waiting::NotSelected
                | Waiting::Approval(_) => {}
            }
        }
        if made
            .unstepped
            .values()
            .any(|why| matches!(why, Unstepped::NotServed(_)))
        {
            effects.push(Effect::Discover);
            let later = world.now.checked_add(Duration::from_secs(15));
            effects.push(Effect::WakeAt(later.unwrap_or(world.now)));
        }
        self.write_note(world, effects);
        let approvals = asked(made);
        let drifted = made
            .unstepped
            .values()
            .any(|why| *why == Unstepped::Drifted)
            || made
                .waiting
                .iter()
                .any(|(_, w)| matches!(w, Waiting::HealAt(_)));
        if held.is_some() || approvals.is_some() || drifted {
            self.show(app, world, effects);
        } else {
            self.shown = (!made.is_empty()).then(|| Arc::clone(made));
            self.probed.clear();
            self.probed_plan = None;
        }
        self.phase = match held {
            Some(hold) => Phase::Holding(hold),
            None if let Some((count, asked)) = approvals => {
                Phase::Holding(Hold::Deletion(count, asked))
            }
            None if !made.waiting.is_empty() => Phase::Settling(Arc::clone(made)),
            None => Phase::Resting,
        };
    }

    /// Writes down what the record does not say yet: uids and digests that the server answered with. Nothing waits for
    /// it (a deletion writes the record itself), so it lets the objects and statuses of other apps go first.
    pub(crate) fn write_note(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        if !self.record.dirty {
            self.record.dirty_since = None;
            return;
        }
        let since = *self.record.dirty_since.get_or_insert(world.now);
        let wait = if self.record.hurry {
            Duration::ZERO
        } else {
            NOTE_WAITS
        };
        let due = since.checked_add(wait).unwrap_or(since);
        let due = self.record.retry_at.map_or(due, |at| at.max(due));
        if due > world.now {
            effects.push(Effect::WakeAt(due));
        } else if !self.record.noting {
            let draft = Box::new(self.draft(None, None));
            self.record.noting = true;
            effects.push(Effect::Claim { turn: NOTE, draft });
        }
    }

    /// What the record does not say yet, before the process ends: a restart then finds nothing to do.
    pub fn last_note(&mut self) -> Option<RecordDraft> {
        let writable = self.record.dirty && self.record.known && self.record.claimed;
        (writable && !self.record.noting).then(|| self.draft(None, None))
    }

    /// Lets the next commit become the enforced one, or says what forbids it.
    fn promote(&mut self, app: &App, world: &World<'_>, effects: &mut Vec<Effect>) -> Option<Hold> {
        if self.is_rolled_back(world, effects) {
            return Some(Hold::Rollback);
        }
        let next = self.next.as_ref()?;
        let same = self
            .enforced
            .as_ref()
            .is_some_and(|slot| says_the_same(&slot.desired, &next.desired));
        if !same {
            let approved = self.approval.revision.as_ref() == Some(&next.commit.revision)
                && self.approval.bases == next.bases;
            match app.policy.new_commit {
                NewCommitPolicy::Apply => {}
                NewCommitPolicy::Approve if approved => {}
                NewCommitPolicy::Approve => return Some(Hold::NewCommit),
                NewCommitPolicy::Hold => return Some(Hold::Policy),
            }
            let wipes = next.desired.objects.is_empty() && !self.inventory.entries.is_empty();
            if wipes && !app.policy.allow_empty && !(approved && self.approval.empty) {
                return Some(Hold::EmptyRender);
            }
            // A new commit does not wait for a hopeless rollout: a running sync ends as overtaken.
            if !self.may_overtake() {
                return None;
            }
            let slot = self.enforced.clone();
            self.finish(slot.as_ref(), world.now, effects);
            self.failures.clear();
            self.attempt = None;
            self.fresh = true;
        } else if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.revision != next.commit.revision)
        {
            self.failures.clear();
            self.attempt = None; // another commit is another try, though it says the same
        }
        let before = self.enforced.take();
        self.enforced = self.next.take();
        if let Some(slot) = self.enforced.clone() {
            self.doubt(before.as_ref(), &slot);
        }
        if same
            && let Some(slot) = self.enforced.clone()
            && self.record.spec != slot.spec
        {
            self.say(&slot);
        }
        if same && let (Some(live), Some(slot)) = (&mut self.live, &self.enforced) {
            live.clone_from(&slot.commit);
        }
        None
    }

    /// Is everything seen that planning needs? Asks for what is not.
    pub(crate) fn observe(&self, world: &World<'_>, effects: &mut Vec<Effect>) -> bool {
        let mut missing: BTreeSet<Gvk> = BTreeSet::new();
        let slots = [self.enforced.as_ref(), self.next.as_ref()];
        let slots = slots.into_iter().flatten().map(|slot| &slot.desired);
        for gvk in slots.chain(&self.will).flat_map(|desired| &desired.kinds) {
            if (world.kinds)(&gvk.group_kind()).is_none() {
                missing.insert(gvk.clone());
            }
        }
        for (id, entry) in &self.inventory.entries {
            if (world.kinds)(&id.group_kind()).is_none() {
                missing.insert(Gvk {
                    group: id.group.clone(),
                    version: entry.version.clone(),
                    kind: id.kind.clone(),
                });
            }
        }
        let complete = missing.is_empty();
        if !complete {
            effects.push(Effect::Observe(missing));
        }
        complete && world.namespaces.is_some()
    }

    /// Is drift left standing by policy?
    pub(crate) fn leaves_drift(&self) -> bool {
        self.app
            .as_ref()
            .is_some_and(|app| app.policy.drift == DriftPolicy::Report)
    }
}

impl crate::life::Record {
    /// Does the record in the cluster name this run? Of a deletion without hooks it need not: the deletions themselves
    /// are all there is to know of it.
    fn names(&self, run: &Run) -> bool {
        let is_plain = run.kind == LogKind::Deletion && run.at.hooks.is_empty();
        is_plain || self.run.as_ref() == Some(&run.at.id)
    }

    /// Does the record in the cluster say already what these steps touch? For a deletion it has to say everything:
    /// the uid is one of its witnesses.
    fn says(&self, front: &[Step]) -> bool {
        front.iter().all(|step| match step.action {
            Action::Apply(_) => !self.unsaid.contains(&step.id),
            Action::Prune { .. } | Action::Run { .. } | Action::LetGo { .. } => !self.dirty,
            Action::Release => true,
        })
    }
}

pub(crate) fn entry_of(wanted: &lockstep_plan::Wanted, seen: Option<&Seen>) -> Entry {
    Entry {
        uid: seen.map(|seen| seen.uid.clone()),
        version: wanted.gvk.version.clone(),
        digest: seen.map(|_| wanted.digest.clone()),
        seen: seen.and_then(|seen| seen.fingerprint.clone()),
        wave: wanted.wave,
        prune: marks::prune(&wanted.manifest),
        delete: marks::delete(&wanted.manifest),
        prune_last: marks::option(&wanted.manifest, "PruneLast") == Some("true"),
        is_hook: false,
        by_mark_alone: false,
    }
}

pub(crate) fn forget_instance(entry: &mut Entry) {
    (entry.uid, entry.digest, entry.seen) = (None, None, None);
}

pub(crate) fn is_not_drift(step: &Step) -> bool {
    !matches!(step.reason, Reason::Heal | Reason::Recreate)
}

/// How many deletions a person is asked for, and the reason to be told.
pub(crate) fn asked(made: &Plan) -> Option<(usize, Asked)> {
    let reasons = made
        .waiting
        .iter()
        .filter_map(|(_, waiting)| match waiting {
            Waiting::Approval(asked) => Some(*asked),
            _ => None,
        });
    let reasons: Vec<Asked> = reasons.collect();
    Some((reasons.len(), *reasons.iter().max()?))
}

fn says_the_same(a: &Desired, b: &Desired) -> bool {
    a.objects.len() == b.objects.len()
        && a.hooks == b.hooks
        && a.skipped == b.skipped
        && a.objects.iter().zip(&b.objects).all(|(a, b)| {
            a.id == b.id && a.digest == b.digest && a.ignored == b.ignored && a.wave == b.wave
        })
}
