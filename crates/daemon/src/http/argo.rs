//! Argo CD's REST, for the scripts that know it: reading Applications, asking for a sync or a rollback, ending it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use lockstep_app::app::{Retry, Revision};
use lockstep_app::v1alpha1::{RetryStrategy, SyncOperationResource};
use lockstep_plan::Selector;
use lockstep_reconcile::view::AppView;
use lockstep_reconcile::{Order, RollbackOrder, RollbackTo, Until};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{self, Writer};
use super::negotiate::json as as_json;
use super::problem::Fail;
use super::sync::{ask, not_leading, settled};
use super::{Ctx, rest};
use crate::board::{Board, Command, Demand, SyncRefused, What};

/// How long `?refresh=` waits for the comparison that it asked for.
const REFRESH: Duration = Duration::from_secs(10);

/// gRPC's FailedPrecondition, which Argo CD answers as 400.
const FAILED_PRECONDITION: u8 = 9;

pub(super) fn reads() -> Router<Ctx> {
    Router::new()
        .route("/api/v1/applications", get(list))
        .route("/api/v1/applications/{name}", get(one))
        .route("/api/version", get(version))
}

pub(super) fn writes() -> Router<Ctx> {
    Router::new()
        .route("/api/v1/applications/{name}/sync", post(sync))
        .route("/api/v1/applications/{name}/rollback", post(rollback))
        .route("/api/v1/applications/{name}/operation", delete(terminate))
}

/// gRPC's InvalidArgument.
const INVALID_ARGUMENT: u8 = 3;

/// What reads take, and writes without a body. Argo CD's clients repeat `projects` and spell it in three ways, so it is read by hand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    projects: Vec<String>,
    name: String,
    repo: String,
    namespace: String,
    refresh: String,
}

impl Question {
    fn read(query: Option<&str>) -> Self {
        let mut question = Self::default();
        for pair in query.unwrap_or_default().split('&').take(64) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescaped(value);
            match unescaped(key).as_str() {
                "project" | "projects" | "project[]" | "projects[]" if !value.is_empty() => {
                    question.projects.push(value);
                }
                "name" => question.name = value,
                "repo" => question.repo = value,
                "appNamespace" => question.namespace = value,
                "refresh" => question.refresh = value,
                _ => {}
            }
        }
        question
    }

    /// One Application, as the bodies of writes name it.
    fn of(name: String, project: Option<&String>, namespace: Option<&String>) -> Self {
        let project = project.filter(|project| !project.is_empty());
        Self {
            name,
            projects: project.into_iter().cloned().collect(),
            namespace: namespace.cloned().unwrap_or_default(),
            ..Self::default()
        }
    }

    fn takes(&self, app: &AppView) -> bool {
        let any = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        (self.projects.is_empty() || self.projects.contains(&app.project))
            && any(&self.name, &app.key.name)
            && any(&self.repo, &app.source.remote)
            && any(&self.namespace, &app.key.namespace)
    }
}

/// A part of a query without its escapes; broken ones stay as they are.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        match (escaped, byte) {
            (Some(decoded), _) => {
                out.extend(decoded);
                at += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, byte) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `GET /api/version`: what clients ask first.
async fn version() -> Result<Response, Fail> {
    as_json(&json!({"Version": format!("v{}+lockstep", env!("CARGO_PKG_VERSION"))}))
}

async fn list(State(desk): State<Ctx>, RawQuery(query): RawQuery) -> Result<Response, Fail> {
    let question = Question::read(query.as_deref());
    let board = desk.board();
    let items: Vec<Value> = board
        .apps
        .values()
        .filter(|app| question.takes(app))
        .map(|app| application(app))
        .collect();
    as_json(&json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationList",
        "metadata": {"resourceVersion": board.version.to_string()},
        "items": items,
    }))
}

async fn one(
    State(desk): State<Ctx>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    let mut question = Question::read(query.as_deref());
    question.name = name;
    let board = desk.board();
    let view = find(&board, &question)?;
    if question.refresh.is_empty() {
        return as_json(&application(&view));
    }
    // Looking again costs a fetch, so it takes a token even where pages are open.
    if !access::reader(&headers, &board) {
        access::writer(&headers, &board)?;
    }
    refresh(&desk, &view).await?;
    as_json(&application(&*find(&desk.board(), &question)?))
}

