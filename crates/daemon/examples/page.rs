//! Serves a made-up board, to look at the page in a browser: `cargo run -p lockstep-daemon --example page [PORT] [empty|faults|live|deeds]`.
//!
//! With `live`, one app fails and recovers every two seconds; with `deeds`, the apps have hooks, or were rolled back, or
//! are being deleted.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use lockstep_daemon::board::Board;
use lockstep_daemon::http::router_at;
use lockstep_daemon::metrics::Metrics;
use lockstep_reconcile::view::Word;
use tokio_util::sync::CancellationToken;

#[path = "../tests/faces/sample/mod.rs"]
#[expect(
    dead_code,
    reason = "the tests use more of the sample than the picture does"
)]
mod sample;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .map_or(Ok(7480), |port| port.parse())?;
    let which = std::env::args().nth(2).unwrap_or_default();
    let mut board = match which.as_str() {
        "empty" => sample::board_of(Vec::new()),
        "deeds" => sample::board_of(vec![
            sample::with_hooks_to_run(),
            sample::verified(),
            sample::rolled_back(),
            sample::leaving(),
        ]),
        _ => sample::board(),
    };
    if which == "faults" {
        let fault = |code: &str, message: &str| {
            lockstep_app::Fault::new(lockstep_app::Blame::Environment, code, message)
        };
        board.cluster_fault = Some(fault("unknown.cluster", "connect: connection refused"));
        board.config_fault = Some(
            fault(
                "config.invalid",
                "lockstep.yaml:14:5: environments[1].drift: no such policy",
            )
            .hint("write heal, report or {healAfter: 5m}"),
        );
    }
    let (faces, publish, _orders) = sample::ends(board);
    let metrics = Arc::new(Metrics::new());
    let app = router_at(
        faces,
        metrics,
        CancellationToken::new(),
        Arc::new(sample::now),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let turns = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if which == "live" {
                publish.send_modify(turn);
            }
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).into_future() => served?,
        () = turns => {}
    }
    Ok(())
}

/// One app fails, or recovers.
fn turn(board: &mut Arc<Board>) {
    let mut next = Board::clone(board);
    next.version += 1;
    let key = ("prod".to_owned(), "catalog".to_owned());
    next.changed.insert(key.clone(), next.version);
    if let Some(app) = next.apps.get_mut(&key).map(Arc::make_mut) {
        app.word = match app.word {
            Word::Synced => Word::Failing,
            _ => Word::Synced,
        };
    }
    *board = Arc::new(next);
}
