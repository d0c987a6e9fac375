//! Server-sent events: a doorbell that says which piece changed; the page then asks for that piece.
//!
//! There is no ring of past events: the board knows at which version each app last changed, so a reader who was away
//! is told of every app that changed since, once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lockstep_api::stream::{AppChanged, Beat, Deployed, DriftChanged, Hello};
use lockstep_reconcile::view::AppView;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::problem::Fail;
use super::{Clock, Ctx, wire};
use crate::board::Board;

/// How often a quiet stream says that it is alive.
const BEAT: Duration = Duration::from_secs(15);

/// How soon a reader comes back when the stream breaks.
const RETRY: Duration = Duration::from_secs(2);

/// More rings at once than this are said as one: fetch everything anew.
const RINGS: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: String,
}

/// `GET /api/v1/stream`.
pub(super) async fn stream(
    State(desk): State<Ctx>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let permit = Arc::clone(&desk.streams).try_acquire_owned().map_err(|_| {
        Fail::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stream.full",
            "Too many pages are open",
        )
        .detail("every stream is taken; the page works without, and shows as of when it is")
        .retry_after(Duration::from_secs(30))
    })?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let after = last.unwrap_or(&after.after).to_owned();
    let events = Bell::new(&desk, &after, permit).events();
    let stop = desk.stop.clone().cancelled_owned();
    let mut response = Sse::new(events.take_until(stop)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

/// One reader's end of the board.
struct Bell {
    boards: watch::Receiver<Arc<Board>>,
    /// What this reader has been told of.
    told: Arc<Board>,
    beat: Interval,
    clock: Clock,
    waiting: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

/// An event's id: which life of the daemon, and which version of its board.
fn id(board: &Board) -> String {
    format!("{:x}-{}", board.started_at.as_millisecond(), board.version)
}

/// The version in an id of this life; none for another life's, or for what is none of ours.
fn version(id: &str, board: &Board) -> Option<u64> {
    let (life, version) = id.split_once('-')?;
    let ours = format!("{:x}", board.started_at.as_millisecond());
    let version = version.parse().ok()?;
    (life == ours && version <= board.version).then_some(version)
}

impl Bell {
    fn new(desk: &Ctx, after: &str, permit: OwnedSemaphorePermit) -> Self {
        let mut boards = desk.faces.board.clone();
        let board = Arc::clone(&boards.borrow_and_update());
        let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut bell = Self {
            boards,
            told: Arc::clone(&board),
            beat,
            clock: Arc::clone(&desk.clock),
            waiting: VecDeque::new(),
            _permit: permit,
        };
        bell.greet(&board, after);
        bell
    }

    fn greet(&mut self, board: &Board, after: &str) {
        let hello = Hello {
            now: (self.clock)().into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            after: board.version,
        };
        self.ring("hello", &hello, board);
        if let Some(first) = self.waiting.pop_front() {
            self.waiting.push_back(first.retry(RETRY));
        }
        if after.is_empty() {
            return;
        }
        let Some(since) = version(after, board) else {
            self.ring("resync", &serde_json::json!({}), board);
            return;
        };
        let missed: Vec<&Arc<AppView>> = board
            .apps
            .iter()
            .filter(|(key, _)| board.changed.get(*key).is_some_and(|at| *at > since))
            .map(|(_, app)| app)
            .collect();
        if missed.len() > RINGS {
            self.ring("resync", &serde_json::json!({}), board);
            return;
        }
        for app in missed {
            let changed = AppChanged {
                key: wire::key(&app.environment, &app.name),
                version: board.version,
                state: Some(wire::state(app.word)),
                was: Some(wire::state(app.word)),
                say: String::new(),
            };
            self.ring("app", &changed, board);
        }
    }

    fn ring<T: Serialize>(&mut self, name: &str, data: &T, board: &Board) {
        match Event::default().event(name).id(id(board)).json_data(data) {
            Ok(event) => self.waiting.push_back(event),
            Err(error) => tracing::error!(%error, event = name, "a wire type cannot be written"),
        }
    }

    /// Says what became different between what was told and `board`.
    fn tell(&mut self, board: &Arc<Board>) {
        let told = std::mem::replace(&mut self.told, Arc::clone(board));
        let changed: Vec<_> = board
            .apps
            .iter()
            .filter(|(key, _)| {
                board.changed.get(*key) != told.changed.get(*key) || !told.apps.contains_key(*key)
            })
            .collect();
        if changed.len() > RINGS {
            self.ring("resync", &serde_json::json!({}), board);
            return;
        }
        for (key, app) in changed {
            let was = told.apps.get(key);
            self.ring("app", &app_changed(app, was, board.version), board);
            let fields = wire::drift_fields(app);
            if was.is_some_and(|was| was.drift != app.drift) {
                let say = match fields {
                    0 => format!(
                        "nothing differs any more in {}, {}",
                        app.name, app.environment
                    ),
                    _ => format!(
                        "{} drifted in {}, {}",
                        lockstep_api::text::fields(fields),
                        app.name,
                        app.environment
                    ),
                };
                let drift = DriftChanged {
                    key: wire::key(&app.environment, &app.name),
                    fields,
                    say,
                };
                self.ring("drift", &drift, board);
            }
            let newest = |app: &AppView| app.history.front().map(|entry| entry.id);
            if let Some(n) = newest(app).filter(|n| was.is_some_and(|was| newest(was) != Some(*n)))
            {
                let deployed = Deployed {
                    key: wire::key(&app.environment, &app.name),
                    n,
                    outcome: "succeeded".to_owned(),
                };
                self.ring("deployment", &deployed, board);
            }
        }
        for (key, was) in told
            .apps
            .iter()
            .filter(|(key, _)| !board.apps.contains_key(*key))
        {
            let gone = AppChanged {
                key: wire::key(&key.0, &key.1),
                version: board.version,
                state: None,
                was: Some(wire::state(was.word)),
                say: format!("{} in {} is gone", key.1, key.0),
            };
            self.ring("app", &gone, board);
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, std::convert::Infallible>> + Send {
        stream::unfold(self, |mut bell| async move {
            loop {
                if let Some(event) = bell.waiting.pop_front() {
                    return Some((Ok(event), bell));
                }
                tokio::select! {
                    changed = bell.boards.changed() => {
                        // The engine is gone: so is the stream.
                        changed.ok()?;
                        let board = Arc::clone(&bell.boards.borrow_and_update());
                        bell.tell(&board);
                    }
                    _ = bell.beat.tick() => {
                        let beat = Beat { now: (bell.clock)().into() };
                        let board = Arc::clone(&bell.told);
                        bell.ring("beat", &beat, &board);
                    }
                }
            }
        })
    }
}

fn app_changed(app: &AppView, was: Option<&Arc<AppView>>, version: u64) -> AppChanged {
    let state = wire::state(app.word);
    let before = was.map(|was| wire::state(was.word));
    let say = if before == Some(state) {
        String::new()
    } else {
        let why = app
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(": {}", why.text));
        format!(
            "{} in {} is now {}{why}",
            app.name,
            app.environment,
            state.code()
        )
    };
    AppChanged {
        key: wire::key(&app.environment, &app.name),
        version,
        state: Some(state),
        was: before,
        say,
    }
}
