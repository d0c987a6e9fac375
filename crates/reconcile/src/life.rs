//! One app's state, and the one function through which anything happens to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::{Base, Bases, Revision};
use lockstep_app::{App, AppKey, Fault};
use lockstep_manifest::{Digest, Manifest, ObjectId, Uid};
use lockstep_plan::{
    Asked, Desired, DriftClock, Failure, Foreseen, Inventory, Observed, Plan, Unstepped,
};

use crate::event::{Effect, Event, Look, Rollback, Slot, World};
use crate::rollback::Recovering;
use crate::run::{Attempt, Run};
use crate::view::{CommitView, DriftObject, EventView, HistoryView, LogView, OperationView, Word};

/// How many lines of events an app keeps; the rest is in the log and in Kubernetes Events.
const EVENTS: usize = 50;

/// The source half: which commit, and what does it render to?
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Looking {
    /// Nothing to ask.
    Idle,
    /// Git is being asked.
    Resolving,
    /// A commit is being fetched and rendered.
    Rendering(Wish),
}

/// What is to be rendered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    pub(crate) revision: Revision,
    /// Commits of other repositories to take.
    pub(crate) bases: Bases,
    /// It is what the record says the cluster is kept at, and not what the target wants.
    pub(crate) kept: bool,
}

/// How it stands with the other repositories that the commit names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BaseState {
    /// They were there when they were last needed, or there are none.
    Here,
    /// One cannot be read: the app is frozen, and nothing is rendered until git has been asked again.
    Lost,
    /// Git has been asked again. Only a rendering tells whether all is well.
    Asked,
}

/// The cluster half.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Not everything that planning needs has been seen.
    Starting,
    /// Nothing to do.
    Resting,
    /// Something is to be done and something forbids it.
    Holding(Hold),
    /// A sync is to begin, and others go first.
    Queued(Arc<Plan>),
    /// The record is being written; the front comes after it. Not interruptible.
    Claiming(Arc<Plan>),
    /// The front is being carried out. Not interruptible.
    Applying(Arc<Plan>),
    /// Nothing is ready; something waits.
    Settling(Arc<Plan>),
    /// The spec says something impossible.
    Faulted,
    /// The Application is being deleted, and its objects with it.
    Leaving(Arc<Plan>),
    /// Everything is gone; the finalizer is being taken off.
    Gone,
}

/// What forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The policy wants a person's sync for a new commit.
    NewCommit,
    /// The policy lets no new commit through.
    Policy,
    /// The commit renders nothing, and everything would be pruned.
    EmptyRender,
    /// So many deletions wait for a person's sync, for this reason among others.
    Deletion(usize, Asked),
    /// The app was rolled back, and is kept there.
    Rollback,
    /// A hook of the deletion failed, or cannot be known.
    DeletionHook(Fault),
    /// `skip-reconcile` stands on the Application.
    Skip,
    /// The target cannot be resolved, or the remote not be reached: frozen.
    Source(Fault),
    /// The commit cannot be rendered.
    Render(Fault),
}

/// What a person let through.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Approval {
    pub(crate) revision: Option<Revision>,
    /// The commits of other repositories that the person saw it with.
    pub(crate) bases: Bases,
    pub(crate) deletions: BTreeSet<ObjectId>,
    pub(crate) empty: bool,
    pub(crate) by: String,
}

