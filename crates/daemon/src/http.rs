//! What people and machines see over HTTP: pages, REST in two shapes, the stream, the webhook, health and metrics.
//!
//! Everything is read from one snapshot of the board; everything asked for goes to the engine as a [`Command`].
//! Nothing here touches a cluster or a git host.
//!
//! Reading order: [`listener`] bounds connections, [`finish`] wraps every request, [`access`] says who may,
//! [`problem`] is every error; [`wire`] turns the board into wire types; [`rest`], [`sync`], [`orders`] and [`stream`]
//! are our own REST, with [`once`] for what is sent twice, [`argo`] Argo CD's; [`webhook`] is for git hosts; [`pages`] is for people, with [`front`] and [`app_page`]
//! as what the templates show, [`words`] as how it is said, and [`assets`] as what stands beside it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::board::{Board, Command, Faces};
use crate::metrics::Metrics;

mod access;
mod app_page;
mod argo;
mod assets;
mod finish;
mod front;
mod listener;
mod negotiate;
mod once;
mod orders;
mod pages;
mod problem;
mod rest;
mod stream;
mod sync;
mod webhook;
mod wire;
mod words;

use problem::Fail;

/// The largest body that anything but a webhook may send: the largest sync by REST is some hundred bytes.
const BODY_BYTES: usize = 16 * 1024;

/// How long requests in flight may take once the daemon is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The faces cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Accepting connections failed for good.
    #[error("cannot serve HTTP")]
    Serve(#[source] std::io::Error),
}

/// The clock, as an argument: tests and pictures bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What every handler works from.
pub(crate) struct Desk {
    faces: Faces,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    clock: Clock,
    assets: assets::Assets,
    remembered: once::Remembered,
    streams: Arc<Semaphore>,
}

/// The desk, as handlers take it.
pub(crate) type Ctx = Arc<Desk>;

impl Desk {
    /// The newest snapshot.
    fn board(&self) -> Arc<Board> {
        Arc::clone(&self.faces.board.borrow())
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Hands a command to the engine without waiting for room: a full queue is an answer, too.
    fn command(&self, command: Command) -> Result<(), Fail> {
        self.faces
            .commands
            .try_send(command)
            .map_err(|_| Fail::busy())
    }
}

/// Serves until `stop`, then finishes what is in flight within five seconds.
///
/// Errors: the listener is broken for good.
pub async fn serve(
    listener: tokio::net::TcpListener,
    faces: Faces,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), HttpError> {
    let app = router(faces, metrics, stop.clone());
    let served = axum::serve(listener::Bounded::new(listener), app)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = served => ended.map_err(HttpError::Serve),
        () = late => Ok(()),
    }
}

/// Everything that [`serve`] answers, by the system's clock.
pub fn router(faces: Faces, metrics: Arc<Metrics>, stop: CancellationToken) -> Router {
    router_at(faces, metrics, stop, Arc::new(Timestamp::now))
}

/// Everything that [`serve`] answers, by this clock.
///
/// Bounds: `http.limits` of the configuration as it is now; a change of them takes a restart, like the address.
pub fn router_at(
    faces: Faces,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    clock: Clock,
) -> Router {
    let limits = faces.board.borrow().config.http.limits.clone();
    let desk = Arc::new(Desk {
        faces,
        metrics,
        stop,
        clock,
        assets: assets::Assets::new(),
        remembered: once::Remembered::default(),
        streams: Arc::new(Semaphore::new(limits.streams)),
    });

    let readers = middleware::from_fn_with_state(Arc::clone(&desk), access::readers);
    // These wait on purpose, each within bounds of its own.
    let patient = Router::new()
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/operations/{id}", get(rest::operation))
        .route_layer(readers.clone());
    let read = Router::new()
        .merge(pages::routes())
        .merge(rest::routes())
        .merge(argo::reads())
        .route_layer(readers);
    let write = Router::new()
        .route("/api/v1/apps/{env}/{app}/sync", post(sync::sync))
        .route("/api/v1/apps/{env}/{app}/rollback", post(orders::rollback))
        .route("/api/v1/apps/{env}/{app}/release", post(orders::release))
        .route(
            "/api/v1/apps/{env}/{app}/terminate",
            post(orders::terminate),
        )
        .route("/api/v1/apps/{env}/{app}/abandon", post(orders::abandon))
        .merge(argo::writes())
        .layer(DefaultBodyLimit::max(BODY_BYTES));
    let open = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/favicon.svg", get(assets::favicon))
        .route("/static/{file}", get(assets::file))
        .route(
            "/api/webhook",
            post(webhook::webhook).layer(DefaultBodyLimit::max(limits.body.as_usize())),
        );
    let prompt = Router::new()
        .merge(read)
        .merge(write)
        .merge(open)
        .fallback(pages::nothing)
        .layer(
            // The time-out stands outside, so that waiting for one's turn counts as well.
            ServiceBuilder::new()
                .layer(TimeoutLayer::with_status_code(
                    StatusCode::SERVICE_UNAVAILABLE,
                    limits.timeout,
                ))
                .layer(GlobalConcurrencyLimitLayer::new(limits.requests)),
        );

    Router::new()
        .merge(patient)
        .merge(prompt)
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(
                    Arc::clone(&desk),
                    finish::finish,
                ))
                .layer(CompressionLayer::new())
                .layer(RequestBodyLimitLayer::new(limits.body.as_usize()))
                .layer(CatchPanicLayer::new()),
        )
        .with_state(desk)
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready once every Application has been read, or as the replica that stands by.
async fn readyz(State(desk): State<Ctx>) -> Response {
    let board = desk.board();
    if board.complete {
        "ready\n".into_response()
    } else if !board.leading {
        "standing by: another replica holds the lease\n".into_response()
    } else {
        Fail::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "lockstep.starting",
            "Lockstep is starting",
        )
        .detail("not every Application has been read yet")
        .retry_after(Duration::from_secs(1))
        .into_response()
    }
}

async fn scrape(State(desk): State<Ctx>) -> Result<Response, Fail> {
    let text = desk
        .metrics
        .encode(&desk.board())
        .map_err(|_| Fail::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
