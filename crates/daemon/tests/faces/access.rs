//! Who may.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use lockstep_app::config::Access;
use lockstep_daemon::board::Board;

use crate::sample;
use crate::site::Site;

const SYNC: &str = "/api/v1/apps/prod/search/sync";

fn closed() -> Board {
    let mut board = sample::board();
    board.config = Arc::new(sample::config(Access::Token));
    board
}

fn get(path: &str, authorization: &str) -> Request<Body> {
    let request = Request::get(path).header(header::AUTHORIZATION, authorization);
    request.body(Body::empty()).expect("a request")
}

fn sync(authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::post(SYNC).header(header::CONTENT_TYPE, "application/json");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    request
        .body(Body::from("{\"dryRun\":true}"))
        .expect("a request")
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

#[tokio::test]
async fn a_write_without_a_token_or_with_a_wrong_one_is_401_and_reaches_nobody() {
    let mut site = Site::new(sample::board());
    let other = hex::encode([7; 32]);
    let digest = site
        .publish
        .borrow()
        .tokens
        .values()
        .next()
        .cloned()
        .expect("a token");
    let wrong = [
        None,
        Some("Bearer nonsense".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {other}")),
        // The stored digest is not the token.
        Some(format!("Bearer {digest}")),
        Some(format!("Bearer {}", "x".repeat(4096))),
        // A browser sends these by itself, so they never write.
        Some(basic("anybody", sample::TOKEN)),
        Some(sample::TOKEN.to_owned()),
    ];
    for value in wrong {
        let answer = site.send(sync(value.as_deref())).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], "access.token");
        assert_eq!(problem["requestId"], answer.header("x-request-id"));
        assert!(problem["next"].is_string());
    }
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn where_there_are_no_tokens_the_answer_says_how_to_make_one() {
    let mut board = sample::board();
    board.tokens = Arc::new(BTreeMap::new());
    let site = Site::new(board);
    let answer = site
        .send(sync(Some(&format!("Bearer {}", sample::TOKEN))))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["next"], "lockstep token create NAME");
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_write() {
    let site = Site::new(sample::board());
    let mut request = sync(Some(&format!("Bearer {}", sample::TOKEN)));
    request
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().expect("a header"));
    assert_eq!(site.send(request).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn closed_pages_open_with_a_token_as_bearer_or_as_a_password() {
    let site = Site::new(closed());
    for path in [
        "/",
        "/apps/prod/ledger",
        "/api/v1/apps",
        "/api/v1/stream",
        "/api/v1/operations/x",
        "/api/v1/applications",
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Basic realm="),
            "{path}"
        );
        assert!(
            !answer.body.contains("ledger") && !answer.body.contains("example-org"),
            "{path}"
        );
    }
    for value in [
        format!("Bearer {}", sample::TOKEN),
        basic("me", sample::TOKEN),
    ] {
        assert_eq!(site.send(get("/", &value)).await.status, StatusCode::OK);
    }
    let wrong = site.send(get("/", &basic("me", "wrong"))).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn health_metrics_and_the_webhook_stay_open_when_pages_are_closed() {
    let site = Site::new(closed());
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/favicon.svg",
        "/static/lockstep.css",
    ] {
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
    let unsigned = Request::post("/api/webhook")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(
        site.send(unsigned).await.json()["code"],
        "webhook.signature"
    );
}
