//! The engine: the one writer. It owns every app's life, feeds it news, and carries out what it asks for.
//!
//! Reading order: [`Engine::start`] is the loop; `intake` turns watches into news, `kinds` keeps the watches of managed
//! kinds, `look` and `act` carry out effects on git and on the cluster, `publish` tells the cluster and the board.

mod act;
mod alarms;
mod contain;
mod goodbye;
mod intake;
mod kinds;
mod look;
mod make;
mod orders;
mod others;
mod past;
mod publish;
mod recall;
mod strays;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockstep_app::Fault;
use lockstep_app::app::{App, AppKey, RemoteUrl, Revision};
use lockstep_app::config::Config;
use lockstep_app::credentials::Logins;
use lockstep_app::project::Project;
use lockstep_cluster::lease::Lease;
use lockstep_cluster::{Apps, Cluster, Seen as Watched};
use lockstep_manifest::{GroupKind, Manifest, ObjectId, Sensitive, Uid, marks};
use lockstep_plan::Desired;
use lockstep_reconcile::view::{AppView, HistoryView, OperationView};
use lockstep_reconcile::{Effect, Event, Life, Look, Recalled, World};
use lockstep_source::{Refs, Sources};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Command, RepositoryView};
use crate::metrics::Metrics;

use act::claim::{Claiming, Together};
use alarms::Alarms;
use kinds::Kinds;
use make::RenderMemo;
use publish::{Publication, Sending};
use strays::Strays;
use turns::Turns;

/// News that wait for the engine. A relist of 40,000 objects comes in faster than it is read, and then waits in the
/// watch's own connection; 4,096 messages of some 4 KB are 16 MB at worst.
const WAITING_NEWS: usize = 4096;
/// News taken in one go before the board is published once for all of them.
const AT_ONCE: usize = 256;
/// Operations that REST can still be asked about.
const OPERATIONS: usize = 512;

/// Where a watch belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Feed {
    Applications,
    Projects,
    Records,
    Secrets,
    Namespaces,
    Kind(GroupKind),
}

/// Everything that reaches the engine.
#[derive(Debug)]
pub(crate) enum News {
    Watched(Feed, Watched),
    App {
        key: AppKey,
        uid: Uid,
        event: Event,
    },
    Checked {
        kind: GroupKind,
        id: ObjectId,
        live: Option<Box<Manifest>>,
    },
    Listed {
        remote: RemoteUrl,
        result: Result<Arc<Refs>, Fault>,
    },
    Rendered {
        key: AppKey,
        memo: RenderMemo,
    },
    Published {
        key: AppKey,
        result: Result<(), Fault>,
    },
    Record {
        key: AppKey,
        result: Result<Option<Box<Manifest>>, Fault>,
    },
    /// The claims of several apps were made in one write, or not.
    Claimed {
        of: Together,
        result: Result<(), Fault>,
    },
    Config(Result<Arc<Config>, Fault>),
    /// Work for this app panicked.
    Broke {
        key: AppKey,
        uid: Uid,
    },
    /// What everything rests on panicked: the process had better end, and begin anew.
    Lost(&'static str),
    Served,
    Leading(bool),
}

/// What the engine is given.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) cluster: Cluster,
    pub(crate) lease: Arc<Lease>,
    pub(crate) sources: Sources,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: watch::Sender<Arc<Board>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) inbox: mpsc::Receiver<News>,
}

/// The channel that everything reaches the engine through.
pub(crate) fn channel() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(WAITING_NEWS)
}