/// The record as we last knew it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each set where it comes about"
)]
pub(crate) struct Record {
    pub(crate) known: bool,
    pub(crate) resource_version: Option<String>,
    /// The highest epoch, and in it the number, that anything of the app was written with.
    pub(crate) order: (u64, u64),
    pub(crate) revision: Option<Revision>,
    /// Digest of the spec under which that revision was claimed.
    pub(crate) spec: String,
    /// The commits of other repositories that were claimed with it.
    pub(crate) bases: Bases,
    /// With these it cannot be rendered any more.
    pub(crate) bases_are_gone: bool,
    pub(crate) retry_at: Option<Timestamp>,
    /// The inventory in memory says more than the record.
    pub(crate) dirty: bool,
    pub(crate) dirty_since: Option<Timestamp>,
    /// Objects of the inventory that the record in the cluster does not name yet.
    pub(crate) unsaid: BTreeSet<ObjectId>,
    /// A write is under way that no front waits for.
    pub(crate) noting: bool,
    /// What it does not say must not be lost: it is written without waiting for more.
    pub(crate) hurry: bool,
    /// The id of the run that it names.
    pub(crate) run: Option<String>,
    /// The digest of what was last deployed in whole.
    pub(crate) bundle: Option<Digest>,
    /// Digest of the labels and annotations that the destination's namespace was given.
    pub(crate) namespace: String,
    /// Is the record ours to act on: have we written it in this life?
    pub(crate) claimed: bool,
}

/// Heals of one object: the back-off of an object that keeps being changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heals {
    pub(crate) times: u32,
    pub(crate) last: Timestamp,
}

/// One app's life.
#[derive(Clone, Debug)]
pub struct Life {
    pub(crate) key: AppKey,
    pub(crate) uid: Uid,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) spec_faults: Vec<Fault>,
    // the source half
    pub(crate) looking: Looking,
    pub(crate) look_again: bool,
    pub(crate) source_turn: u64,
    pub(crate) source_fault: Option<Fault>,
    pub(crate) source_failures: u32,
    pub(crate) source_retry_at: Option<Timestamp>,
    pub(crate) render_fault: Option<(Revision, Fault)>,
    pub(crate) target: Option<Revision>,
    /// The other repositories that the target's commit names, with the commits that they are at.
    pub(crate) bases: BTreeMap<Base, Option<Revision>>,
    pub(crate) base_state: BaseState,
    pub(crate) target_seen_at: Option<Timestamp>,
    pub(crate) enforced: Option<Slot>,
    /// The enforced commit has not been brought to the cluster yet.
    pub(crate) fresh: bool,
    pub(crate) next: Option<Slot>,
    /// Where the app is kept instead of at its target.
    pub(crate) rollback: Option<Rollback>,
    /// What was deployed once and is being brought here, and how often that was asked.
    pub(crate) recovering: Option<Recovering>,
    pub(crate) recoveries: u64,
    /// The hooks of the deletion, when git is not to be asked any more; or why they are not known.
    pub(crate) will: Option<Arc<Desired>>,
    pub(crate) will_fault: Option<Fault>,
    // the cluster half
    pub(crate) phase: Phase,
    pub(crate) turn: u64,
    pub(crate) record: Record,
    pub(crate) inventory: Inventory,
    pub(crate) observed: Observed,
    pub(crate) failures: BTreeMap<ObjectId, Failure>,
    pub(crate) touched: BTreeSet<ObjectId>,
    pub(crate) drift: BTreeMap<ObjectId, DriftClock>,
    pub(crate) drift_live: BTreeMap<ObjectId, Arc<Manifest>>,
    /// What was seen before the first rendering, which says what of it counts.
    pub(crate) early: BTreeMap<ObjectId, Option<Arc<Manifest>>>,
    /// Whose fingerprints may be of other rules than those of now, and of which of them the server is being asked.
    pub(crate) doubtful: BTreeSet<ObjectId>,
    pub(crate) measuring: BTreeSet<ObjectId>,
    pub(crate) heals: BTreeMap<ObjectId, Heals>,
    /// What is being put back right now, and since when it differed.
    pub(crate) healing: BTreeMap<ObjectId, Timestamp>,
    /// About how far the answers to the front have come.
    pub(crate) answered: usize,
    /// The uids of what was said to be gone while the front was being carried out.
    pub(crate) gone_meanwhile: BTreeSet<Uid>,
    /// We made the destination's namespace, and the watch has not said so yet.
    pub(crate) namespace_made: bool,
    pub(crate) deleting: BTreeSet<ObjectId>,
    pub(crate) approval: Approval,
    pub(crate) run: Option<Run>,
    /// A sync of the enforced commit was tried, and is not begun again by itself.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) guard: crate::guard::Guard,
    /// Objects that somebody gave up while the app was being deleted.
    pub(crate) leaked: Vec<ObjectId>,
    pub(crate) order: Option<crate::orders::Order>,
    /// The order of the spec that was taken and may still stand there.
    pub(crate) heard: Option<lockstep_app::app::RequestedSync>,
    // for people
    pub(crate) unstepped: BTreeMap<ObjectId, Unstepped>,
    pub(crate) shown: Option<Arc<Plan>>,
    pub(crate) probed: BTreeMap<ObjectId, Foreseen>,
    pub(crate) probed_plan: Option<Digest>,
    pub(crate) ledger: BTreeMap<ObjectId, DriftObject>,
    pub(crate) live: Option<CommitView>,
    pub(crate) last_operation: Option<OperationView>,
    /// What was only tried, or refused, since: nothing of it was done.
    pub(crate) tried: Option<OperationView>,
    pub(crate) history: VecDeque<HistoryView>,
    pub(crate) log: VecDeque<LogView>,
    pub(crate) events: VecDeque<EventView>,
    pub(crate) word: (Word, Timestamp),
    pub(crate) compared_at: Option<Timestamp>,
    pub(crate) applied_at: Option<(Timestamp, Timestamp)>,
    pub(crate) healthy_at: Option<Timestamp>,
    pub(crate) condition_times: BTreeMap<(String, String), Timestamp>,
    /// What the inventory gained (true) and lost (false) since somebody last asked.
    pub(crate) inventory_changes: Vec<(ObjectId, bool)>,
    /// Heals that ended since somebody last asked: object, since when it differed.
    pub(crate) healed: Vec<(ObjectId, Timestamp)>,
}

