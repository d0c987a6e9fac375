//! The driver of lives in a world without threads, network or clock: it carries out effects and delivers news one at
//! a time, in an order that a seed chooses, as the daemon does in the order that reality chooses.
//!
//! What must hold at every moment is checked where it could break: see [`World::check`] and [`World::perform`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lockstep_app::app::{App, AppKey, Base, Bases, Revision};
use lockstep_app::{Blame, Fault};
use lockstep_manifest::{Digest, GroupKind, Manifest, ObjectId, Uid};
use lockstep_plan::{Desired, KindView, Step};
use lockstep_reconcile::view::{AppView, HistoryView};
use lockstep_reconcile::{Effect, Event, Life, Look, Order, OrderRefused};

use crate::server::{Said, Server};

mod effects;
mod watches;

/// More turns than any story here needs; reaching it means that something runs in a circle.
const TURNS: usize = 4000;

/// Things that come one after the other; between lanes every order is possible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Kind(GroupKind),
    Namespaces,
    Controllers,
    Task(u64),
}

/// The next thing of a lane.
#[derive(Clone, Debug)]
enum Item {
    Tell(AppKey, Event),
    Watched(GroupKind, Said),
    Namespaces(BTreeSet<String>),
    Ready(ObjectId),
    LetGo(ObjectId),
    Store(
        AppKey,
        Box<lockstep_reconcile::Slot>,
        Option<BTreeSet<Digest>>,
    ),
    Guard(AppKey, Vec<String>),
    Claim(AppKey, u64, Box<lockstep_reconcile::RecordDraft>),
    /// With the uid of the object that was seen when it was asked for.
    Step(AppKey, u64, Step, Option<Uid>),
}

/// One app, as the daemon has it.
struct Actor {
    app: Arc<App>,
    life: Life,
    desired: Option<Arc<Desired>>,
    history: Vec<HistoryView>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) server: Server,
    /// What each commit holds.
    pub(crate) commits: BTreeMap<Revision, Vec<Manifest>>,
    /// What each app's target names.
    pub(crate) targets: BTreeMap<AppKey, Revision>,
    /// Git cannot be reached, and why.
    pub(crate) git_is_down: bool,
    /// Other repositories and where they are, and which of them a commit names.
    pub(crate) bases: Bases,
    pub(crate) names: BTreeMap<Revision, Vec<Base>>,
    /// Commits that do not render.
    pub(crate) broken: BTreeSet<Revision>,
    /// Deployments that never become ready, by name.
    pub(crate) never_ready: BTreeSet<String>,
    /// What the server says to the next writes of these objects: whose move it is.
    pub(crate) refuses: BTreeMap<ObjectId, Blame>,
    /// What happens to the next record writes: true is written all the same, and not answered.
    pub(crate) record_faults: VecDeque<bool>,
    /// How many of four claims are made beside the record, where that may be.
    pub(crate) beside: usize,
    /// When the process is killed: after so many turns, each counted from the kill before.
    pub(crate) kills: VecDeque<usize>,
    /// Which hook was made in which run and phase.
    pub(crate) ran: BTreeSet<(String, ObjectId)>,
    /// The uids of objects whose deletion the server took from us.
    deleted: BTreeSet<Uid>,
    /// Kinds whose watch is broken.
    pub(crate) unseen: BTreeSet<GroupKind>,
    pub(crate) leading: bool,
    pub(crate) watches_forget: bool,
    /// Every write that was asked for, in words.
    pub(crate) writes: Vec<String>,
    pub(crate) farewells: Vec<AppKey>,
    /// What was deployed and is stored.
    pub(crate) bundles: BTreeMap<(AppKey, Digest), lockstep_reconcile::Slot>,
    actors: BTreeMap<AppKey, Actor>,
    apps: BTreeMap<AppKey, Arc<App>>,
    kinds: BTreeMap<GroupKind, KindView>,
    watched: BTreeSet<GroupKind>,
    namespaces: Option<BTreeSet<String>>,
    owners: BTreeMap<ObjectId, AppKey>,
    lanes: BTreeMap<Lane, VecDeque<Item>>,
    wakes: BTreeMap<AppKey, Timestamp>,
    /// News and watch events that were delivered once, to be delivered again when they are old.
    old_news: Vec<(AppKey, Event)>,
    tasks: u64,
    random: u64,
}

