//! Telling: the board for faces, the Application's status for everybody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockstep_app::Fault;
use lockstep_app::app::AppKey;
use lockstep_cluster::Extras;
use lockstep_manifest::Health;
use lockstep_reconcile::view::{AppView, OperationView};
use lockstep_reconcile::{STATUS_FIELDS, says_the_same, status};
use serde_json::Value;

use super::alarms::Alarms;
use super::{BOARD_EVERY, BOARD_SHARE, Engine, News, contain, operations_kept};
use crate::board::Board;
use crate::metrics::AppLabels;

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

/// What the cluster was told of one app, and what it is to be told.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// What stands in the cluster, as JSON: as values it would take six times the memory, for every app at all times.
    last: Box<[u8]>,
    wanted: Option<Value>,
    /// The news are of a sync that runs: what they are is found out when they are told, since much may come until then.
    runs: bool,
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
    status: Value,
    hurry: bool,
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
        self.last = status.to_string().into_bytes().into();
    }

    fn last(&self) -> Value {
        serde_json::from_slice(&self.last).unwrap_or(Value::Null)
    }

    /// When something is to be told; none while it is being told.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let due = self.due.filter(|_| self.in_flight.is_none())?;
        Some(self.rest_until.map_or(due, |rest| due.max(rest)))
    }

    pub(super) fn want(&mut self, view: &AppView, now: Timestamp) {
        let nothing_known = view
            .why
            .as_ref()
            .is_some_and(|why| why.code == "unknown.first_check");
        if nothing_known {
            return;
        }
        let operation = view.operation.as_ref();
        self.runs = operation.is_some_and(OperationView::is_running) && !is_queued(view);
        if self.runs {
            self.become_due(RUNNING, false, now);
            return;
        }
        let wanted = status(view);
        let last = self.last();
        if says_the_same(&last, &wanted) {
            self.wanted = None;
            if !self.heard {
                self.due = None;
            }
            return;
        }
        let moved = last["sync"]["status"] != wanted["sync"]["status"]
            || last["lockstep"]["state"] != wanted["lockstep"]["state"]
            || last["operationState"]["finishedAt"] != wanted["operationState"]["finishedAt"];
        let same_health = last["health"]["status"] == wanted["health"]["status"];
        let other_commit = last["sync"]["revision"] != wanted["sync"]["revision"];
        let settles = matches!(view.health, Health::Progressing { .. });
        let (wait, hurry) = if is_queued(view) {
            (QUEUED, false)
        } else if moved && !settles {
            (OVER, true)
        } else if other_commit && same_health && !moved {
            (NO_HURRY, false)
        } else {
            (CALM, true)
        };
        self.become_due(wait, hurry, now);
        self.wanted = Some(wanted);
    }

    fn become_due(&mut self, wait: Duration, hurry: bool, now: Timestamp) {
        let due = now.checked_add(wait).unwrap_or(now);
        // A running sync's news must not hold back the end of it, nor a later change an earlier one.
        self.hurry = hurry || (self.hurry && self.due.is_some());
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
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
        let calm = !self.turns.is_crowded();
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
        let wait = BOARD_EVERY.max(begun.elapsed() * BOARD_SHARE);
        self.board_due = now.checked_add(wait).unwrap_or(now);
    }

    /// Puts an app on the board as it is now. Is that news?
    fn show(&mut self, key: &AppKey) -> bool {
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
        let same = self
            .views
            .get(&at)
            .is_some_and(|old| is_the_same(old, &mut view));
        if same {
            return false;
        }
        if view.compared_at.is_some() {
            self.reconciled(key);
        }
        self.note_operation(key, &view);
        self.note_head(&view);
        self.publications
            .entry(key.clone())
            .or_default()
            .want(&view, now);
        self.note_due(key);
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
        let calm = !self.turns.is_crowded();
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
        let publication = self.publications.get_mut(key)?;
        publication.due = None;
        if std::mem::take(&mut publication.runs)
            && let Some(view) = self.board_keys.get(key).and_then(|at| self.views.get(at))
        {
            let wanted = status(view);
            publication.wanted = (!says_the_same(&publication.last(), &wanted)).then_some(wanted);
        }
        let status = publication.wanted.take().unwrap_or(Value::Null);
        let heard = std::mem::take(&mut publication.heard);
        if status.is_null() && !heard {
            return None;
        }
        let patch = prune_unchanged(&publication.last(), status.clone());
        publication.in_flight = Some(Sent {
            status,
            hurry: std::mem::take(&mut publication.hurry),
        });
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
                if let Value::Object(sent) = sent.status {
                    let mut last = publication.last();
                    if !last.is_object() {
                        last = Value::Object(serde_json::Map::new());
                    }
                    for (field, value) in sent {
                        last[field] = value;
                    }
                    publication.seen(&last);
                }
            }
            Err(fault) => {
                tracing::warn!(app = %key, error = %fault, "status not published");
                publication.failures += 1;
                let wait = Duration::from_secs((1u64 << publication.failures.min(5)).min(30));
                publication.rest_until = now.checked_add(wait).ok();
                publication.due.get_or_insert(now);
                publication.hurry |= sent.hurry;
            }
        }
        // What came meanwhile was compared with what stood there before; what failed is told again.
        if publication.due.is_some() {
            self.views_again(key);
        }
        self.note_due(key);
    }

    /// Makes the next publication compare this app's view anew.
    fn views_again(&mut self, key: &AppKey) {
        if let (Some(at), Some(publication)) =
            (self.board_keys.get(key), self.publications.get_mut(key))
            && let Some(view) = self.views.get(at)
        {
            publication.want(view, self.now);
        }
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

/// Only the fields that differ: a patch that repeats the history of an app costs everybody who watches it.
fn prune_unchanged(last: &Value, status: Value) -> Value {
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