impl Life {
    /// A life about which nothing is known yet.
    pub fn new(key: AppKey, uid: Uid, now: Timestamp) -> Self {
        Self {
            key,
            uid,
            app: None,
            spec_faults: Vec::new(),
            looking: Looking::Idle,
            look_again: false,
            source_turn: 0,
            source_fault: None,
            source_failures: 0,
            source_retry_at: None,
            render_fault: None,
            target: None,
            bases: BTreeMap::new(),
            base_state: BaseState::Here,
            target_seen_at: None,
            enforced: None,
            fresh: false,
            next: None,
            rollback: None,
            recovering: None,
            recoveries: 0,
            will: None,
            will_fault: None,
            phase: Phase::Starting,
            turn: 0,
            record: Record::default(),
            inventory: Inventory::default(),
            observed: Observed::default(),
            failures: BTreeMap::new(),
            touched: BTreeSet::new(),
            drift: BTreeMap::new(),
            drift_live: BTreeMap::new(),
            early: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            measuring: BTreeSet::new(),
            heals: BTreeMap::new(),
            healing: BTreeMap::new(),
            answered: 0,
            gone_meanwhile: BTreeSet::new(),
            namespace_made: false,
            deleting: BTreeSet::new(),
            approval: Approval::default(),
            run: None,
            attempt: None,
            guard: crate::guard::Guard::default(),
            leaked: Vec::new(),
            order: None,
            heard: None,
            unstepped: BTreeMap::new(),
            shown: None,
            probed: BTreeMap::new(),
            probed_plan: None,
            ledger: BTreeMap::new(),
            live: None,
            last_operation: None,
            tried: None,
            history: VecDeque::new(),
            log: VecDeque::new(),
            events: VecDeque::new(),
            word: (Word::Unknown, now),
            compared_at: None,
            applied_at: None,
            healthy_at: None,
            condition_times: BTreeMap::new(),
            inventory_changes: Vec::new(),
            healed: Vec::new(),
        }
    }

