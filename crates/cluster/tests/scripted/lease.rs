//! What its holder keeps beside its name in a Lease, and who reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockstep_cluster::lease::{CLAIMS, Ended, Lease, NotHeld};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::server::{Reply, Server};

fn standing(holder: &str, version: usize, text: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "lockstep", "namespace": "argocd", "resourceVersion": version.to_string(),
            "annotations": {CLAIMS: text}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4}})
}

/// The text that each request wrote, in order.
fn written(server: &Server) -> Vec<String> {
    let asked = server.asked();
    let bodies = server.bodies();
    let puts = asked
        .iter()
        .zip(&bodies)
        .filter(|(line, _)| line.starts_with("PUT"));
    let text = |body: &Value| {
        body["metadata"]["annotations"][CLAIMS]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    puts.map(|(_, body)| text(body)).collect()
}

/// Renews it until it ends.
fn keep(lease: &Arc<Lease>, stop: &CancellationToken) -> JoinSet<Ended> {
    let (lease, stop) = (Arc::clone(lease), stop.clone());
    let mut keeping = JoinSet::new();
    keeping.spawn(async move { lease.keep(&stop).await });
    keeping
}

async fn ended(keeping: &mut JoinSet<Ended>) -> Ended {
    let ended = keeping.join_next().await.expect("it was spawned");
    ended.expect("it does not panic")
}

async fn lease(server: &Server) -> Arc<Lease> {
    let cluster = server.connect().await.expect("it is there");
    Arc::new(Lease::new(cluster, "argocd", "lockstep", "me"))
}

#[tokio::test]
async fn whoever_takes_a_lease_over_keeps_what_was_left_in_it_until_it_writes_something_else() {
    let server = Server::start(|line, count| {
        let holder = if line.starts_with("GET") { "" } else { "me" };
        Reply::json(200, standing(holder, count, "left"))
    });
    let lease = lease(&server).await;
    let stop = CancellationToken::new();
    lease.acquire(&stop).await.expect("nobody holds it");
    assert_eq!(&*lease.text(), "left");
    let mut keeping = keep(&lease, &stop);
    lease.write("mine").await.expect("it is ours");
    lease.put("later");
    assert_eq!(
        written(&server),
        ["left", "mine"],
        "what is put waits for the next renewal"
    );
    stop.cancel();
    assert_eq!(ended(&mut keeping).await, Ended::Stopped);
    assert_eq!(
        written(&server),
        ["left", "mine", "later"],
        "given back with what is not settled"
    );
}

#[tokio::test]
async fn what_is_written_by_one_who_lost_the_lease_is_refused() {
    let taken = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let taken = Arc::clone(&taken);
        move |line, count| match (line.starts_with("GET"), taken.load(Ordering::SeqCst)) {
            (true, false) => Reply::json(200, standing("", count, "")),
            (false, false) => Reply::json(200, standing("me", count, "")),
            (true, true) => Reply::json(200, standing("another", count, "theirs")),
            (false, true) => Reply::status(409, "Conflict"),
        }
    });
    let lease = lease(&server).await;
    let stop = CancellationToken::new();
    lease.acquire(&stop).await.expect("nobody holds it");
    let mut keeping = keep(&lease, &stop);
    taken.store(true, Ordering::SeqCst);
    let refused = tokio::time::timeout(Duration::from_secs(20), lease.write("mine")).await;
    assert_eq!(refused.expect("it is told at once"), Err(NotHeld));
    assert_eq!(ended(&mut keeping).await, Ended::Taken);
    assert_eq!(lease.write("again").await, Err(NotHeld));
}

#[tokio::test]
async fn a_write_that_fails_is_tried_again_until_it_stands() {
    let server = Server::start(|line, count| match (line.starts_with("GET"), count) {
        (true, _) => Reply::json(200, standing("", count, "")),
        (false, 3) => Reply::status(500, "InternalError"),
        (false, _) => Reply::json(200, standing("me", count, "")),
    });
    let lease = lease(&server).await;
    let stop = CancellationToken::new();
    lease.acquire(&stop).await.expect("nobody holds it");
    let mut keeping = keep(&lease, &stop);
    lease.write("mine").await.expect("it is ours");
    assert_eq!(written(&server), ["", "mine", "mine"]);
    stop.cancel();
    ended(&mut keeping).await;
}
