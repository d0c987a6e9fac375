//! Telling: the board for faces, the Application's status for everybody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockstep_app::Fault;
use lockstep_app::app::AppKey;
use lockstep_cluster::Extras;
use lockstep_manifest::Health;
use lockstep_reconcile::view::{AppView, OperationView};
use lockstep_reconcile::{Gist, STATUS_FIELDS, says_the_same, status, tells_the_same};
use serde_json::Value;

use super::alarms::Alarms;
use super::{Engine, News, contain, operations_kept};
use crate::board::Board;
use crate::metrics::AppLabels;

/// How often the board is made anew at most: faster than a person sees, slow enough to tell of many changes at once.
const BOARD_EVERY: Duration = Duration::from_millis(20);
/// While many apps sync: each is shown a few times, and not at every step.
const BOARD_EVERY_IN_A_STORM: Duration = Duration::from_millis(200);
/// How much longer than making it took the engine does something else first: of its time a tenth at most.
const BOARD_SHARE: u32 = 10;

/// A sync that is over, and healthy, is told almost at once; the wait lets what comes with it come along.
const OVER: Duration = Duration::from_millis(50);
/// Health settles in steps; one write tells of the last.
const CALM: Duration = Duration::from_millis(500);
/// A sync that runs is told of when it has run this long: most are over before.
const RUNNING: Duration = Duration::from_secs(2);
/// A commit that changed nothing here is told of when there is time: one push makes it news for every app of its
/// repository, and the next push follows soon. Changing an Application costs an API server as much as two objects.
const NO_HURRY: Duration = Duration::from_secs(10);
/// An app whose turn to sync has not come has nothing to tell yet, and soon will.
const QUEUED: Duration = Duration::from_mins(1);
/// Statuses that are on their way at once.
const IN_FLIGHT: usize = 48;
/// Of them, those that nobody waits for.
const IN_FLIGHT_WITHOUT_HURRY: usize = 2;
/// While many apps sync or wait to, objects share the API server with statuses, and matter more: one costs it as much
/// as three ConfigMaps. A status waits this long for a moment without them; then a few at a time are told all the same.
const STORM: Duration = Duration::from_secs(5);
const IN_FLIGHT_IN_A_STORM: usize = 4;

/// What the cluster was told of one app, and when it is to be told more. What that is, is found out when it is told:
/// until then much may come, or nothing that is left of it.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// What stands in the cluster, as JSON: as values it would take six times the memory, for every app at all times.
    last: Box<[u8]>,
    gist: Gist,
    due: Option<Timestamp>,
    /// Does somebody wait for what is due?
    hurry: bool,
    in_flight: Option<Sent>,
    heard: bool,
    failures: u32,
    /// After a failure: not before.
    rest_until: Option<Timestamp>,
    counted: Option<String>,
}

/// A status that is on its way.
#[derive(Debug)]
struct Sent {
    /// What stands in the cluster once it was taken.
    then: Box<[u8]>,
    gist: Gist,
    hurry: bool,
    heard: bool,
}

/// How many statuses are on their way.
#[derive(Debug, Default)]
pub(super) struct Sending {
    all: usize,
    without_hurry: usize,
}

impl Sending {
    fn has_room(&self, hurry: bool, calm: bool) -> bool {
        let most = if calm {
            IN_FLIGHT
        } else {
            IN_FLIGHT_IN_A_STORM
        };
        self.all < most && (hurry || self.without_hurry < IN_FLIGHT_WITHOUT_HURRY)
    }

    fn begin(&mut self, hurry: bool) {
        self.all += 1;
        self.without_hurry += usize::from(!hurry);
    }

    fn end(&mut self, hurry: bool) {
        self.all = self.all.saturating_sub(1);
        self.without_hurry = self.without_hurry.saturating_sub(usize::from(!hurry));
    }
}

impl Publication {
    /// What stands in the cluster.
    pub(super) fn seen(&mut self, status: &Value) {
        self.last = bytes(status);
        self.gist = Gist::read(status);
    }

    fn last(&self) -> Value {
        serde_json::from_slice(&self.last).unwrap_or(Value::Null)
    }

