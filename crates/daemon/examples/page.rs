//! Serves a made-up board, to look at the page in a browser: `cargo run -p lockstep-daemon --example page [PORT]`.

use std::future::IntoFuture;
use std::sync::Arc;

use lockstep_daemon::http::router_at;
use lockstep_daemon::metrics::Metrics;
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
    let (faces, _publish, _orders) = sample::ends(board);
    let metrics = Arc::new(Metrics::new());
    let app = router_at(
        faces,
        metrics,
        CancellationToken::new(),
        Arc::new(sample::now),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).into_future().await?;
    Ok(())
}
