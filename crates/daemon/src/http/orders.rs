//! What else can be asked of an app: to go back, to follow its target again, to end a sync, to give objects up.

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockstep_api::operation::{AbandonRequest, Past, RollbackRequest};
use lockstep_app::app::Revision;
use lockstep_manifest::ObjectId;
use lockstep_reconcile::view::AppView;
use lockstep_reconcile::{Order, RollbackOrder, RollbackTo, Until};

use super::access::Writer;
use super::negotiate::json;
use super::problem::Fail;
use super::sync::{Sent, accepted, read};
use super::{Ctx, rest, wire};
use crate::board::What;

type At = Path<(String, String)>;

/// A commit is named by this many digits or more: what is shorter is the number of a deployment.
const SHORTEST_COMMIT: usize = 7;

/// `POST /api/v1/apps/ENV/APP/rollback`.
pub(super) async fn rollback(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    writer: Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fail> {
    let next = "send {}, with to, reason, until, prune, skipHooks and dryRun where needed";
    let request: RollbackRequest = read(&headers, &body, "rollback.body", next)?;
    let view = rest::find(&desk.board(), &env, &name)?;
    let title = format!("{name} in {env} was not rolled back");
    let order = Order {
        prune: Some(request.prune),
        dry_run: request.dry_run,
        skip_hooks: request.skip_hooks,
        rollback: Some(RollbackOrder {
            to: back_to(&view, request.to.as_ref(), &title)?,
            reason: request.reason.trim().to_owned(),
            until: until(&request.until, desk.now(), &title)?,
        }),
        ..Order::by(&writer.0)
    };
    let sent = Sent {
        verb: "rollback",
        view: &view,
        by: &writer,
        headers: &headers,
        body: &body,
        title,
    };
    let operation = sent.carry(&desk, What::Sync(Box::new(order))).await?;
    accepted(&desk, &operation).await
}

/// The deployment that is meant. Errors: none is of such a commit, or several commits begin like that.
fn back_to(view: &AppView, to: Option<&Past>, title: &str) -> Result<RollbackTo, Fail> {
    let text = match to {
        None => return Ok(RollbackTo::Previous),
        Some(Past::Number(number)) => return Ok(RollbackTo::Id(*number)),
        Some(Past::Commit(text)) => text.trim().to_ascii_lowercase(),
    };
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.len() < SHORTEST_COMMIT {
        return match text.parse() {
            Ok(number) => Ok(RollbackTo::Id(number)),
            Err(_) => Err(Fail::new(StatusCode::BAD_REQUEST, "rollback.body", title)
                .detail("to is neither the number of a deployment nor seven digits of its commit")
                .next(format!(
                    "lockstep history {} -e {}",
                    view.name, view.environment
                ))),
        };
    }
    let deployed = view.history.iter().map(|past| &past.commit.revision);
    let mut found: Vec<&Revision> = deployed
        .filter(|revision| revision.as_str().starts_with(&text))
        .collect();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(RollbackTo::Revision((*one).clone())),
        [] => Err(Fail::new(StatusCode::NOT_FOUND, "rollback.unknown", title)
            .detail(format!(
                "commit {text} is not among the last {} deployments",
                view.history.len()
            ))
            .next(format!(
                "lockstep history {} -e {}",
                view.name, view.environment
            ))),
        // The same commit was deployed more than once: its newest deployment.
        [first, rest @ ..] if rest.iter().all(|one| one == first) => {
            Ok(RollbackTo::Revision((*first).clone()))
        }
        _ => Err(Fail::new(StatusCode::BAD_REQUEST, "rollback.body", title)
            .detail("the commits of several deployments begin like that")
            .next("write more of its digits")),
    }
}