impl World {
    /// An empty cluster with the namespace `shop`, and nobody in it.
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            now: Timestamp::UNIX_EPOCH,
            server: Server::default(),
            commits: BTreeMap::new(),
            targets: BTreeMap::new(),
            git_is_down: false,
            bases: Bases::new(),
            names: BTreeMap::new(),
            broken: BTreeSet::new(),
            never_ready: BTreeSet::new(),
            refuses: BTreeMap::new(),
            record_faults: VecDeque::new(),
            beside: 0,
            kills: VecDeque::new(),
            ran: BTreeSet::new(),
            deleted: BTreeSet::new(),
            unseen: BTreeSet::new(),
            leading: true,
            watches_forget: false,
            writes: Vec::new(),
            farewells: Vec::new(),
            bundles: BTreeMap::new(),
            actors: BTreeMap::new(),
            apps: BTreeMap::new(),
            kinds: BTreeMap::new(),
            watched: BTreeSet::new(),
            namespaces: None,
            owners: BTreeMap::new(),
            lanes: BTreeMap::new(),
            wakes: BTreeMap::new(),
            old_news: Vec::new(),
            tasks: 0,
            random: seed | 1,
        };
        world.server.make(&crate::apps::namespace("shop"));
        world.start();
        world
    }

    /// Puts manifests into git as one commit, and lets the app's target name it.
    pub(crate) fn push(&mut self, key: &AppKey, manifests: Vec<Manifest>) -> Revision {
        let digits = format!("{:040x}", 0xabc_0000 + self.commits.len());
        let revision: Revision = digits.parse().expect("40 hex digits");
        self.commits.insert(revision.clone(), manifests);
        self.targets.insert(key.clone(), revision.clone());
        revision
    }

    /// Somebody applies an Application, or changes one.
    pub(crate) fn specify(&mut self, app: App) {
        let app = Arc::new(app);
        self.apps.insert(app.key.clone(), Arc::clone(&app));
        if let Some(actor) = self.actors.get_mut(&app.key) {
            actor.app = Arc::clone(&app);
        } else {
            self.begin(&app);
        }
        self.feed(&app.key.clone(), Event::Specified(app));
    }

    /// Somebody deletes the Application, with its objects.
    pub(crate) fn leave(&mut self, key: &AppKey) {
        let app = self.apps[key].as_ref().clone();
        let finalizers = app.finalizers.clone();
        let mut leaving = crate::apps::leaving(app);
        leaving.finalizers.extend(finalizers);
        self.specify(leaving);
    }

    /// What keeps the Application from going.
    pub(crate) fn finalizers(&self, key: &AppKey) -> &[String] {
        &self.apps[key].finalizers
    }

    /// The process is killed, whatever it was doing, and another one begins with what the cluster has.
    pub(crate) fn restart(&mut self) {
        let histories: BTreeMap<AppKey, Vec<HistoryView>> = self
            .actors
            .iter_mut()
            .map(|(key, actor)| (key.clone(), actor.life.view(self.now).history.into()))
            .collect();
        self.now += SignedDuration::from_millis(1); // no two processes act in the same moment
        self.actors.clear();
        self.kinds.clear();
        self.watched.clear();
        self.owners.clear();
        self.wakes.clear();
        self.old_news.clear();
        self.namespaces = None;
        self.start();
        for app in self.apps.values().cloned().collect::<Vec<_>>() {
            self.begin(&app);
            let key = app.key.clone();
            self.actors.get_mut(&key).expect("it has begun").history =
                histories.get(&key).cloned().unwrap_or_default();
            self.feed(&key, Event::Specified(app));
        }
    }

    fn start(&mut self) {
        self.spread_events();
        self.lanes.retain(|lane, _| *lane == Lane::Controllers);
        let now = self.server.namespaces();
        self.lane(Lane::Namespaces).push_back(Item::Namespaces(now));
    }

    fn begin(&mut self, app: &Arc<App>) {
        let key = app.key.clone();
        let life = Life::new(key.clone(), app.uid.clone(), self.now);
        let actor = Actor {
            app: Arc::clone(app),
            life,
            desired: None,
            history: Vec::new(),
        };
        self.actors.insert(key.clone(), actor);
        self.tell_record(&key);
    }

    fn tell_record(&mut self, key: &AppKey) {
        let history = self
            .actors
            .get(key)
            .map(|actor| actor.history.clone())
            .unwrap_or_default();
        let recalled = self.server.recall(key);
        self.task([Item::Tell(
            key.clone(),
            Event::Recalled(Box::new(recalled), history),
        )]);
    }

    pub(crate) fn order(&mut self, key: &AppKey, order: Order) -> Result<String, OrderRefused> {
        let mut actor = self.actors.remove(key).expect("the app is there");
        let result = self.in_world(|world| actor.life.order(order, world));
        self.actors.insert(key.clone(), actor);
        result.map(|(id, effects)| {
            self.after(key, effects);
            id
        })
    }

    pub(crate) fn poke(&mut self, look: Look) {
        for key in self.actors.keys().cloned().collect::<Vec<_>>() {
            self.feed(&key, Event::Poke(look));
        }
    }

    pub(crate) fn view(&mut self, key: &AppKey) -> AppView {
        let now = self.now;
        self.actors
            .get_mut(key)
            .expect("the app is there")
            .life
            .view(now)
    }

    pub(crate) fn life(&self, key: &AppKey) -> &Life {
        &self.actors.get(key).expect("the app is there").life
    }

    /// Delivers or does one thing; false when there is nothing.
    pub(crate) fn turn(&mut self) -> bool {
        self.spread_events();
        let busy: Vec<Lane> = self
            .lanes
            .iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(lane, _)| lane.clone())
            .collect();
        if busy.is_empty() {
            return false;
        }
        let lane = busy[self.pick(busy.len())].clone();
        let item = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front);
        if self.lanes.get(&lane).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(&lane);
        }
        if let Some(item) = item {
            self.take(&lane, item);
        }
        self.check();
        self.be_killed_in_time();
        true
    }

    fn be_killed_in_time(&mut self) {
        match self.kills.front_mut() {
            Some(0) => {
                self.kills.pop_front();
                self.restart();
            }
            Some(turns) => *turns -= 1,
            None => {}
        }
    }

    /// Goes on until nothing is under way; the clock moves only to `until`.
    pub(crate) fn settle_until(&mut self, until: Timestamp) {
        for _ in 0..TURNS {
            if self.turn() {
                continue;
            }
            let due = self
                .wakes
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(key, at)| (key.clone(), *at));
            match due.filter(|(_, at)| *at <= until) {
                None => {
                    self.now = self.now.max(until);
                    return;
                }
                Some((key, at)) => {
                    self.now = self.now.max(at);
                    self.wakes.remove(&key);
                    self.feed(&key, Event::Tick);
                }
            }
        }
        panic!(
            "it runs in a circle; the last writes: {:#?}",
            &self.writes[self.writes.len().saturating_sub(12)..]
        );
    }

    /// Goes on until nothing is under way, for so many seconds.
    pub(crate) fn settle(&mut self, seconds: i64) {
        self.settle_until(self.now + SignedDuration::from_secs(seconds));
    }

    /// Delivers something old once more.
    pub(crate) fn repeat_old_news(&mut self, which: usize) {
        if self.old_news.is_empty() {
            return;
        }
        let (key, event) = self.old_news[which % self.old_news.len()].clone();
        let Some(actor) = self.actors.get(&key) else {
            return;
        };
        let is_old = match &event {
            // A watch never goes back behind a deletion; it may say an old version of what is there.
            Event::Saw(id, seen, _) => actor
                .life
                .observed()
                .objects
                .get(id)
                .is_some_and(|known| known.resource_version > seen.resource_version),
            _ => true,
        };
        if is_old {
            // The clock alone may ask for a watch, and then for a write.
            self.feed(&key, Event::Tick);
            self.feed(&key, Event::Tick);
            let before = self.writes.len();
            self.feed(&key, event.clone());
            assert_eq!(
                self.writes.len(),
                before,
                "old news caused a write: {event:?}"
            );
        }
    }

    fn take(&mut self, lane: &Lane, item: Item) {
        match item {
            Item::Tell(key, event) => {
                if let Event::Rendered {
                    result: Ok(slot), ..
                } = &event
                    && let Some(actor) = self.actors.get_mut(&key)
                {
                    actor.desired = Some(Arc::clone(&slot.desired));
                }
                self.feed(&key, event);
            }
            Item::Watched(kind, said) => self.watched_said(&kind, said),
            Item::Namespaces(now) => {
                self.namespaces = Some(now);
                self.poke(Look::Cluster);
            }
            Item::Ready(id) => self.server.is_ready(&id, true),
            Item::LetGo(id) => self.server.release(&id),
            Item::Store(key, slot, keep) => self.store(&key, *slot, keep.as_ref()),
            Item::Guard(key, finalizers) => self.guard(&key, finalizers),
            Item::Claim(key, turn, draft) => {
                let fault = self.record_faults.pop_front();
                let is_beside =
                    self.beside > 0 && draft.added.is_some() && self.pick(4) < self.beside;
                let written = (fault != Some(false)).then(|| {
                    if is_beside {
                        self.server.claim_beside(&key, &draft);
                        return Ok(None);
                    }
                    self.server.claim(&key, &draft).map(Some)
                });
                let lost = |text: &str| Fault::new(Blame::Environment, "record.lost", text);
                let result = match (fault, written) {
                    (Some(false), _) => Err(Fault::new(
                        Blame::Environment,
                        "cluster.unreachable",
                        "refused",
                    )),
                    (Some(true), _) => Err(lost("nobody knows whether it was written")),
                    (None, Some(Ok(version))) => Ok(version),
                    (None, _) => Err(lost("somebody else wrote it")),
                };
                let is_lost = result
                    .as_ref()
                    .is_err_and(|fault| fault.code == "record.lost");
                self.task([Item::Tell(key.clone(), Event::Claimed { turn, result })]);
                if is_lost {
                    // Read after the answer was heard, as the daemon does.
                    let task = Lane::Task(self.tasks);
                    self.tell_record(&key);
                    let read = self
                        .lanes
                        .remove(&Lane::Task(self.tasks))
                        .expect("it was told");
                    self.lane(task).extend(read);
                }
            }
            Item::Step(key, turn, step, uid) => {
                let outcome = self.carry_out(&key, &step, uid.as_ref());
                let event = Event::Applied {
                    turn,
                    id: step.id,
                    outcome,
                };
                self.lane(lane.clone()).push_front(Item::Tell(key, event));
            }
        }
    }

    fn feed(&mut self, key: &AppKey, event: Event) {
        let Some(mut actor) = self.actors.remove(key) else {
            return;
        };
        let effects = self.in_world(|world| actor.life.step(event, world));
        self.actors.insert(key.clone(), actor);
        self.after(key, effects);
    }

    fn after(&mut self, key: &AppKey, effects: Vec<Effect>) {
        let changes = self
            .actors
            .get_mut(key)
            .map(|actor| actor.life.take_inventory_changes());
        for (id, gained) in changes.into_iter().flatten() {
            if gained {
                self.owners.entry(id).or_insert_with(|| key.clone());
            } else if self.owners.get(&id) == Some(key) {
                self.owners.remove(&id);
                for other in self.actors.keys().filter(|other| *other != key) {
                    self.wakes.insert(other.clone(), self.now);
                }
            }
        }
        for effect in effects {
            self.perform(key, effect);
        }
    }

    fn in_world<T>(&self, with: impl FnOnce(&lockstep_reconcile::World<'_>) -> T) -> T {
        let kinds = |kind: &GroupKind| self.kinds.get(kind).cloned();
        let owner = |id: &ObjectId| {
            self.owners
                .get(id)
                .map(|key| (key.clone(), key.name.clone()))
        };
        let wanted_by = |me: &AppKey, id: &ObjectId| {
            let mut others = self.actors.iter().filter(|(key, _)| *key != me);
            let wants = |actor: &Actor| actor.desired.as_ref().is_some_and(|d| d.get(id).is_some());
            others
                .find(|(_, actor)| wants(actor))
                .map(|(key, _)| key.name.clone())
        };
        // One at a time, so that others have to wait for their turn.
        let may_begin = || !self.actors.values().any(|actor| actor.life.is_syncing());
        let others_looking = || self.actors.values().any(|actor| actor.life.is_looking());
        with(&lockstep_reconcile::World {
            now: self.now,
            leading: self.leading,
            kinds: &kinds,
            namespaces: self.namespaces.as_ref(),
            owner: &owner,
            wanted_by: &wanted_by,
            others_looking: &others_looking,
            may_begin: &may_begin,
        })
    }

    fn task(&mut self, items: impl IntoIterator<Item = Item>) {
        self.tasks += 1;
        let lane = Lane::Task(self.tasks);
        self.lane(lane).extend(items);
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Item> {
        self.lanes.entry(lane).or_default()
    }

    pub(crate) fn pick(&mut self, among: usize) -> usize {
        // xorshift64*: small, and the same everywhere.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        usize::try_from(self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % among
    }

    /// What must hold at every moment: the record names everything that carries the app's mark.
    fn check(&self) {
        for key in self.apps.keys() {
            let record = self.server.recall(key);
            for id in self.server.marked(key) {
                let is_on_record = record.entries.contains_key(&id);
                let is_let_go = self.actors.iter().any(|(other, actor)| {
                    other != key && actor.desired.as_ref().is_some_and(|d| d.get(&id).is_some())
                });
                assert!(
                    is_on_record || is_let_go,
                    "{id} of {} is in the cluster and not on record",
                    key.name
                );
            }
        }
    }
}
