//! Argo CD's REST.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use lockstep_app::{Blame, Fault};
use lockstep_daemon::board::{Command, SyncRefused, What};
use lockstep_reconcile::{RollbackOrder, RollbackTo, Until};
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
    site.demand(post(SYNC, body), answer).await
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
async fn a_sync_of_some_objects_by_force_and_with_retries_is_passed_on_as_asked() {
    let body = json!({
        "resources": [{"group": "apps", "kind": "Deployment", "name": "search"}],
        "strategy": {"apply": {"force": true}},
        "retryStrategy": {"limit": 3, "backoff": {"duration": "1s", "factor": 3, "maxDuration": "9s"}},
        "dryRun": true,
    });
    let (answer, demand) = sync(&body, Ok("op-00000001".to_owned())).await;
    assert_eq!(
        (answer.status, answer.header("warning")),
        (StatusCode::OK, "")
    );
    let order = demand.sync();
    let search = lockstep_plan::Selector {
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: String::new(),
        name: "search".to_owned(),
    };
    let retry = lockstep_app::app::Retry {
        limit: Some(3),
        first: Duration::from_secs(1),
        factor: 3,
        longest: Duration::from_secs(9),
    };
    assert_eq!(order.resources, [search]);
    assert_eq!(
        (order.skip_hooks, order.force, order.dry_run),
        (true, true, true)
    );
    assert_eq!(order.retry, Some(retry));
    let (_, demand) = sync(
        &json!({"strategy": {"hook": {}}}),
        Ok("op-00000001".to_owned()),
    )
    .await;
    let order = demand.sync();
    assert_eq!((order.skip_hooks, order.force), (false, false));
}

#[tokio::test]
async fn a_rollback_with_auto_sync_on_is_done_and_says_how_long_it_holds() {
    let mut site = Site::new(sample::board());
    let path = "/api/v1/applications/prod-search/rollback";
    for id in [json!(46), json!("46")] {
        let request = post(path, &json!({"id": id, "prune": true}));
        let (answer, demand) = site.demand(request, Ok("op-7c21d0ee".to_owned())).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["metadata"]["name"], "prod-search");
        assert!(
            answer
                .header("warning")
                .contains("until its target names a newer commit")
        );
        let order = demand.sync();
        let wanted = RollbackOrder {
            to: RollbackTo::Id(46),
            reason: String::new(),
            until: Until::NewerCommit,
        };
        assert_eq!(order.rollback, Some(wanted));
        assert_eq!((order.prune, order.skip_hooks), (Some(true), true));
    }
    let unknown = site.post(path, &json!({"id": 3})).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        unknown.json()["message"],
        "application prod-search does not have deployment id 3"
    );
    assert_eq!(
        site.post(path, &json!({})).await.status,
        StatusCode::BAD_REQUEST
    );
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn ending_an_operation_is_answered_as_argo_cd_does() {
    let mut site = Site::new(sample::board());
    let request = || {
        Request::delete("/api/v1/applications/prod-search/operation")
            .header(header::AUTHORIZATION, format!("Bearer {}", sample::TOKEN))
            .body(Body::empty())
            .expect("a request")
    };
    let (answer, demand) = site.demand(request(), Ok(String::new())).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
    assert_eq!(demand.what, What::Terminate);
    let none = Fault::new(Blame::User, "sync.none", "no operation is in progress");
    let (answer, _) = site.demand(request(), Err(SyncRefused::Fault(none))).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(3))
    );
    assert_eq!(
        answer.json()["message"],
        "Unable to terminate operation. No operation is in progress"
    );
}

#[tokio::test]
async fn what_would_be_another_sync_is_refused_instead_of_dropped() {
    let mut site = Site::new(sample::board());
    for body in [
        json!({"manifests": ["{}"]}),
        json!({"revisions": ["main", "main"]}),
        json!({"retryStrategy": {"limit": 3, "backoff": {"duration": "soon"}}}),
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
