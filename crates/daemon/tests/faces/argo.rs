//! Argo CD's REST.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use lockstep_app::{Blame, Fault};
use lockstep_daemon::board::{Command, SyncRefused};
use serde_json::{Value, json};

use crate::sample;
use crate::site::{Answer, OfSync as _, Site, post};

const SYNC: &str = "/api/v1/applications/prod-search/sync";

#[tokio::test]
async fn an_application_has_the_shape_that_scripts_read() {
    let site = Site::new(sample::board());
    let app = site.get("/api/v1/applications/prod-ledger").await.json();
    assert_eq!(
        (&app["apiVersion"], &app["kind"]),
        (&json!("argoproj.io/v1alpha1"), &json!("Application"))
    );
    assert_eq!(app["metadata"]["name"], "prod-ledger");
    assert_eq!(app["spec"]["source"]["targetRevision"], "main");
    assert_eq!(
        app["spec"]["destination"]["server"],
        "https://kubernetes.default.svc"
    );
    assert_eq!(app["status"]["sync"]["status"], "OutOfSync");
    assert_eq!(app["status"]["health"]["status"], "Healthy");
    assert_eq!(app["status"]["operationState"]["phase"], "Failed");
    let list = site.get("/api/v1/applications").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(24));
    let none = site.get("/api/v1/applications?projects=other").await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn an_unknown_application_is_an_error_in_argo_cds_shape() {
    let answer = Site::new(sample::board())
        .get("/api/v1/applications/nonesuch")
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let error = answer.json();
    assert_eq!(error["code"], 5);
    assert_eq!(
        error["message"],
        "applications.argoproj.io \"nonesuch\" not found"
    );
    assert_eq!(error["error"], error["message"]);
}

async fn sync(
    body: &Value,
    answer: Result<String, SyncRefused>,
) -> (Answer, lockstep_daemon::board::Demand) {
    let mut site = Site::new(sample::board());
    site.publish(|board| {
        let mut operation = board
            .operations
            .values()
            .next()
            .cloned()
            .expect("an operation");
        "op-00000001".clone_into(&mut Arc::make_mut(&mut operation).id);
        board.operations.insert(operation.id.clone(), operation);
    });
    let router = site.router.clone();
    let asked = async {
        let response = tower::ServiceExt::oneshot(router, post(SYNC, body))
            .await
            .expect("it cannot fail");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    };
    tokio::join!(asked, site.serve(answer))
}

#[tokio::test]
async fn the_body_of_ci_scripts_begins_a_sync_and_is_answered_with_the_application() {
    let body = json!({"revision": "main", "prune": true, "dryRun": false, "strategy": {"hook": {"force": false}},
                      "syncOptions": {"items": ["CreateNamespace=true"]}});
    let (answer, order) = sync(&body, Ok("op-00000001".to_owned())).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["metadata"]["name"], "prod-search");
    assert!(
        answer
            .header("warning")
            .contains("syncOptions are taken from spec")
    );
    let order = order.sync();
    assert_eq!(
        (order.plan, order.prune, order.revision),
        (None, Some(true), None)
    );
    let (_, order) = sync(&json!({}), Ok("op-00000001".to_owned())).await;
    assert_eq!(order.sync().prune, Some(false));
}

#[tokio::test]
async fn the_messages_that_scripts_look_for_are_there() {
    let running = SyncRefused::Running {
        operation: "op-1".to_owned(),
    };
    let (answer, _) = sync(&json!({}), Err(running)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], 9);
    assert_eq!(
        answer.json()["message"],
        "another operation is already in progress"
    );
    let fault = Fault::new(Blame::User, "held.policy", "prod holds new commits");
    let (answer, _) = sync(&json!({}), Err(SyncRefused::Fault(fault))).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(9))
    );
    let (answer, _) = sync(&json!({}), Err(SyncRefused::NotLeading)).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::SERVICE_UNAVAILABLE, json!(14))
    );
}

#[tokio::test]
async fn what_would_be_another_sync_is_refused_instead_of_dropped() {
    let mut site = Site::new(sample::board());
    for body in [
        json!({"resources": [{"kind": "Deployment", "name": "search"}]}),
        json!({"manifests": ["{}"]}),
        json!({"strategy": {"apply": {"force": true}}}),
        json!({"revision": "feature"}),
    ] {
        let answer = site.post(SYNC, &body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (StatusCode::BAD_REQUEST, json!(3)),
            "{body}"
        );
    }
    let unsigned = Request::post(SYNC)
        .body(Body::from("{}"))
        .expect("a request");
    let answer = site.send(unsigned).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::UNAUTHORIZED, json!(16))
    );
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_refresh_needs_a_token_and_waits_for_the_comparison() {
    let mut site = Site::new(sample::board());
    let path = "/api/v1/applications/prod-search?refresh=hard";
    assert_eq!(site.get(path).await.status, StatusCode::UNAUTHORIZED);
    let request =
        Request::get(path).header(header::AUTHORIZATION, format!("Bearer {}", sample::TOKEN));
    let asked = tower::ServiceExt::oneshot(
        site.router.clone(),
        request.body(Body::empty()).expect("a request"),
    );
    let engine = async {
        let command = site.orders.recv().await;
        let Some(Command::Refresh { app }) = command else {
            panic!("{command:?}")
        };
        site.publish(|board| {
            let app = Arc::make_mut(board.apps.get_mut(&app).expect("an app"));
            app.compared_at = Some(sample::at("14:32:06"));
        });
    };
    let both = async { tokio::join!(asked, engine) };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(5), both)
        .await
        .expect("in time");
    let answer = answer.expect("it cannot fail");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .expect("a body");
    let app: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(
        app["status"]["reconciledAt"]
            .as_str()
            .expect("a time")
            .starts_with("2026-03-12T14:32:06")
    );
}