    /// Takes one piece of news and says what to ask of the world.
    ///
    /// Shape: the machine does nothing by itself; the same news in the same state gives the same effects. News of an
    /// older turn is dropped here and nowhere else.
    pub fn step(&mut self, event: Event, world: &World<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let was_applying = matches!(self.phase, Phase::Applying(_));
        match event {
            Event::Specified(app) => self.specified(app, &mut effects),
            Event::Misspecified(faults) => self.spec_faults = faults,
            Event::Permitted => {
                self.failures
                    .retain(|_, failure| !failure.fault.code.starts_with("project."));
                // What the project says of bases is asked where they are resolved, and nowhere else.
                if !self.bases.is_empty()
                    || self
                        .source_fault
                        .as_ref()
                        .is_some_and(|f| f.code.starts_with("project."))
                {
                    self.look_again = true;
                }
            }
            Event::Recalled(recalled, history) => {
                self.recalled(*recalled, history, &mut effects);
            }
            Event::Poke(Look::Source) => self.look_again = true,
            Event::Poke(Look::Cluster) | Event::Tick => {}
            Event::Resolved {
                turn,
                result,
                bases,
            } => {
                if turn == self.source_turn {
                    self.resolved(result, bases, world.now, &mut effects);
                }
            }
            Event::Rendered {
                turn,
                revision,
                bases,
                result,
            } => {
                if turn == self.source_turn {
                    self.rendered(&revision, bases, result, world.now, &mut effects);
                }
            }
            Event::Saw(id, seen, live) => {
                if !self.saw(&id, seen, live, world.now) {
                    return effects; // older than what we know, or nothing that matters
                }
            }
            Event::Gone {
                id,
                uid,
                resource_version,
            } => {
                if !self.gone(&id, uid.as_ref(), resource_version, world.now) {
                    return effects;
                }
            }
            Event::Claimed { turn, result } => self.claimed(turn, result, world, &mut effects),
            Event::Applied { turn, id, outcome } => {
                if turn == self.turn {
                    self.applied(&id, outcome, world.now);
                }
                return effects; // the front is planned anew when all of it is done
            }
            Event::FrontDone { turn } => {
                if turn == self.turn && matches!(self.phase, Phase::Applying(_)) {
                    self.phase = Phase::Starting;
                }
            }
            Event::Probed { plan, foreseen } => self.probed(&plan, foreseen),
            Event::Measured(found) => self.measured(found, world.now),
            Event::Recovered { turn, result } => self.recovered(turn, result, world),
            Event::Stored { bundle, result } => {
                self.stored(&bundle, result, world.now, &mut effects);
            }
            Event::Guarded(result) => self.guarded(result, world.now, &mut effects),
            Event::Found(entries) => self.found(entries, world.now),
        }
        self.look(world, &mut effects);
        self.think(world, &mut effects);
        // Much is seen while a front is carried out, and the word is the same until it is done.
        if !was_applying || !matches!(self.phase, Phase::Applying(_)) {
            self.refresh_word(world.now);
        }
        effects
    }

    fn specified(&mut self, app: Arc<App>, effects: &mut Vec<Effect>) {
        self.spec_faults.clear();
        let old = self.app.as_ref();
        if old.is_none_or(|old| old.source_digest != app.source_digest) {
            self.look_again = true;
        }
        if app.refresh.is_some() {
            self.look_again = true;
            effects.push(Effect::Heard);
        }
        // Only what stands in the spec now is an order: another replica may have carried out what stood there before.
        if app.requested != self.heard {
            self.order = app.requested.clone().map(crate::orders::Order::from_spec);
            self.heard = None;
        }
        self.guard = crate::guard::Guard::Idle;
        self.app = Some(app);
    }

