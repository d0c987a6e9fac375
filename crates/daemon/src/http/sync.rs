//! Asking for a sync: the only thing here that changes a cluster, and it changes nothing itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lockstep_api::SyncRequest;
use lockstep_app::app::Revision;
use lockstep_reconcile::Order;
use lockstep_reconcile::view::AppView;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::access::Writer;
use super::negotiate::json;
use super::problem::Fail;
use super::{Ctx, rest, wire};
use crate::board::{Board, Command, Demand, SyncRefused, What};

/// How long the engine may take to say yes or no. It decides from memory.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the board may lag behind the engine's answer.
const BEHIND: Duration = Duration::from_secs(2);

/// How many idempotency keys are remembered: a day of a busy pipeline, at some 200 bytes each.
const REMEMBERED: usize = 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What was answered to which idempotency key; the oldest go first.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    by_key: HashMap<String, Answer>,
    order: VecDeque<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Answer {
    /// Of the app and the body: the same key with another request is a mistake.
    asked: [u8; 32],
    /// The operation's id; none while the engine is being asked.
    operation: Option<String>,
}

impl Remembered {
    /// Begins a request under `key`, or says what became of it earlier.
    fn begin(&self, key: &str, asked: [u8; 32]) -> Result<Option<String>, Fail> {
        let mut answers = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match answers.by_key.get(key) {
            Some(answer) if answer.asked != asked => Err(Fail::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "sync.idempotency_key",
                "The idempotency key was used for another request",
            )
            .next("send each request with a key of its own")),
            Some(Answer {
                operation: Some(operation),
                ..
            }) => Ok(Some(operation.clone())),
            Some(Answer {
                operation: None, ..
            }) => Err(Fail::new(
                StatusCode::CONFLICT,
                "sync.in_flight",
                "The same request is being worked on",
            )
            .retry_after(Duration::from_secs(1))
            .next("send it again in a second")),
            None => {
                if answers.order.len() >= REMEMBERED
                    && let Some(oldest) = answers.order.pop_front()
                {
                    answers.by_key.remove(&oldest);
                }
                answers.order.push_back(key.to_owned());
                answers.by_key.insert(
                    key.to_owned(),
                    Answer {
                        asked,
                        operation: None,
                    },
                );
                Ok(None)
            }
        }
    }

    /// Ends it: with an operation it is remembered, without one it may be tried again.
    fn end(&self, key: &str, operation: Option<&str>) {
        let mut answers = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(operation) = operation {
            if let Some(answer) = answers.by_key.get_mut(key) {
                answer.operation = Some(operation.to_owned());
            }
        } else {
            answers.by_key.remove(key);
            answers.order.retain(|one| one != key);
        }
    }
}

/// Ends a request that was begun, also when its client goes away in the middle.
struct Begun<'a> {
    remembered: &'a Remembered,
    key: Option<String>,
    operation: Option<String>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.remembered.end(key, self.operation.as_deref());
        }
    }
}

/// `POST /api/v1/apps/ENV/APP/sync`.
pub(super) async fn sync(
    State(desk): State<Ctx>,
    Path((env, name)): Path<(String, String)>,
    writer: Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fail> {
    let request = read(&headers, &body)?;
    let board = desk.board();
    let view = rest::find(&board, &env, &name)?;
    let title = || format!("{name} in {env} was not synced");
    let order = order(&view, &request, writer.0.clone())?;

    let key = idempotency_key(&headers)?.map(|key| format!("{} {key}", writer.0));
    let asked: [u8; 32] = Sha256::new()
        .chain_update(env.as_bytes())
        .chain_update([0])
        .chain_update(name.as_bytes())
        .chain_update([0])
        .chain_update(&body)
        .finalize()
        .into();
    let mut begun = Begun {
        remembered: &desk.remembered,
        key: None,
        operation: None,
    };
    if let Some(key) = key {
        if let Some(operation) = desk.remembered.begin(&key, asked)? {
            return accepted(&desk, &operation).await;
        }
        begun.key = Some(key);
    }
    match ask(&desk, order).await? {
        Ok(operation) => {
            begun.operation = Some(operation.clone());
            drop(begun);
            accepted(&desk, &operation).await
        }
        Err(refused) => Err(explain(&desk, &view, refused, &title()).await),
    }
}

fn read(headers: &HeaderMap, body: &Bytes) -> Result<SyncRequest, Fail> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_json = kind.is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return Err(Fail::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "http.media_type",
            "The body is not declared as JSON",
        )
        .next("send the header Content-Type: application/json"));
    }
    serde_json::from_slice(body).map_err(|error| {
        Fail::new(
            StatusCode::BAD_REQUEST,
            "sync.body",
            "The body of the sync cannot be read",
        )
        .detail(error.to_string())
        .next("send {\"plan\":\"DIGEST\"}, with prune, revision and dryRun where needed")
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fail> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= 200);
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Fail::new(
            StatusCode::BAD_REQUEST,
            "sync.idempotency_key",
            "The idempotency key is empty or longer than 200 characters",
        )
        .next("use a random one, such as a UUID")
    })
}