    /// When something is to be told; none while it is being told.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let due = self.due.filter(|_| self.in_flight.is_none())?;
        Some(self.rest_until.map_or(due, |rest| due.max(rest)))
    }

    /// This is how the app is now, which is not how it was.
    fn want(&mut self, view: &AppView, now: Timestamp) {
        if is_unknown_yet(view) {
            return;
        }
        let gist = Gist::of(view);
        let moved = gist.sync != self.gist.sync
            || gist.state != self.gist.state
            || gist.operation != self.gist.operation // two may end within one second
            || gist.finished != self.gist.finished;
        let same_health = gist.health == self.gist.health;
        let other_commit = gist.revision != self.gist.revision;
        let settles = matches!(view.health, Health::Progressing { .. });
        let operation = view.operation.as_ref();
        let (wait, hurry) = if is_queued(view) {
            (QUEUED, false)
        } else if operation.is_some_and(OperationView::is_running) {
            (RUNNING, false)
        } else if moved && !settles {
            (OVER, true)
        } else if other_commit && same_health && !moved {
            (NO_HURRY, false)
        } else {
            (CALM, true)
        };
        let due = now.checked_add(wait).unwrap_or(now);
        // A running sync's news must not hold back the end of it, nor a later change an earlier one.
        self.hurry = hurry || (self.hurry && self.due.is_some());
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// What is to be told of an app that is like this, if that is more than stands there, and whether to say that its
    /// wishes were heard.
    fn take(&mut self, view: Option<&AppView>) -> Option<(Value, bool)> {
        self.due = None;
        let hurry = std::mem::take(&mut self.hurry);
        let heard = std::mem::take(&mut self.heard);
        let mut last = self.last();
        let wanted = view
            .filter(|view| !is_unknown_yet(view))
            .map(status)
            .filter(|wanted| !says_the_same(&last, wanted));
        if wanted.is_none() && !heard {
            return None;
        }
        let patch = wanted.map_or(Value::Null, |wanted| what_differs(&last, wanted));
        if !last.is_object() {
            last = Value::Object(serde_json::Map::new());
        }
        for (field, value) in patch.as_object().into_iter().flatten() {
            last[field] = value.clone();
        }
        self.in_flight = Some(Sent {
            gist: Gist::read(&last),
            then: bytes(&last),
            hurry,
            heard,
        });
        Some((patch, heard))
    }
}

fn bytes(status: &Value) -> Box<[u8]> {
    status.to_string().into_bytes().into()
}

impl Engine {
    pub(super) fn heard(&mut self, key: &AppKey) {
        let now = self.now;
        let publication = self.publications.entry(key.clone()).or_default();
        publication.heard = true;
        publication.due = Some(now);
        publication.hurry = true;
        self.note_due(key);
    }

    /// Keeps the alarms as the publication says.
    fn note_due(&mut self, key: &AppKey) {
        let publication = self.publications.get(key);
        let hurry = publication.is_some_and(|publication| publication.hurry);
        let (is, is_not) = if hurry {
            (&mut self.told, &mut self.told_at_leisure)
        } else {
            (&mut self.told_at_leisure, &mut self.told)
        };
        is_not.clear(key);
        match publication.and_then(Publication::due) {
            Some(due) => is.set(key, due),
            None => is.clear(key),
        }
    }

    /// Forgets what an app that is gone was to be told.
    pub(super) fn forget_publication(&mut self, key: &AppKey) {
        let sent = self
            .publications
            .remove(key)
            .and_then(|last| last.in_flight);
        if let Some(sent) = sent {
            self.sending.end(sent.hurry);
        }
        self.note_due(key);
    }

    pub(super) fn touch_board(&mut self) {
        self.board_is_stale = true;
    }

    /// Takes an app off the board.
    pub(super) fn retire(&mut self, key: &AppKey) {
        self.dirty.remove(key);
        let at = self.board_keys.remove(key);
        if let Some(at) = at
            && let Some(view) = self.views.remove(&at)
        {
            self.metrics.forget(&AppLabels::of(&view));
            self.changed.remove(&at);
        }
        self.touch_board();
    }

    /// When the next status is to be told; none while enough of them are on their way, or others tell them.
    pub(super) fn next_publication(&self) -> Option<Timestamp> {
        if !self.leading {
            return None;
        }
        let calm = !self.turns.is_storm();
        let waits = if calm { Duration::ZERO } else { STORM };
        let next = |hurry: bool, told: &Alarms| {
            let has_room = self.sending.has_room(hurry, calm);
            let next = has_room.then(|| told.next()).flatten()?;
            next.checked_add(waits).ok()
        };
        let next = [next(true, &self.told), next(false, &self.told_at_leisure)];
        next.into_iter().flatten().min()
    }