    /// Which Application this is.
    pub fn key(&self) -> &AppKey {
        &self.key
    }

    /// The Application's uid: another one of the same name is another life.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The app as it is meant, once that is known.
    pub fn app(&self) -> Option<&Arc<App>> {
        self.app.as_ref()
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Is it finding out what its commit wants?
    pub fn is_looking(&self) -> bool {
        self.looking != Looking::Idle
    }

    /// Is it writing, as part of a sync? Then it counts among the few that may do so at once.
    pub fn is_syncing(&self) -> bool {
        self.run.is_some() && matches!(self.phase, Phase::Claiming(_) | Phase::Applying(_))
    }

    /// Does a deletion of its wait until the other apps of the repository are rendered?
    pub fn waits_for_others(&self) -> bool {
        let (Phase::Settling(plan) | Phase::Leaving(plan)) = &self.phase else {
            return false;
        };
        plan.waiting
            .iter()
            .any(|(_, waiting)| *waiting == lockstep_plan::Waiting::Others)
    }

    /// Has its record been read?
    pub fn is_recalled(&self) -> bool {
        self.record.known
    }

    /// Everything it may have touched.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The objects it was seen to have.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// What git wants of it now: the next commit's, else the enforced one's.
    pub fn desired(&self) -> Option<&Arc<Desired>> {
        self.next
            .as_ref()
            .or(self.enforced.as_ref())
            .map(|slot| &slot.desired)
    }

    /// The commit that the cluster is kept at.
    pub fn enforced(&self) -> Option<&Slot> {
        self.enforced.as_ref()
    }

    /// The JSON pointers that do not count as drift on this object.
    pub fn ignored(&self, id: &ObjectId) -> Vec<String> {
        let slot = self.enforced.as_ref().or(self.next.as_ref());
        slot.and_then(|slot| slot.desired.get(id))
            .map(|w| w.ignored.clone())
            .unwrap_or_default()
    }

    /// The objects that were put back since this was last asked, each with the moment its drift was noticed.
    pub fn take_healed(&mut self) -> Vec<(ObjectId, Timestamp)> {
        std::mem::take(&mut self.healed)
    }

    /// What the inventory gained (true) and lost (false) since this was last asked.
    pub fn take_inventory_changes(&mut self) -> Vec<(ObjectId, bool)> {
        std::mem::take(&mut self.inventory_changes)
    }

    /// The commit that the target names, as far as known.
    pub fn target(&self) -> Option<&Revision> {
        self.target.as_ref()
    }

    /// The other repositories that its commit names, with the commits they are at as far as known.
    pub fn bases(&self) -> &BTreeMap<Base, Option<Revision>> {
        &self.bases
    }

    /// Is the source frozen: the target not resolved, or the remote not reached?
    pub fn is_frozen(&self) -> bool {
        self.source_fault.is_some()
    }

    /// The live object as it was when drift was noticed on it.
    pub fn before(&self, id: &ObjectId) -> Option<&Arc<Manifest>> {
        self.drift_live.get(id)
    }

    pub(crate) fn note(&mut self, at: Timestamp, source: &str, text: String) {
        if self.events.front().is_some_and(|last| last.text == text) {
            return;
        }
        self.events.push_front(EventView {
            at,
            text,
            source: source.to_owned(),
        });
        self.events.truncate(EVENTS);
    }
}

/// Argo CD's self-heal back-off: 0, 2, 6, 18, 54, 162, then 300 seconds.
pub(crate) fn heal_wait(times: u32) -> Duration {
    match times {
        0 => Duration::ZERO,
        n => Duration::from_secs(2u64.saturating_mul(3u64.saturating_pow(n - 1)).min(300)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heal_back_off_is_argo_cds() {
        let waits: Vec<u64> = (0..8).map(|n| heal_wait(n).as_secs()).collect();
        assert_eq!(waits, [0, 2, 6, 18, 54, 162, 300, 300]);
    }
}
