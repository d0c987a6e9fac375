//! Our own REST: reads.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use lockstep_api::app::{AppList, AppSummary, Events, Objects};
use lockstep_api::past::{History, Log};
use lockstep_api::{PlanView, State as Word, text};
use lockstep_reconcile::view::{AppView, SyncStatus};
use serde::{Deserialize, Serialize};

use super::negotiate::{Face, json, tagged, text as plain, unchanged};
use super::problem::{Fail, Suggestion};
use super::{Ctx, wire, words};
use crate::board::Board;

/// How many apps one page of a list holds, unless asked for fewer.
const PAGE: usize = 200;

/// How long a question may wait for an operation to end.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

pub(super) fn routes() -> Router<Ctx> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/environments", get(environments))
        .route("/api/v1/apps", get(apps))
        .route("/api/v1/apps/{env}/{app}", get(app))
        .route("/api/v1/apps/{env}/{app}/drift", get(drift))
        .route("/api/v1/apps/{env}/{app}/plan", get(plan))
        .route("/api/v1/apps/{env}/{app}/objects", get(objects))
        .route("/api/v1/apps/{env}/{app}/history", get(history))
        .route("/api/v1/apps/{env}/{app}/log", get(log))
        .route("/api/v1/apps/{env}/{app}/events", get(events))
}

/// A filter over apps: what the front page and the list take.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    pub(super) q: String,
    pub(super) env: String,
    pub(super) status: String,
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        [&self.q, &self.env, &self.status]
            .iter()
            .all(|part| part.trim().is_empty())
    }

    /// Does this app pass? Words narrow; `status:` and `env:` work inside `q`, too.
    pub(super) fn takes(&self, app: &AppSummary) -> bool {
        let one_of = |list: &str, value: &str| {
            let mut names = list
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .peekable();
            names.peek().is_none() || names.any(|name| name.eq_ignore_ascii_case(value))
        };
        if !one_of(&self.env, &app.env) || !one_of(&self.status, app.state.code()) {
            return false;
        }
        let commit = |commit: &Option<lockstep_api::Commit>| {
            commit.as_ref().map_or_else(String::new, |c| {
                format!("{} {} {}", c.sha, c.subject, c.author)
            })
        };
        let mut hay = format!(
            "{} {} {} {}",
            app.key,
            app.state.text(),
            commit(&app.live),
            commit(&app.wanted)
        );
        if let Some(reason) = &app.reason {
            hay.push(' ');
            hay.push_str(&reason.text);
        }
        let hay = hay.to_lowercase();
        // Eight words of this length narrow anything; more would only cost time.
        self.q.split_whitespace().take(8).all(|word| {
            let word: String = word.chars().take(100).collect::<String>().to_lowercase();
            match word.split_once(':') {
                Some(("status", state)) => one_of(state, app.state.code()),
                Some(("env", env)) => one_of(env, &app.env),
                _ => hay.contains(&word),
            }
        })
    }
}

/// All apps that pass, in the order of environment and name.
pub(super) fn matching(board: &Board, filter: &Filter) -> Vec<AppSummary> {
    board
        .apps
        .values()
        .map(|app| wire::summary(board, app))
        .filter(|summary| filter.takes(summary))
        .collect()
}

/// An app, or the error that suggests what may have been meant.
pub(super) fn find(board: &Board, env: &str, name: &str) -> Result<Arc<AppView>, Fail> {
    board
        .apps
        .get(&(env.to_owned(), name.to_owned()))
        .cloned()
        .ok_or_else(|| missing(board, env, name))
}

/// Names are what people type; longer ones are cut before they are repeated.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn missing(board: &Board, env: &str, name: &str) -> Fail {
    let (env_shown, name_shown) = (shown(env), shown(name));
    if !board.complete {
        return starting(board);
    }
    let was = board
        .operations
        .values()
        .filter(|operation| operation.app.0 == env && operation.app.1 == name)
        .max_by_key(|operation| operation.started_at);
    if let Some(last) = was {
        let at = last.finished_at.unwrap_or(last.started_at);
        return Fail::new(
            StatusCode::GONE,
            "app.gone",
            format!("{name_shown} is no longer in {env_shown}"),
        )
        .detail(format!(
            "its Application was deleted; its last sync, {}, ended at {} UTC: {}",
            last.id,
            at.strftime("%F %H:%M:%S"),
            last.message
        ))
        .next("look at the apps that are there: lockstep status");
    }
    let mut near: Vec<(usize, bool, &(String, String))> = board
        .apps
        .keys()
        .map(|key| (words::distance(&key.1, name), key.0 != env, key))
        .filter(|(distance, _, _)| *distance <= 2)
        .collect();
    near.sort();
    let suggestions: Vec<Suggestion> = near
        .iter()
        .take(5)
        .map(|(_, _, (env, name))| Suggestion {
            text: format!("{name} in {env}"),
            href: words::app_href(env, name),
        })
        .collect();
    let fail = Fail::new(
        StatusCode::NOT_FOUND,
        "app.not_found",
        format!("No app called “{name_shown}” in {env_shown}"),
    );
    match near.first() {
        Some((_, _, (env, name))) => fail
            .detail(format!("the closest is {name} in {env}"))
            .next(format!("lockstep status {name} -e {env}"))
            .suggest(suggestions),
        None => fail
            .detail("no app has a name like it")
            .next("lockstep status"),
    }
}