    /// Publishes what changed: one board for all of it, one status for each app that has something new to say.
    pub(super) fn publish(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let now = self.now;
        let begun = Instant::now();
        let mut changed = false;
        for key in dirty {
            let Some(uid) = self.lives.get(&key).map(|life| life.uid().clone()) else {
                continue;
            };
            self.contained(&key, &uid, "saying how this app is", |engine| {
                changed |= engine.show(&key);
            });
        }
        if changed || self.board_is_stale {
            self.board_is_stale = false;
            self.version += 1;
            let board = Arc::new(self.make_board());
            self.board.send_replace(board);
        }
        let every = if self.turns.is_storm() {
            BOARD_EVERY_IN_A_STORM
        } else {
            BOARD_EVERY
        };
        let wait = every.max(begun.elapsed() * BOARD_SHARE);
        self.board_due = now.checked_add(wait).unwrap_or(now);
    }

    /// Puts an app on the board as it is now. Is that news?
    pub(super) fn show(&mut self, key: &AppKey) -> bool {
        let now = self.now;
        let Some(life) = self.lives.get_mut(key) else {
            return false;
        };
        let mut view = life.view(now);
        let at = (view.environment.clone(), view.name.clone());
        if self.board_keys.get(key).is_some_and(|old| *old != at)
            && let Some(old) = self.board_keys.remove(key)
        {
            self.views.remove(&old);
            self.changed.remove(&old);
        }
        let old = self.views.get(&at);
        if old.is_some_and(|old| is_the_same(old, &mut view)) {
            return false;
        }
        let is_news = old.is_none_or(|old| !tells_the_same(old, &view));
        if view.compared_at.is_some() {
            self.reconciled(key);
        }
        self.note_operation(key, &view);
        self.note_head(&view);
        if is_news {
            let publication = self.publications.entry(key.clone()).or_default();
            publication.want(&view, now);
            self.note_due(key);
        }
        self.changed.insert(at.clone(), self.version + 1);
        self.board_keys.insert(key.clone(), at.clone());
        self.views.insert(at, Arc::new(view));
        true
    }

    fn note_operation(&mut self, key: &AppKey, view: &AppView) {
        let Some(operation) = &view.operation else {
            return;
        };
        let is_new = self
            .operations
            .insert(operation.id.clone(), Arc::new(operation.clone()))
            .is_none();
        if is_new {
            self.operation_order.push_back(operation.id.clone());
            while self.operation_order.len() > operations_kept() {
                if let Some(oldest) = self.operation_order.pop_front() {
                    self.operations.remove(&oldest);
                }
            }
        }
        let publication = self.publications.entry(key.clone()).or_default();
        let is_over = !operation.is_running();
        if is_over && publication.counted.as_ref() != Some(&operation.id) {
            publication.counted = Some(operation.id.clone());
            self.metrics
                .synced(&AppLabels::of(view), operation.phase, operation.dry_run);
            tracing::info!(
                app = %key,
                phase = operation.phase.text(),
                revision = operation.revision.as_ref().map(lockstep_app::app::Revision::short),
                objects = operation.results.len(),
                "sync ended"
            );
        }
    }

    fn note_head(&mut self, view: &AppView) {
        let Some(wanted) = &view.wanted else { return };
        let repository = self
            .repositories
            .values_mut()
            .find(|known| known.remote.as_str() == view.source.remote);
        if let Some(repository) = repository {
            let newer = repository
                .head
                .as_ref()
                .is_none_or(|head| head.committed_at <= wanted.committed_at);
            if newer {
                repository.head = Some(wanted.clone());
                repository.target.clone_from(&view.source.target);
            }
        }
    }