fn find(board: &Board, question: &Question) -> Result<Arc<AppView>, Fail> {
    let view = board.apps.values().find(|app| question.takes(app));
    view.cloned().ok_or_else(|| {
        if board.complete {
            let name: String = question.name.chars().take(80).collect();
            Fail::new(
                StatusCode::NOT_FOUND,
                "app.not_found",
                format!("applications.argoproj.io \"{name}\" not found"),
            )
        } else {
            rest::starting(board)
        }
    })
}

/// Asks for another look, and waits until it has been taken or ten seconds are over: then what is known is answered.
async fn refresh(desk: &Ctx, view: &AppView) -> Result<(), Fail> {
    let app = (view.environment.clone(), view.name.clone());
    let before: Option<Timestamp> = view.compared_at;
    desk.command(Command::Refresh { app: app.clone() })?;
    let mut boards = desk.faces.board.clone();
    let moved = boards.wait_for(|board| {
        board
            .apps
            .get(&app)
            .is_none_or(|view| view.compared_at != before)
    });
    let _ = tokio::time::timeout(REFRESH, moved).await;
    Ok(())
}

/// An app as an Application, as far as it is known here.
fn application(view: &AppView) -> Value {
    let destination = if view.destination.contains("://") {
        json!({"server": view.destination, "namespace": view.namespace})
    } else {
        json!({"name": view.destination, "namespace": view.namespace})
    };
    let mut spec = json!({
        "project": view.project,
        "source": {
            "repoURL": view.source.remote,
            "path": view.source.path,
            "targetRevision": view.source.target,
        },
        "destination": destination,
    });
    if view.automated {
        spec["syncPolicy"] = json!({"automated": {}});
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": view.key.name,
            "namespace": view.key.namespace,
            "uid": view.uid.to_string(),
        },
        "spec": spec,
        "status": lockstep_reconcile::status(view),
    })
}

/// Argo CD's body. What is not named here does not change what a sync does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    revision: Option<String>,
    revisions: Option<Vec<String>>,
    dry_run: Option<bool>,
    prune: Option<bool>,
    strategy: Option<Strategy>,
    resources: Option<Vec<SyncOperationResource>>,
    manifests: Option<Vec<Value>>,
    sync_options: Option<SyncOptions>,
    retry_strategy: Option<RetryStrategy>,
    infos: Option<Vec<Value>>,
    app_namespace: Option<String>,
    project: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Strategy {
    apply: Option<Force>,
    hook: Option<Force>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Force {
    force: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SyncOptions {
    items: Option<Vec<String>>,
}

impl Request {
    /// What would make it another sync than the one that Lockstep does: refused, never silently dropped.
    fn unsupported(&self) -> Option<&'static str> {
        if self.manifests.as_ref().is_some_and(|list| !list.is_empty()) {
            Some("manifests: a sync of local files")
        } else if self.revisions.as_ref().is_some_and(|list| list.len() > 1) {
            Some("revisions: a commit per source")
        } else {
            None
        }
    }

    /// Without hooks, and by deleting and creating what cannot be changed?
    fn strategy(&self) -> (bool, bool) {
        let Some(strategy) = &self.strategy else {
            return (false, false);
        };
        let ways = [&strategy.apply, &strategy.hook];
        let force = ways.into_iter().flatten().any(|way| way.force);
        (strategy.apply.is_some(), force)
    }

    fn retry(&self) -> Result<Option<Retry>, Fail> {
        let Some(written) = &self.retry_strategy else {
            return Ok(None);
        };
        lockstep_app::lower::requested_retry(written)
            .map(Some)
            .map_err(|errors| {
                let first = errors.first().map(ToString::to_string);
                Fail::new(StatusCode::BAD_REQUEST, "sync.body", "cannot sync")
                    .detail(first.unwrap_or_default())
            })
    }

    /// What is left to the Application's own spec: the answer says so.
    fn left_to_the_spec(&self) -> Option<&'static str> {
        let options = self
            .sync_options
            .as_ref()
            .and_then(|options| options.items.as_ref());
        if options.is_some_and(|items| !items.is_empty()) {
            Some("syncOptions are taken from spec.syncPolicy.syncOptions")
        } else if self
            .retry_strategy
            .as_ref()
            .is_some_and(|retry| retry.refresh == Some(true))
        {
            Some("retryStrategy.refresh is not acted on: a newer commit is a sync of its own")
        } else if self.infos.as_ref().is_some_and(|infos| !infos.is_empty()) {
            Some("infos are not kept")
        } else {
            None
        }
    }
}

