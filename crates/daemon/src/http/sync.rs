//! Asking for a sync, and how everything that writes is asked: the engine alone decides, and alone does it.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lockstep_api::SyncRequest;
use lockstep_api::operation::Pick;
use lockstep_app::app::Revision;
use lockstep_plan::Selector;
use lockstep_reconcile::Order;
use lockstep_reconcile::view::AppView;
use serde::de::DeserializeOwned;
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

/// Where a request is sent, by whom, and what it says.
pub(super) struct Sent<'a> {
    pub(super) verb: &'static str,
    pub(super) view: &'a AppView,
    pub(super) by: &'a Writer,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// What did not happen, if it does not.
    pub(super) title: String,
}

impl Sent<'_> {
    /// Has the engine carry it out, once for each idempotency key. Answers with the operation's id; it is empty where
    /// there is none.
    pub(super) async fn carry(&self, desk: &Ctx, what: What) -> Result<String, Fail> {
        let (env, name) = (&self.view.environment, &self.view.name);
        let demand = Demand {
            app: (env.clone(), name.clone()),
            by: self.by.0.clone(),
            what,
        };
        let parts: [&[u8]; 4] = [
            self.verb.as_bytes(),
            env.as_bytes(),
            name.as_bytes(),
            self.body,
        ];
        let asking = async {
            match ask(desk, demand).await? {
                Ok(operation) => Ok(operation),
                Err(refused) => Err(explain(desk, self.view, refused, &self.title).await),
            }
        };
        let remembered = &desk.remembered;
        remembered
            .once(self.headers, &self.by.0, &parts, asking)
            .await
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
    let next = "send {\"plan\":\"DIGEST\"}, with prune, revision, dryRun, resources, skipHooks and force where needed";
    let request: SyncRequest = read(&headers, &body, "sync.body", next)?;
    let view = rest::find(&desk.board(), &env, &name)?;
    let order = order(&view, request, &writer.0)?;
    let sent = Sent {
        verb: "sync",
        view: &view,
        by: &writer,
        headers: &headers,
        body: &body,
        title: format!("{name} in {env} was not synced"),
    };
    let operation = sent.carry(&desk, What::Sync(Box::new(order))).await?;
    accepted(&desk, &operation).await
}

/// The body of a write: JSON, and declared as that.
pub(super) fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &Bytes,
    code: &str,
    next: &str,
) -> Result<T, Fail> {
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
            code,
            "The body of the request cannot be read",
        )
        .detail(error.to_string())
        .next(next)
    })
}

fn order(view: &AppView, request: SyncRequest, by: &str) -> Result<Order, Fail> {
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
    // An object of the core group has an empty one, so what was left out is not the same.
    let any = |text: Option<String>| text.unwrap_or_else(|| "*".to_owned());
    let picked = |pick: Pick| Selector {
        group: any(pick.group),
        kind: pick.kind,
        namespace: any(pick.namespace),
        name: pick.name,
    };
    Ok(Order {
        plan: request.plan,
        prune: request.prune,
        revision,
        dry_run: request.dry_run,
        resources: request.resources.into_iter().map(picked).collect(),
        skip_hooks: request.skip_hooks,
        force: request.force,
        ..Order::by(by)
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

pub(super) async fn accepted(desk: &Ctx, id: &str) -> Result<Response, Fail> {
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