/// Before every Application has been read, an app that is not there may still come.
pub(super) fn starting(board: &Board) -> Fail {
    let fail = |title: &str| {
        Fail::new(StatusCode::SERVICE_UNAVAILABLE, "lockstep.starting", title)
            .retry_after(Duration::from_secs(5))
    };
    match &board.cluster_fault {
        Some(fault) => {
            let fail = fail("Lockstep can’t see its cluster yet").detail(format!(
                "{} does not answer: {}",
                board.server, fault.message
            ));
            match &fault.hint {
                Some(hint) => fail.next(hint.clone()),
                None => fail,
            }
        }
        None if !board.leading => fail("This replica stands by")
            .detail("another one holds the lease, does the work and shows the apps"),
        None => fail("Lockstep is starting").detail(format!(
            "it is reading the Applications at {}; this takes seconds",
            board.server
        )),
    }
}

/// The ETag of JSON: the board's version. The daemon's start tells its lives apart, since each counts from nothing.
fn etag(board: &Board) -> String {
    format!(
        "W/\"{:x}-{}\"",
        board.started_at.as_millisecond(),
        board.version
    )
}

fn answer<T: Serialize>(
    board: &Board,
    headers: &HeaderMap,
    value: &T,
    in_text: impl FnOnce(&T) -> Option<String>,
) -> Result<Response, Fail> {
    if Face::of(headers, Face::Json) == Face::Text
        && let Some(text) = in_text(value)
    {
        return Ok(plain(text));
    }
    let etag = etag(board);
    match unchanged(headers, &etag) {
        Some(response) => Ok(response),
        None => Ok(tagged(json(value)?, &etag)),
    }
}

async fn overview(State(desk): State<Ctx>, headers: HeaderMap) -> Result<Response, Fail> {
    let board = desk.board();
    answer(
        &board,
        &headers,
        &wire::overview(&board, desk.now()),
        |overview| {
            Some(text::status(
                overview,
                &matching(&board, &Filter::default()),
            ))
        },
    )
}

async fn environments(State(desk): State<Ctx>, headers: HeaderMap) -> Result<Response, Fail> {
    let board = desk.board();
    answer(&board, &headers, &wire::environments(&board), |_| None)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    limit: Option<String>,
    cursor: Option<String>,
}

async fn apps(
    State(desk): State<Ctx>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    answer(&board, &headers, &list(&board, &filter, &page)?, |list| {
        Some(text::status_wide(&list.items))
    })
}

fn limit(text: Option<&str>, most: usize) -> Result<usize, Fail> {
    match text {
        None | Some("") => Ok(most),
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| {
                Fail::new(
                    StatusCode::BAD_REQUEST,
                    "http.bad_request",
                    "The limit is not a number from 1 up",
                )
                .next(format!("ask for limit={most} at most"))
            }),
    }
    .map(|limit| limit.min(most))
}

fn list(board: &Board, filter: &Filter, page: &Page) -> Result<AppList, Fail> {
    let limit = limit(page.limit.as_deref(), PAGE)?;
    let all = matching(board, filter);
    let total = wire::count(all.len());
    let hidden = wire::count(board.apps.len()) - total;
    // Items stand in the order of (environment, name), and so do cursors: the last key that was given.
    let after = |summary: &AppSummary| match page.cursor.as_deref().and_then(|c| c.split_once('/'))
    {
        Some(cursor) => (summary.env.as_str(), summary.name.as_str()) > cursor,
        None => true,
    };
    let mut rest = all.into_iter().filter(after);
    let items: Vec<AppSummary> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let cursor = items.last().filter(|_| more).map(|last| last.key.clone());
    Ok(AppList {
        items,
        total,
        hidden,
        cursor,
    })
}