pub(crate) struct Engine {
    config: Arc<Config>,
    cluster: Cluster,
    apps: Apps,
    lease: Arc<Lease>,
    sources: Sources,
    metrics: Arc<Metrics>,
    board: watch::Sender<Arc<Board>>,
    commands: mpsc::Receiver<Command>,
    news: mpsc::Sender<News>,
    inbox: mpsc::Receiver<News>,
    stop: CancellationToken,
    work: JoinSet<()>,
    renders: Arc<Semaphore>,
    /// What is stored of deployments goes two at a time: nobody waits for it.
    storing: Arc<Semaphore>,
    /// Does no app sync, or find out what it wants?
    calm: watch::Sender<bool>,
    /// Files that renderings share, for as long as any is under way: at rest nothing of it is kept.
    parsed: Weak<lockstep_render::Parsed>,
    leading: bool,
    /// The watches that have said once everything there is.
    read: HashSet<Feed>,
    listing: HashMap<Feed, BTreeSet<String>>,

    /// Boxed, since a life is taken out and put back for every piece of news.
    lives: BTreeMap<AppKey, Box<Life>>,
    written: BTreeMap<AppKey, Arc<Manifest>>,
    names: BTreeMap<AppKey, Arc<App>>,
    by_set: HashMap<String, AppKey>,
    strays: Strays,
    /// What stands in each record; none where its app has taken that in and knows more, or where it cannot be read.
    records: BTreeMap<String, Option<Box<Recalled>>>,
    /// When each record that could not be read is asked for again.
    unread: Alarms,
    projects: BTreeMap<String, Arc<Project>>,
    bad_projects: BTreeMap<String, Fault>,
    secrets: BTreeMap<String, Sensitive<Manifest>>,
    logins: Arc<Logins>,
    namespaces: BTreeSet<String>,
    tokens: Arc<BTreeMap<String, String>>,
    webhook_secret: Option<Sensitive<String>>,
    histories: HashMap<AppKey, Vec<HistoryView>>,
    /// Applications whose status says that a record was written for them.
    recorded: HashSet<AppKey>,
    shorts: HashMap<AppKey, (String, String)>,
    short_names: HashMap<(String, String), BTreeSet<AppKey>>,
    kinds: Kinds,
    owners: HashMap<ObjectId, AppKey>,
    wants: HashMap<AppKey, Arc<Desired>>,
    wanted: HashMap<ObjectId, BTreeSet<AppKey>>,
    memos: HashMap<AppKey, RenderMemo>,
    /// By remote: the apps that are finding out what their commit wants.
    looking: HashMap<RemoteUrl, BTreeSet<AppKey>>,
    /// By remote and target: the newest commit that all its apps were told to look for.
    roused: HashMap<(RemoteUrl, String), Revision>,

    claiming: Claiming,
    turns: Turns,
    wakes: Alarms,
    dirty: BTreeSet<AppKey>,
    publications: HashMap<AppKey, Publication>,
    /// When each of them is due: those that somebody waits for, and the others.
    told: Alarms,
    told_at_leisure: Alarms,
    sending: Sending,
    repositories: BTreeMap<RemoteUrl, RepositoryView>,
    polls: BTreeMap<RemoteUrl, Timestamp>,
    polls_are_stale: bool,
    reconciles: HashMap<AppKey, Instant>,
    config_fault: Option<Fault>,
    cluster_fault: Option<Fault>,
    // what the board is made of
    version: u64,
    started_at: Timestamp,
    views: BTreeMap<(String, String), Arc<AppView>>,
    board_keys: HashMap<AppKey, (String, String)>,
    changed: BTreeMap<(String, String), u64>,
    operations: BTreeMap<String, Arc<OperationView>>,
    operation_order: VecDeque<String>,
    board_is_stale: bool,
    board_due: Timestamp,
    lost: Option<&'static str>,
    now: Timestamp,
}

