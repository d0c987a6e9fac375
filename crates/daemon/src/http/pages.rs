//! Pages: what people read. GET and HEAD only; complete without JavaScript; the same in JSON and plain text.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, Uri, header};
use jiff::Timestamp;
use lockstep_api::app::AppList;
use lockstep_api::overview::Notice;
use lockstep_api::time::Time;
use lockstep_api::{Problem, State as Word, text};
use serde::Deserialize;

use super::app_page::AppBody;
use super::front::{EnvBlock, Head, Pages, Row};
use super::negotiate::{Face, json, tagged, text as plain, unchanged};
use super::problem::{Fail, Suggestion};
use super::rest::{self, Filter};
use super::words::{self, Now};
use super::{Ctx, Desk, front, wire};
use crate::board::Board;

mod catalogue;

pub(super) fn routes() -> Router<Ctx> {
    Router::new()
        .route("/", get(front_page))
        .route("/apps/{env}/{app}", get(app_page))
        .route("/apps/{app}", get(everywhere))
        .route("/help/words", get(words_page))
}

/// What stands around every page.
struct Chrome {
    title: String,
    css: String,
    script: String,
    theme: String,
    version: &'static str,
    now: Now,
    q: String,
    /// Does it follow the stream?
    live: bool,
    front: bool,
    words: bool,
    /// The same as JSON.
    twin: Option<String>,
    /// Reload by itself after so many seconds.
    refresh: Option<u32>,
    notices: Vec<Notice>,
}

impl Chrome {
    fn new(desk: &Desk, now: Now, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            css: desk.assets.address("lockstep.css"),
            script: desk.assets.address("lockstep.js"),
            theme: desk.assets.address("theme.js"),
            version: env!("CARGO_PKG_VERSION"),
            now,
            q: String::new(),
            live: false,
            front: false,
            words: false,
            twin: None,
            refresh: None,
            notices: Vec::new(),
        }
    }
}

#[derive(Template)]
#[template(path = "front.html")]
struct FrontPage {
    chrome: Chrome,
    head: Head,
    envs: Vec<EnvBlock>,
    pages: Option<Pages>,
    paged: bool,
    empty: bool,
    server: String,
    namespace: String,
    first_env: String,
}

#[derive(Template)]
#[template(path = "head.html")]
struct HeadPiece {
    head: Head,
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowPiece {
    row: Row,
}

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage {
    chrome: Chrome,
    body: AppBody,
}

#[derive(Template)]
#[template(path = "app_body.html")]
struct AppPiece {
    body: AppBody,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    chrome: Chrome,
    problem: Problem,
    sentence: String,
    command: Option<String>,
    suggestions: Vec<Suggestion>,
}

#[derive(Template)]
#[template(path = "words.html")]
struct WordsPage {
    chrome: Chrome,
    states: Vec<catalogue::Meaning>,
    steps: &'static [(&'static str, &'static str)],
    reasons: &'static [(&'static str, &'static str)],
}

fn render(page: &impl Template) -> Result<Response, Fail> {
    let body = page.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be written");
        Fail::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response())
}

/// The ETag of a page: the board's version and the half minute, since a page says how long ago things were, and
/// without JavaScript nothing else would make that move on.
fn etag(board: &Board, now: Timestamp, face: Face) -> String {
    let half_minutes = now.as_second() / 30;
    let life = board.started_at.as_millisecond();
    format!("W/\"{life:x}-{}-{half_minutes:x}-{face:?}\"", board.version)
}

/// What the front page takes besides its filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct View {
    page: Option<String>,
    only: Option<String>,
}

async fn front_page(
    State(desk): State<Ctx>,
    Query(filter): Query<Filter>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    if !board.complete && board.apps.is_empty() {
        return Err(rest::starting(&board));
    }
    let face = Face::of(&headers, Face::Html);
    let at = desk.now();
    let etag = etag(&board, at, face);
    if let Some(response) = unchanged(&headers, &etag) {
        return Ok(response);
    }
    let answer = match face {
        Face::Json => {
            let items = rest::matching(&board, &filter);
            let total = wire::count(items.len());
            let hidden = wire::count(board.apps.len()) - total;
            json(&AppList {
                items,
                total,
                hidden,
                cursor: None,
            })?
        }
        Face::Text => {
            let overview = wire::overview(&board, at);
            plain(text::status(&overview, &rest::matching(&board, &filter)))
        }
        Face::Html => front_html(&desk, &board, &filter, &view, Now(at.into()))?,
    };
    Ok(tagged(answer, &etag))
}

fn front_html(
    desk: &Desk,
    board: &Board,
    filter: &Filter,
    view: &View,
    now: Now,
) -> Result<Response, Fail> {
    let overview = wire::overview(board, now.0.timestamp());
    if let Some(key) = view.only.as_deref().filter(|key| *key != "head") {
        let (env, name) = key.split_once('/').unwrap_or((key, ""));
        let app = rest::find(board, env, name)?;
        return render(&RowPiece {
            row: Row::new(wire::summary(board, &app), now),
        });
    }
    let matching = rest::matching(board, filter);
    let head = Head::new(&overview, filter, matching.len(), now);
    if view.only.is_some() {
        return render(&HeadPiece { head });
    }
    let page = view
        .page
        .as_deref()
        .and_then(|page| page.parse().ok())
        .unwrap_or(1);
    let (rows, pages) = front::paged(matching, &overview, filter, page);
    let mut chrome = Chrome::new(desk, now, head.title.clone());
    chrome.q.clone_from(&filter.q);
    chrome.live = true;
    chrome.front = true;
    chrome.twin = Some("/api/v1/overview".to_owned());
    chrome.notices.clone_from(&overview.notices);
    render(&FrontPage {
        chrome,
        head,
        envs: front::blocks(rows, &overview, board, now),
        paged: pages.is_some(),
        pages,
        empty: board.apps.is_empty(),
        server: board.server.clone(),
        namespace: board.config.namespace.clone(),
        first_env: board
            .config
            .environments
            .names()
            .next()
            .unwrap_or("dev")
            .to_owned(),
    })
}