/// A body that may be left out.
fn body<T: Default + serde::de::DeserializeOwned>(body: &[u8], code: &str) -> Result<T, Fail> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        Fail::new(StatusCode::BAD_REQUEST, code, "the body cannot be read")
            .detail(error.to_string())
    })
}

/// `POST /api/v1/applications/NAME/sync`.
async fn sync(
    State(desk): State<Ctx>,
    Path(name): Path<String>,
    writer: Writer,
    bytes: Bytes,
) -> Result<Response, Fail> {
    let request: Request = body(&bytes, "sync.body")?;
    if let Some(what) = request.unsupported() {
        return Err(Fail::new(
            StatusCode::BAD_REQUEST,
            "sync.unsupported",
            "not supported by Lockstep",
        )
        .detail(what)
        .next("leave it out"));
    }
    let question = Question::of(
        name,
        request.project.as_ref(),
        request.app_namespace.as_ref(),
    );
    let view = find(&desk.board(), &question)?;
    let revision = request.revision.as_deref().or_else(|| {
        request
            .revisions
            .as_ref()
            .and_then(|list| list.first())
            .map(String::as_str)
    });
    let (skip_hooks, force) = request.strategy();
    let selected = |one: &SyncOperationResource| Selector {
        group: one.group.clone(),
        kind: one.kind.clone(),
        namespace: one.namespace.clone(),
        name: one.name.clone(),
    };
    let order = Order {
        prune: Some(request.prune.unwrap_or(false)),
        revision: commit(&view, revision)?,
        dry_run: request.dry_run.unwrap_or(false),
        resources: request.resources.iter().flatten().map(selected).collect(),
        skip_hooks,
        force,
        retry: request.retry()?,
        ..Order::by(&writer.0)
    };
    let what = What::Sync(Box::new(order));
    begin(
        &desk,
        &question,
        &view,
        writer,
        what,
        request.left_to_the_spec(),
    )
    .await
}

/// Begins an operation, and answers with the Application once it shows there.
async fn begin(
    desk: &Ctx,
    question: &Question,
    view: &AppView,
    writer: Writer,
    what: What,
    warning: Option<&str>,
) -> Result<Response, Fail> {
    let demand = Demand {
        app: (view.environment.clone(), view.name.clone()),
        by: writer.0,
        what,
    };
    let operation = ask(desk, demand).await?.map_err(refused)?;
    settled(desk, |board| board.operations.contains_key(&operation)).await;
    let mut response = as_json(&application(&*find(&desk.board(), question)?))?;
    if let Some(note) = warning
        && let Ok(value) = HeaderValue::from_str(&format!("299 lockstep \"{note}\""))
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("warning"), value);
    }
    Ok(response)
}

/// Argo CD's body of a rollback. Its numbers are of 64 bits, which some clients write as texts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollbackRequest {
    id: Option<Value>,
    dry_run: Option<bool>,
    prune: Option<bool>,
    app_namespace: Option<String>,
    project: Option<String>,
}