impl Engine {
    pub(crate) fn new(parts: Parts, stop: CancellationToken) -> Self {
        let apps = Apps::new(parts.cluster.clone(), parts.config.namespace.clone());
        Self {
            config: parts.config,
            cluster: parts.cluster,
            apps,
            lease: parts.lease,
            sources: parts.sources,
            metrics: parts.metrics,
            board: parts.board,
            commands: parts.commands,
            news: parts.news,
            inbox: parts.inbox,
            stop,
            work: JoinSet::new(),
            // Rendering is computation; more at once than there are cores only takes memory.
            renders: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(2, usize::from),
            )),
            storing: Arc::new(Semaphore::new(2)),
            calm: watch::Sender::new(true),
            parsed: Weak::new(),
            leading: false,
            read: HashSet::new(),
            listing: HashMap::new(),
            lives: BTreeMap::new(),
            written: BTreeMap::new(),
            names: BTreeMap::new(),
            by_set: HashMap::new(),
            strays: Strays::default(),
            records: BTreeMap::new(),
            unread: Alarms::default(),
            projects: BTreeMap::new(),
            bad_projects: BTreeMap::new(),
            secrets: BTreeMap::new(),
            logins: Arc::new(Logins::default()),
            namespaces: BTreeSet::new(),
            tokens: Arc::new(BTreeMap::new()),
            webhook_secret: None,
            histories: HashMap::new(),
            recorded: HashSet::new(),
            shorts: HashMap::new(),
            short_names: HashMap::new(),
            kinds: Kinds::default(),
            owners: HashMap::new(),
            wants: HashMap::new(),
            wanted: HashMap::new(),
            memos: HashMap::new(),
            looking: HashMap::new(),
            roused: HashMap::new(),
            claiming: Claiming::default(),
            turns: Turns::default(),
            wakes: Alarms::default(),
            dirty: BTreeSet::new(),
            publications: HashMap::new(),
            told: Alarms::default(),
            told_at_leisure: Alarms::default(),
            sending: Sending::default(),
            repositories: BTreeMap::new(),
            polls: BTreeMap::new(),
            polls_are_stale: true,
            reconciles: HashMap::new(),
            config_fault: None,
            cluster_fault: None,
            version: 0,
            started_at: crate::clock::now(),
            views: BTreeMap::new(),
            board_keys: HashMap::new(),
            changed: BTreeMap::new(),
            operations: BTreeMap::new(),
            operation_order: VecDeque::new(),
            board_is_stale: true,
            board_due: crate::clock::now(),
            lost: None,
            now: crate::clock::now(),
        }
    }

    /// Runs until told to stop; then takes no new work, lets what is under way end, and publishes what it knows.
    pub(crate) async fn start(mut self) -> Result<(), crate::tasks::Cause> {
        self.discover();
        self.start_watches();
        let mut batch = Vec::with_capacity(AT_ONCE);
        let stop = self.stop.clone();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(command) = self.commands.recv() => {
                    self.now = crate::clock::now();
                    self.command(command);
                }
                _ = self.inbox.recv_many(&mut batch, AT_ONCE) => {}
                () = tokio::time::sleep(wake) => {}
            }
            while self.work.try_join_next().is_some() {}
            self.now = crate::clock::now();
            for news in batch.drain(..) {
                self.take(news);
            }
            self.fire_wakes();
            self.read_unread_records();
            self.make_claims();
            self.poll_remotes();
            if self.board_is_due() {
                self.publish();
            }
            self.send_statuses();
            if self.lost.is_some() {
                break;
            }
        }
        self.finish().await;
        self.lost.map_or(Ok(()), |what| {
            Err(format!("{what} broke; this is a bug, report it with this log").into())
        })
    }

    /// Has the board been left alone long enough? Under load it tells of many changes at once.
    fn board_is_due(&self) -> bool {
        self.now >= self.board_due
    }

    /// Is everything read that has to be read once before anything may be decided?
    fn complete(&self) -> bool {
        [
            Feed::Applications,
            Feed::Projects,
            Feed::Records,
            Feed::Secrets,
            Feed::Namespaces,
        ]
        .iter()
        .all(|feed| self.read.contains(feed))
    }

    fn may_act(&self) -> bool {
        self.leading && self.complete()
    }

    fn take(&mut self, news: News) {
        match news {
            News::Watched(feed, seen) => self.watched(&feed, seen),
            News::App { key, uid, event } => self.app_news(&key, &uid, event),
            News::Checked { kind, id, live } => self.checked(&kind, &id, live),
            News::Listed { remote, result } => self.listed(&remote, result),
            News::Rendered { key, memo } => {
                self.memos.insert(key, memo);
            }
            News::Published { key, result } => self.published(&key, result),
            News::Record { key, result } => self.record_read(&key, result),
            News::Claimed { of, result } => self.claimed_together(of, &result),
            News::Config(result) => self.configured(result),
            News::Broke { key, uid } => self.work_broke(&key, &uid),
            News::Lost(what) => self.lost = Some(what),
            News::Served => self.served_changed(),
            News::Leading(leading) => {
                self.leading = leading;
                if leading {
                    self.take_over_claims();
                }
                self.poke_all(Look::Source);
            }
        }
    }

    fn app_news(&mut self, key: &AppKey, uid: &Uid, event: Event) {
        // News of an Application that was deleted and made again under the same name is nobody's.
        if self.lives.get(key).is_none_or(|life| life.uid() != uid) {
            return;
        }
        if let Event::Claimed {
            result: Ok(Some(_)),
            ..
        } = &event
        {
            self.settle_claim(uid);
        }
        let lost = matches!(&event, Event::Claimed { result: Err(fault), .. } if fault.code == "record.lost");
        self.note_bases(key, &event);
        if let Event::Rendered {
            result: Ok(slot), ..
        } = &event
        {
            self.register_wants(key, Some(Arc::clone(&slot.desired)));
        }
        if let Event::Resolved {
            result: Ok(revision),
            ..
        } = &event
        {
            self.rouse_siblings(key, revision);
        }
        self.step(key, event);
        if lost {
            self.read_record(key);
        }
    }

    /// Feeds one piece of news to one life, and carries out what it asks for.
    fn step(&mut self, key: &AppKey, event: Event) {
        self.step_with(key, event, None);
    }

    fn step_with(&mut self, key: &AppKey, event: Event, refs: Option<&Arc<Refs>>) {
        self.with_life(key, refs, |life, world| life.step(event, world));
    }

    /// Puts a life back after something happened to it, and does what it asks.
    fn after(
        &mut self,
        key: &AppKey,
        mut life: Box<Life>,
        effects: Vec<Effect>,
        refs: Option<&Arc<Refs>>,
    ) {
        let changes = life.take_inventory_changes();
        self.note_looking(key, life.is_looking());
        self.turns.note(key, life.is_syncing());
        for (_, since) in life.take_healed() {
            let took = self.now.duration_since(since);
            self.metrics.healed(took.as_secs_f64().max(0.0));
        }
        self.lives.insert(key.clone(), life);
        self.dirty.insert(key.clone());
        self.register_inventory(key, changes);
        for effect in effects {
            self.perform(key, effect, refs);
        }
        self.call_next();
    }

    /// Wakes those whose turn it is to sync.
    fn call_next(&mut self) {
        while let Some(next) = self.turns.call() {
            self.wakes.set(&next, self.now);
        }
        let is_calm = self.turns.is_idle() && self.looking.is_empty();
        self.calm
            .send_if_modified(|calm| std::mem::replace(calm, is_calm) != is_calm);
    }

    fn in_world<T>(&self, me: &AppKey, with: impl FnOnce(&World<'_>) -> T) -> T {
        let kinds = |kind: &GroupKind| self.kinds.view(kind);
        let owner = |id: &ObjectId| {
            self.owners.get(id).map(|owner| {
                (
                    owner.clone(),
                    self.names
                        .get(owner)
                        .map_or(owner.name.clone(), |app| app.key.name.clone()),
                )
            })
        };
        let wanted_by = |me: &AppKey, id: &ObjectId| {
            self.wanted
                .get(id)
                .and_then(|keys| keys.iter().find(|other| *other != me))
                .map(|other| other.name.clone())
        };
        let remote = self.remote_of(me);
        let others_looking = || {
            let looking = remote.as_ref().and_then(|remote| self.looking.get(remote));
            looking.is_some_and(|keys| keys.iter().any(|other| other != me))
        };
        let may_begin = || self.turns.may_begin(me);
        with(&World {
            now: self.now,
            leading: self.may_act(),
            kinds: &kinds,
            namespaces: self
                .read
                .contains(&Feed::Namespaces)
                .then_some(&self.namespaces),
            owner: &owner,
            wanted_by: &wanted_by,
            others_looking: &others_looking,
            may_begin: &may_begin,
        })
    }

    fn perform(&mut self, key: &AppKey, effect: Effect, refs: Option<&Arc<Refs>>) {
        match effect {
            Effect::Resolve { turn, bases } => self.resolve(key, turn, bases, refs),
            Effect::Render {
                turn,
                revision,
                bases,
            } => self.render(key, turn, revision, bases),
            Effect::Observe(kinds) => self.observe(kinds),
            Effect::Discover => self.discover(),
            Effect::Claim { turn, draft } => self.claim(key, turn, *draft),
            Effect::Apply { turn, steps } => self.apply(key, turn, steps),
            Effect::Probe { plan, steps } => self.probe(key, plan, steps),
            Effect::Measure(asked) => self.measure(key, asked),
            Effect::Queue => self.turns.queue(key),
            Effect::WakeAt(at) => {
                self.wakes.set_earlier(key, at);
            }
            Effect::Recover {
                turn,
                revision,
                bases,
                bundle,
            } => self.recover(key, turn, revision, bases, bundle),
            Effect::Store { slot, hurry, keep } => self.store(key, slot, hurry, keep),
            Effect::Guard(finalizers) => self.guard(key, finalizers),
            Effect::Find => self.find_marked(key),
            Effect::Farewell(tombstone) => self.farewell(key, tombstone.map(|draft| *draft)),
            Effect::Heard => self.heard(key),
        }
    }

    fn next_wake(&self) -> Duration {
        let wakes = self.wakes.next();
        let polls = self
            .may_act()
            .then(|| self.polls.values().min().copied())
            .flatten();
        let news = (self.board_is_stale || !self.dirty.is_empty()).then_some(self.board_due);
        let told = self.next_publication();
        let unread = self.unread.next();
        let next = [wakes, polls, news, told, unread, self.claims_due()];
        let next = next.into_iter().flatten().min();
        let Some(next) = next else {
            return Duration::from_hours(1);
        };
        // A millisecond more, so that it is not too early by a rounding and woken twice.
        Duration::try_from(next.duration_since(crate::clock::now())).unwrap_or_default()
            + Duration::from_millis(1)
    }

    fn fire_wakes(&mut self) {
        // Who asks to be woken at once waits for the next turn of the loop.
        let mut due = Vec::new();
        while let Some(key) = self.wakes.take_due(self.now) {
            due.push(key);
        }
        for key in due {
            self.wakes.clear(&key);
            self.step(&key, Event::Tick);
        }
    }

    fn project_of(&self, app: &App) -> Result<Arc<Project>, Fault> {
        if let Some(project) = self.projects.get(&app.project) {
            return Ok(Arc::clone(project));
        }
        if let Some(fault) = self.bad_projects.get(&app.project) {
            return Err(fault.clone());
        }
        Err(Fault::new(
            lockstep_app::Blame::User,
            "project.missing",
            format!(
                "there is no AppProject {:?} in namespace {}",
                app.project, self.config.namespace
            ),
        )
        .hint("create it, or name another in spec.project"))
    }

    /// The set that an app's objects are marked as part of.
    fn set_of(key: &AppKey) -> String {
        marks::set_id(&key.namespace, &key.name)
    }
}

/// Operations that the board still knows.
pub(crate) const fn operations_kept() -> usize {
    OPERATIONS
}