async fn app_page(
    State(desk): State<Ctx>,
    Path((env, name)): Path<(String, String)>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let board = desk.board();
    let mut face = Face::of(&headers, Face::Html);
    let found = rest::find(&board, &env, &name);
    // A suffix asks for a representation, where no app is called so.
    let app = match (found, name.rsplit_once('.')) {
        (Err(_), Some((name, "json"))) => {
            face = Face::Json;
            rest::find(&board, &env, name)?
        }
        (Err(_), Some((name, "txt"))) => {
            face = Face::Text;
            rest::find(&board, &env, name)?
        }
        (found, _) => found?,
    };
    let at = desk.now();
    let etag = etag(&board, at, face);
    if let Some(response) = unchanged(&headers, &etag) {
        return Ok(response);
    }
    let now = Now(at.into());
    let wired = wire::app(&board, &app);
    let answer = match face {
        Face::Json => json(&wired)?,
        Face::Text => plain(text::app(&wired, now.0)),
        Face::Html => {
            let title = format!(
                "{} in {}: {}",
                wired.summary.name,
                wired.summary.env,
                wired.summary.state.text()
            );
            let body = AppBody::new(wired, &app, now);
            if view.only.is_some() {
                render(&AppPiece { body })?
            } else {
                let mut chrome = Chrome::new(&desk, now, title);
                chrome.live = true;
                chrome.twin = Some(body.json_href.clone());
                chrome.notices = wire::overview(&board, at).notices;
                render(&AppPage { chrome, body })?
            }
        }
    };
    Ok(tagged(answer, &etag))
}

/// `/apps/APP`: the one environment that has it, or the front page filtered by its name.
async fn everywhere(State(desk): State<Ctx>, Path(name): Path<String>) -> Result<Redirect, Fail> {
    let board = desk.board();
    let mut here = board.apps.keys().filter(|(_, app)| *app == name);
    match (here.next(), here.next()) {
        (None, _) => Err(rest::find(&board, "any environment", &name)
            .err()
            .unwrap_or_else(|| Fail::of_status(StatusCode::NOT_FOUND))),
        (Some((env, _)), None) => Ok(Redirect::temporary(&words::app_href(env, &name))),
        (Some(_), Some(_)) => Ok(Redirect::temporary(&format!(
            "/?q={}",
            words::segment(&name)
        ))),
    }
}

async fn words_page(State(desk): State<Ctx>) -> Result<Response, Fail> {
    let mut chrome = Chrome::new(&desk, Now(desk.now().into()), "Words");
    chrome.words = true;
    render(&WordsPage {
        chrome,
        states: Word::ALL.into_iter().map(catalogue::Meaning::of).collect(),
        steps: &catalogue::STEPS,
        reasons: catalogue::REASONS,
    })
}

/// Everything else: the address without its trailing slash, or nothing.
pub(super) async fn nothing(uri: Uri) -> Response {
    let path = uri.path();
    let ours = ["/apps/", "/help/", "/api/"]
        .iter()
        .any(|start| path.starts_with(start));
    match path.strip_suffix('/') {
        // Only below our own folders, so that `//elsewhere/` does not become an address of another host.
        Some(shorter) if ours && !shorter.ends_with('/') => {
            Redirect::permanent(shorter).into_response()
        }
        _ => Fail::of_status(StatusCode::NOT_FOUND).into_response(),
    }
}

/// An error as a page, with the same bar as every other.
pub(super) fn failure(desk: &Desk, fail: &Fail, problem: &Problem) -> Response {
    let now = Now(Time::from(desk.now()));
    let mut chrome = Chrome::new(desk, now, problem.title.clone());
    // What is starting will be there in a moment: without JavaScript, too.
    chrome.refresh = (problem.code == "lockstep.starting").then_some(5);
    let next = problem.next.as_deref().map(wire::next_move);
    let page = FailurePage {
        chrome,
        sentence: sentence(&problem.detail),
        command: next.and_then(|next| next.command),
        suggestions: fail.suggestions().to_vec(),
        problem: problem.clone(),
    };
    render(&page).unwrap_or_else(|_| plain(text::problem(problem)))
}

/// A clause as a sentence: with a capital and a full stop.
pub(super) fn sentence(clause: &str) -> String {
    let mut chars = clause.chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    let stop = if clause.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    // A commit's digits, and names with digits, are written as they are.
    let word = clause.split_whitespace().next().unwrap_or_default();
    if word.contains(|c: char| c.is_ascii_digit()) {
        return format!("{clause}{stop}");
    }
    format!("{}{}{stop}", first.to_uppercase(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_commit_at_the_beginning_of_a_sentence_keeps_its_digits() {
        assert_eq!(
            sentence("b7ab734 waits for a person"),
            "b7ab734 waits for a person."
        );
        assert_eq!(sentence("being deleted!"), "Being deleted!");
        assert_eq!(sentence(""), "");
    }
}
