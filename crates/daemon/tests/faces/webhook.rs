//! The webhook.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use lockstep_daemon::board::Command;
use serde_json::json;
use sha2::Sha256;

use crate::sample;
use crate::site::Site;

fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn request(event: &str, body: &str, signatures: &[&str]) -> Request<Body> {
    let mut request = Request::post("/api/webhook")
        .header("x-github-event", event)
        .header("content-type", "application/json");
    for signature in signatures {
        request = request.header("x-hub-signature-256", *signature);
    }
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

/// A delivery with the right signature.
pub(crate) fn signed(event: &str, body: &str) -> Request<Body> {
    request(event, body, &[&signature(sample::SECRET, body)])
}

#[tokio::test]
async fn a_push_is_accepted_and_only_says_where_to_look() {
    let mut site = Site::new(sample::board());
    let body = json!({"ref": "refs/heads/main", "after": "f".repeat(40), "repository": {
        "clone_url": sample::REMOTE, "html_url": "https://git.example.org/example-org/deploy",
        "ssh_url": "git@git.example.org:example-org/deploy.git"}});
    let answer = site.send(signed("push", &body.to_string())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(!answer.body.contains("example-org"));
    match site.orders.try_recv() {
        Ok(Command::Pushed { remote }) => assert_eq!(remote, sample::REMOTE),
        other => panic!("{other:?}"),
    }
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_missing_wrong_or_malformed_signature_is_401_and_reaches_nobody() {
    let mut site = Site::new(sample::board());
    let body = json!({"repository": {"clone_url": sample::REMOTE}}).to_string();
    let right = signature(sample::SECRET, &body);
    let wrong = signature("another secret", &body);
    let other = signature(sample::SECRET, "another body");
    let short = right.get(..70).expect("digits");
    let cases: [&[&str]; 8] = [
        &[],
        &[&wrong],
        &[&other],
        &[short],
        &["sha256="],
        &["sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709"],
        &[right.trim_start_matches("sha256=")],
        &[&right, &right],
    ];
    let mut bodies = Vec::new();
    for signatures in cases {
        let answer = site.send(request("push", &body, signatures)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{signatures:?}");
        let mut problem = answer.json();
        problem["requestId"] = json!("");
        bodies.push(problem);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "every failure reads the same");
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_signature_is_checked_before_the_body_is_read() {
    let site = Site::new(sample::board());
    let answer = site
        .send(request(
            "push",
            "no json",
            &[&signature("wrong", "no json")],
        ))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = site.send(signed("push", "no json")).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::BAD_REQUEST, json!("webhook.body"))
    );
}

#[tokio::test]
async fn an_oversized_body_is_413() {
    let site = Site::new(sample::board());
    let body = "x".repeat(2 << 20);
    let answer = site.send(signed("push", &body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut declared = signed("push", "{}");
    declared
        .headers_mut()
        .insert("content-length", "9999999".parse().expect("a header"));
    assert_eq!(
        site.send(declared).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn without_a_secret_everything_is_refused_with_what_to_do() {
    for secret in [None, Some(lockstep_manifest::Sensitive::new(String::new()))] {
        let mut board = sample::board();
        board.webhook_secret = secret;
        let mut site = Site::new(board);
        let answer = site
            .send(request("push", "{}", &[&signature("", "{}")]))
            .await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            answer.json()["next"]
                .as_str()
                .expect("a text")
                .contains("webhook:")
        );
        assert!(site.orders.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_ping_is_answered_and_other_events_are_ignored_with_the_reason() {
    let mut site = Site::new(sample::board());
    let ping = site.send(signed("ping", "{}")).await;
    assert_eq!(
        (ping.status, ping.json()["reason"].clone()),
        (StatusCode::ACCEPTED, json!("pong"))
    );
    let other = site.send(signed("pull_request", "{}")).await;
    assert_eq!(
        other.json(),
        json!({"accepted": false, "reason": "only push and ping are acted on"})
    );
    let empty = site.send(signed("push", "{}")).await;
    assert_eq!(
        (empty.status, empty.json()["accepted"].clone()),
        (StatusCode::ACCEPTED, json!(false))
    );
    assert!(site.orders.try_recv().is_err());
    let metrics = site.get("/metrics").await.body;
    assert!(
        metrics.contains("lockstep_webhooks_total{result=\"ping\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("lockstep_webhooks_total{result=\"ignored\"} 2"));
}