type At = Path<(String, String)>;

async fn app(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let view = find(&board, &env, &name)?;
    let now = desk.now().into();
    answer(&board, &headers, &wire::app(&board, &view), |app| {
        Some(text::app(app, now))
    })
}

async fn drift(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let view = find(&board, &env, &name)?;
    answer(&board, &headers, &wire::drift(&view), |drift| {
        Some(text::drift(drift))
    })
}

async fn plan(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let view = find(&board, &env, &name)?;
    let plan = wire::plan(&view)
        .or_else(|| nothing_to_do(&view))
        .ok_or_else(|| no_plan(&view))?;
    answer(&board, &headers, &plan, |plan| Some(text::plan(plan)))
}

/// The plan of an app that equals git: empty, and nothing that could be approved.
fn nothing_to_do(view: &AppView) -> Option<PlanView> {
    (view.sync == SyncStatus::Synced).then(|| PlanView {
        digest: String::new(),
        revision: view.live.as_ref().map(|commit| commit.revision.to_string()),
        create: 0,
        update: 0,
        delete: 0,
        hooks: 0,
        steps: Vec::new(),
        left: Vec::new(),
        in_sync: wire::count(view.objects.len()),
    })
}

fn no_plan(view: &AppView) -> Fail {
    let at = format!("{} in {}", view.name, view.environment);
    let fail = Fail::new(
        StatusCode::NOT_FOUND,
        "plan.none",
        format!("There is no plan for {at} yet"),
    );
    match &view.why {
        Some(why) => {
            let fail = fail.detail(why.text.clone());
            match &why.next {
                Some(next) => fail.next(next.clone()),
                None => fail,
            }
        }
        None => fail.detail("cluster and git have not been compared yet"),
    }
}

async fn objects(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let items = wire::objects(&*find(&board, &env, &name)?);
    let total = wire::count(items.len());
    answer(&board, &headers, &Objects { items, total }, |_| None)
}

async fn history(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let view = find(&board, &env, &name)?;
    let mut items = wire::history(&view);
    let total = wire::count(items.len());
    items.truncate(limit(page.limit.as_deref(), PAGE)?);
    let live = view.live.as_ref().map(|live| live.revision.as_str());
    answer(&board, &headers, &History { items, total }, |history| {
        Some(text::past::history(history, live))
    })
}

async fn log(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let mut items = wire::log(&*find(&board, &env, &name)?);
    let total = wire::count(items.len());
    items.truncate(limit(page.limit.as_deref(), PAGE)?);
    answer(&board, &headers, &Log { items, total }, |log| {
        Some(text::past::log(log))
    })
}

async fn events(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let mut items = wire::events(&*find(&board, &env, &name)?);
    let total = wire::count(items.len());
    items.truncate(limit(page.limit.as_deref(), PAGE)?);
    answer(&board, &headers, &Events { items, total }, |_| None)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wait {
    wait: String,
}

/// `30s`, `500ms`, `1m`, or whole seconds.
fn wait_for(text: &str) -> Result<Duration, Fail> {
    let bad = || {
        Fail::new(
            StatusCode::BAD_REQUEST,
            "http.bad_request",
            "The wait is not a duration",
        )
        .next("write it as 30s, 500ms or 1m")
    };
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let wait = match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(bad()),
    };
    Ok(wait.min(LONGEST_WAIT))
}

/// `GET /api/v1/operations/ID?wait=30s`: answers when the operation has ended, or when the time is up.
pub(super) async fn operation(
    State(desk): State<Ctx>,
    Path(id): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Response, Fail> {
    let wait = wait_for(&wait.wait)?;
    let mut boards = desk.faces.board.clone();
    let ended = async {
        loop {
            let done = boards
                .borrow_and_update()
                .operations
                .get(&id)
                .map(|operation| !operation.is_running());
            // An unknown operation is waited for as well: the board may be a moment behind the engine's answer.
            if done == Some(true) || boards.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = desk.stop.cancelled() => {}
        () = ended => {}
        () = tokio::time::sleep(wait) => {}
    }
    let board = desk.board();
    let operation = board.operations.get(&id).ok_or_else(|| {
        Fail::new(
            StatusCode::NOT_FOUND,
            "operation.not_found",
            format!("No operation called “{}” is remembered", shown(&id)),
        )
        .detail("the last ones are; older ones are in the history of their app")
        .next("lockstep status APP -e ENV")
    })?;
    json(&wire::operation(operation))
}

/// The states that a filter may name, for the page's links.
pub(super) const STATES: [Word; 6] = Word::ALL;