/// `POST /api/v1/applications/NAME/rollback`. As in Argo CD no hooks run.
async fn rollback(
    State(desk): State<Ctx>,
    Path(name): Path<String>,
    writer: Writer,
    bytes: Bytes,
) -> Result<Response, Fail> {
    let request: RollbackRequest = body(&bytes, "rollback.body")?;
    let question = Question::of(
        name,
        request.project.as_ref(),
        request.app_namespace.as_ref(),
    );
    let view = find(&desk.board(), &question)?;
    let id = request.id.as_ref().and_then(|id| match id {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    let Some(id) = id else {
        return Err(Fail::new(
            StatusCode::BAD_REQUEST,
            "rollback.body",
            "id is not the number of a deployment",
        )
        .next("take one of status.history"));
    };
    if !view.history.iter().any(|past| past.id == id) {
        let message = format!(
            "application {} does not have deployment id {id}",
            view.key.name
        );
        let fail = Fail::new(StatusCode::BAD_REQUEST, "rollback.unknown", message);
        return Err(fail.grpc(INVALID_ARGUMENT));
    }
    let order = Order {
        prune: Some(request.prune.unwrap_or(false)),
        dry_run: request.dry_run.unwrap_or(false),
        skip_hooks: true,
        rollback: Some(RollbackOrder {
            to: RollbackTo::Id(id),
            reason: String::new(),
            until: Until::NewerCommit,
        }),
        ..Order::by(&writer.0)
    };
    // Argo CD refuses it here, because its next comparison would undo it.
    let warning = view.automated.then_some(
        "auto-sync stays on; the app is kept there until its target names a newer commit",
    );
    begin(
        &desk,
        &question,
        &view,
        writer,
        What::Sync(Box::new(order)),
        warning,
    )
    .await
}

/// `DELETE /api/v1/applications/NAME/operation`.
async fn terminate(
    State(desk): State<Ctx>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    writer: Writer,
) -> Result<Response, Fail> {
    let mut question = Question::read(query.as_deref());
    question.name = name;
    let view = find(&desk.board(), &question)?;
    let demand = Demand {
        app: (view.environment.clone(), view.name.clone()),
        by: writer.0,
        what: What::Terminate,
    };
    match ask(&desk, demand).await? {
        Ok(_) => as_json(&json!({})),
        Err(SyncRefused::Fault(fault)) if fault.code == "sync.none" => Err(Fail::new(
            StatusCode::BAD_REQUEST,
            &fault.code,
            "Unable to terminate operation. No operation is in progress",
        )
        .grpc(INVALID_ARGUMENT)),
        Err(why) => Err(refused(why)),
    }
}

/// The commit that a sync is to go to; none is the target's own.
fn commit(view: &AppView, revision: Option<&str>) -> Result<Option<Revision>, Fail> {
    let target = view.source.target.as_str();
    match revision.map(str::trim) {
        None | Some("") => Ok(None),
        Some(revision) if revision == target => Ok(None),
        Some("HEAD") if target.is_empty() => Ok(None),
        Some(revision) => revision.parse().map(Some).map_err(|_| {
            Fail::new(
                StatusCode::BAD_REQUEST,
                "sync.revision",
                "cannot sync to that revision",
            )
            .detail("it is neither the Application's targetRevision nor a complete commit id")
            .next("leave revision out, or write all 40 digits of a commit")
        }),
    }
}

fn refused(refused: SyncRefused) -> Fail {
    let precondition = |code: &str, message: String| {
        Fail::new(StatusCode::BAD_REQUEST, code, message).grpc(FAILED_PRECONDITION)
    };
    match refused {
        SyncRefused::NotFound => Fail::new(
            StatusCode::NOT_FOUND,
            "app.not_found",
            "the application is gone by now",
        ),
        SyncRefused::PlanChanged { .. } => {
            precondition("sync.plan_changed", "the plan has changed".to_owned())
        }
        SyncRefused::Running { .. } => precondition(
            "sync.running",
            "another operation is already in progress".to_owned(),
        ),
        SyncRefused::NotLeading => not_leading("this replica does not sync"),
        SyncRefused::Fault(fault) => match Fail::of_fault("cannot sync", &fault) {
            fail if fail.status() == StatusCode::SERVICE_UNAVAILABLE => fail,
            fail => {
                let reason = fail.reason();
                let message = format!("{}: {}", reason.title, reason.detail);
                let next = reason.next.clone();
                let fail = precondition(&fault.code, message);
                match next {
                    Some(next) => fail.next(next),
                    None => fail,
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_read_however_a_client_spells_them() {
        let question = Question::read(Some("projects=a&project%5B%5D=b+c&refresh=hard&unknown=1"));
        assert_eq!(question.projects, ["a", "b c"]);
        assert_eq!(question.refresh, "hard");
    }
}