fn order(view: &AppView, request: &SyncRequest, by: String) -> Result<Demand, Fail> {
    let revision = request
        .revision
        .as_deref()
        .map(str::parse::<Revision>)
        .transpose()
        .map_err(|e| {
            Fail::new(
                StatusCode::BAD_REQUEST,
                "sync.revision",
                "The revision is not a complete commit id",
            )
            .detail(e.to_string())
            .next("write all 40 digits of the commit")
        })?;
    // Whoever approves says what was seen: without it, a plan that nobody looked at would be let through.
    if request.plan.is_none()
        && revision.is_none()
        && !request.dry_run
        && view.plan_digest.is_some()
    {
        let at = words_at(view);
        return Err(Fail::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sync.plan_missing",
            format!("{} in {} was not synced", view.name, view.environment),
        )
        .detail("the request does not say which plan it approves")
        .next(format!(
            "read GET /api/v1/apps/{at}/plan and send its digest as \"plan\""
        ))
        .plan(wire::plan(view)));
    }
    let order = Order {
        plan: request.plan.clone(),
        prune: request.prune,
        revision,
        dry_run: request.dry_run,
        ..Order::by(&by)
    };
    Ok(Demand {
        app: (view.environment.clone(), view.name.clone()),
        by,
        what: What::Sync(Box::new(order)),
    })
}

fn words_at(view: &AppView) -> String {
    wire::key(&view.environment, &view.name)
}

/// Asks the engine, which alone decides.
pub(super) async fn ask(desk: &Ctx, demand: Demand) -> Result<Result<String, SyncRefused>, Fail> {
    let (answer, answered) = oneshot::channel();
    desk.command(Command::Demand(demand, answer))?;
    match tokio::time::timeout(ANSWER, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        // The engine dropped the question or is stuck: either way nobody knows, and asking again is safe with a plan.
        Ok(Err(_)) | Err(_) => Err(Fail::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "lockstep.busy",
            "Lockstep did not answer in time",
        )
        .detail("whether the sync was begun is not known")
        .next("look at the app before asking again: lockstep status APP -e ENV")
        .retry_after(Duration::from_secs(5))),
    }
}

/// Waits until the board shows what the engine has just said, within bounds.
pub(super) async fn settled(desk: &Ctx, shows: impl Fn(&Board) -> bool) {
    let mut boards = desk.faces.board.clone();
    // An error means that the engine is gone or slow: then what the board has is the best there is.
    let _ = tokio::time::timeout(BEHIND, boards.wait_for(|board| shows(board))).await;
}

async fn accepted(desk: &Ctx, id: &str) -> Result<Response, Fail> {
    settled(desk, |board| board.operations.contains_key(id)).await;
    let board = desk.board();
    let location = format!("/api/v1/operations/{id}");
    let mut response = match board.operations.get(id) {
        Some(operation) => json(&wire::operation(operation))?,
        // The board has not caught up, or has forgotten it: the address is still the answer.
        None => json(&serde_json::json!({"id": id}))?,
    };
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response.into_response())
}

async fn explain(desk: &Ctx, view: &AppView, refused: SyncRefused, title: &str) -> Fail {
    let (env, name) = (view.environment.as_str(), view.name.as_str());
    let at = (env.to_owned(), name.to_owned());
    let conflict = |code: &str| Fail::new(StatusCode::CONFLICT, code, title);
    match refused {
        SyncRefused::NotFound => Fail::new(StatusCode::NOT_FOUND, "app.not_found", title)
            .detail("the app is gone by now"),
        SyncRefused::PlanChanged { now } => {
            settled(desk, |board| {
                board
                    .apps
                    .get(&at)
                    .is_none_or(|app| app.plan_digest.as_ref().map(ToString::to_string) == now)
            })
            .await;
            let plan = desk.board().apps.get(&at).and_then(|app| wire::plan(app));
            conflict("sync.plan_changed")
                .detail("the plan is another one by now than the one that was approved; nothing was changed")
                .next(format!("look at the new one: lockstep diff {name} -e {env}"))
                .plan(plan)
        }
        SyncRefused::Running { operation } => conflict("sync.running")
            .detail(format!(
                "another operation is already in progress: {operation}"
            ))
            .next(format!("wait for it: lockstep wait {name} -e {env}"))
            .operation(operation),
        SyncRefused::Fault(fault) => Fail::of_fault(title, &fault),
        SyncRefused::NotLeading => not_leading(title),
    }
}

pub(super) fn not_leading(title: &str) -> Fail {
    Fail::new(StatusCode::SERVICE_UNAVAILABLE, "lockstep.standby", title)
        .detail("this replica stands by; another one holds the lease")
        .next("send the request through the Service, which knows the ready one")
        .retry_after(Duration::from_secs(5))
}