/// How long the app stays there.
fn until(text: &str, now: Timestamp, title: &str) -> Result<Until, Fail> {
    let text = text.trim();
    let at = match text {
        "" | "newer-commit" => return Ok(Until::NewerCommit),
        "release" => return Ok(Until::Release),
        text => text.parse::<Timestamp>().ok().or_else(|| {
            let span: jiff::Span = text.parse().ok()?;
            let then = now.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
            Some(then.timestamp())
        }),
    };
    at.filter(|at| *at > now).map(Until::Time).ok_or_else(|| {
        Fail::new(StatusCode::BAD_REQUEST, "rollback.until", title)
            .detail(format!("until is no time to come: {text:?}"))
            .next("write newer-commit, release, a time such as 2026-03-12T16:00:00Z, or a length such as 2h")
    })
}

/// `POST /api/v1/apps/ENV/APP/terminate`.
pub(super) async fn terminate(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    writer: Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fail> {
    let view = rest::find(&desk.board(), &env, &name)?;
    let sent = Sent {
        verb: "terminate",
        view: &view,
        by: &writer,
        headers: &headers,
        body: &body,
        title: format!("No sync of {name} in {env} was ended"),
    };
    sent.carry(&desk, What::Terminate).await?;
    as_it_is(&desk, &view)
}

/// `POST /api/v1/apps/ENV/APP/release`.
pub(super) async fn release(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    writer: Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fail> {
    let view = rest::find(&desk.board(), &env, &name)?;
    let sent = Sent {
        verb: "release",
        view: &view,
        by: &writer,
        headers: &headers,
        body: &body,
        title: format!("{name} in {env} was not released"),
    };
    sent.carry(&desk, What::Release).await?;
    as_it_is(&desk, &view)
}

/// `POST /api/v1/apps/ENV/APP/abandon`.
pub(super) async fn abandon(
    State(desk): State<Ctx>,
    Path((env, name)): At,
    writer: Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fail> {
    let next = "send {\"objects\":[{\"group\":\"\",\"kind\":\"ConfigMap\",\"namespace\":\"shop\",\"name\":\"web\"}]}";
    let request: AbandonRequest = read(&headers, &body, "abandon.body", next)?;
    let view = rest::find(&desk.board(), &env, &name)?;
    let title = format!("No object of {name} in {env} was given up");
    if request.objects.is_empty() {
        return Err(Fail::new(StatusCode::BAD_REQUEST, "abandon.body", title)
            .detail("objects is empty")
            .next(next));
    }
    let objects = request.objects.into_iter().map(|object| ObjectId {
        group: object.group,
        kind: object.kind,
        namespace: object.namespace.unwrap_or_default(),
        name: object.name,
    });
    let sent = Sent {
        verb: "abandon",
        view: &view,
        by: &writer,
        headers: &headers,
        body: &body,
        title,
    };
    let what = What::Abandon(objects.collect());
    sent.carry(&desk, what).await?;
    as_it_is(&desk, &view)
}

/// The app after something was done to it: the engine publishes before it answers. One that is gone by now is shown
/// as it was.
fn as_it_is(desk: &Ctx, before: &AppView) -> Result<Response, Fail> {
    let board = desk.board();
    let at = (before.environment.clone(), before.name.clone());
    let view = board.apps.get(&at).map_or(before, |view| view.as_ref());
    json(&wire::app(&board, view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_rollback_holds_is_a_word_a_time_or_a_length_of_time() {
        let now: Timestamp = "2026-03-12T14:00:00Z".parse().expect("a time");
        let read = |text: &str| until(text, now, "t").ok();
        let at = |text: &str| Some(Until::Time(text.parse().expect("a time")));
        assert_eq!(read(""), Some(Until::NewerCommit));
        assert_eq!(read("release"), Some(Until::Release));
        assert_eq!(
            read("2026-03-12T17:00:00+01:00"),
            at("2026-03-12T16:00:00Z")
        );
        assert_eq!(read("1h30m"), at("2026-03-12T15:30:00Z"));
        assert_eq!(read("2d"), at("2026-03-14T14:00:00Z"));
        for wrong in [
            "soon",
            "-1h",
            "0s",
            "2026-03-12T13:00:00Z",
            "99999999999999y",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