    fn make_board(&self) -> Board {
        Board {
            version: self.version,
            at: self.now,
            started_at: self.started_at,
            apps: self.views.clone(),
            changed: self.changed.clone(),
            repositories: self.repositories.values().cloned().collect(),
            operations: self.operations.clone(),
            config: Arc::clone(&self.config),
            config_fault: self.config_fault.clone(),
            server: self.cluster.server().to_owned(),
            cluster_fault: self.cluster_fault.clone(),
            leading: self.leading,
            complete: self.complete(),
            permissive_projects: self
                .projects
                .iter()
                .filter(|(_, project)| project.is_permissive())
                .map(|(name, _)| name.clone())
                .collect(),
            tokens: Arc::clone(&self.tokens),
            webhook_secret: self.webhook_secret.clone(),
        }
    }

    pub(super) fn send_statuses(&mut self) {
        if !self.leading {
            return;
        }
        let calm = !self.turns.is_storm();
        let waits = if calm { Duration::ZERO } else { STORM };
        let now = self.now.checked_sub(waits).unwrap_or(self.now);
        loop {
            let hurry = [true, false].into_iter().find_map(|hurry| {
                let told = if hurry {
                    &mut self.told
                } else {
                    &mut self.told_at_leisure
                };
                let has_room = self.sending.has_room(hurry, calm);
                Some((hurry, has_room.then(|| told.take_due(now)).flatten()?))
            });
            let Some((hurry, key)) = hurry else { return };
            let Some((status, extras)) = self.take_publication(&key) else {
                continue;
            };
            let apps = self.apps.clone();
            self.sending.begin(hurry);
            let broke = News::Published {
                key: key.clone(),
                result: Err(contain::fault("telling how it is")),
            };
            self.spawn(Some(broke), async move {
                let result = apps.publish(&key, status, extras).await;
                let result = result.map(|_| ()).map_err(|error| error.fault());
                vec![News::Published { key, result }]
            });
        }
    }

    pub(super) fn take_publication(&mut self, key: &AppKey) -> Option<(Value, Extras)> {
        let uid = self.lives.get(key)?.uid().clone();
        let view = self.board_keys.get(key).and_then(|at| self.views.get(at));
        let view = view.map(Arc::as_ref);
        let (patch, heard) = self.publications.get_mut(key)?.take(view)?;
        let extras = Extras {
            uid: Some(uid),
            clear_operation: heard,
            clear_refresh: heard,
            ..Extras::default()
        };
        Some((patch, extras))
    }

    pub(super) fn published(&mut self, key: &AppKey, result: Result<(), Fault>) {
        let now = self.now;
        let Some(publication) = self.publications.get_mut(key) else {
            return;
        };
        let Some(sent) = publication.in_flight.take() else {
            return;
        };
        self.sending.end(sent.hurry);
        match result {
            Ok(()) => {
                publication.failures = 0;
                publication.rest_until = None;
                publication.last = sent.then;
                publication.gist = sent.gist;
            }
            Err(fault) => {
                tracing::warn!(app = %key, error = %fault, "status not published");
                publication.failures += 1;
                let wait = Duration::from_secs((1u64 << publication.failures.min(5)).min(30));
                publication.rest_until = now.checked_add(wait).ok();
                publication.due.get_or_insert(now);
                publication.hurry |= sent.hurry;
                publication.heard |= sent.heard;
            }
        }
        self.note_due(key);
    }

    /// Which Application a face means.
    pub(super) fn key_of(&self, at: &(String, String)) -> Option<AppKey> {
        self.views.get(at).map(|view| view.key.clone())
    }
}

fn is_queued(view: &AppView) -> bool {
    let why = view.why.as_ref();
    why.is_some_and(|why| why.code == "syncing.queued")
}

/// Is nothing found out yet?
fn is_unknown_yet(view: &AppView) -> bool {
    let why = view.why.as_ref();
    why.is_some_and(|why| why.code == "unknown.first_check")
}

/// Only the fields that differ: a patch that repeats the history of an app costs everybody who watches it.
fn what_differs(last: &Value, status: Value) -> Value {
    let Value::Object(mut wanted) = status else {
        return status;
    };
    wanted.retain(|field, value| {
        field == "reconciledAt"
            || STATUS_FIELDS.contains(&field.as_str()) && last.get(field) != Some(value)
    });
    Value::Object(wanted)
}

/// Is it the same but for the time of the comparison?
fn is_the_same(old: &AppView, new: &mut AppView) -> bool {
    let compared_at = std::mem::replace(&mut new.compared_at, old.compared_at);
    let same = *old == *new;
    new.compared_at = compared_at;
    same
}
