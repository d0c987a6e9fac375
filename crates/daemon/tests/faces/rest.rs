//! Our own REST.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use lockstep_app::{Blame, Fault};
use lockstep_daemon::board::{Board, SyncRefused};
use lockstep_plan::Plan;
use lockstep_reconcile::view::{AppView, OperationPhase, OperationView};
use serde_json::{Value, json};

use crate::sample;
use crate::site::{OfSync as _, Site, post};

const SYNC: &str = "/api/v1/apps/prod/search/sync";

fn digest() -> String {
    sample::held().plan_digest.expect("a digest").to_string()
}

fn operation(id: &str, phase: OperationPhase) -> OperationView {
    OperationView {
        id: id.to_owned(),
        app: ("prod".to_owned(), "search".to_owned()),
        phase,
        message: "one of two objects".to_owned(),
        revision: Some(sample::revision("77b03ce")),
        by: "ci".to_owned(),
        started_at: sample::now(),
        finished_at: None,
        results: Vec::new(),
        retries: 0,
        verified: None,
        prune: true,
        dry_run: false,
    }
}

fn show(board: &mut Board, id: &str, phase: OperationPhase) {
    let operation = Arc::new(operation(id, phase));
    board.operations.insert(id.to_owned(), operation);
}

fn change(board: &mut Board, name: &str, change: impl FnOnce(&mut AppView)) {
    let slot = board
        .apps
        .get_mut(&("prod".to_owned(), name.to_owned()))
        .expect("an app");
    change(Arc::make_mut(slot));
}

#[tokio::test]
async fn the_wire_is_camel_case_with_nulls_and_milliseconds() {
    let site = Site::new(sample::board());
    let app = site.get("/api/v1/apps/prod/ledger").await.json();
    assert_eq!(app["key"], "prod/ledger");
    assert_eq!(app["state"], "failing");
    assert_eq!(app["since"], "2026-03-12T14:31:02.000Z");
    assert_eq!(app["reason"]["code"], "apply.immutable_field");
    assert_eq!(
        app["next"],
        json!({"command": null, "who": "put the old label back and push"})
    );
    assert_eq!(
        app["strip"],
        json!(["done", "done", "done", "failed", "none"])
    );
    assert_eq!(app["sync"], "outOfSync");
    assert_eq!(app["strips"][1]["totalMs"], 68_900);
    assert_eq!(
        app["policy"]["drift"],
        json!({"value": "healAfter", "afterMs": 300_000, "setBy": "environment"})
    );
    assert_eq!(app["plan"], Value::Null);
    assert_eq!(app["also"], json!(["dev", "staging"]));
}

#[tokio::test]
async fn what_the_server_writes_the_types_of_the_command_line_read() {
    let site = Site::new(sample::board());
    let body = |answer: crate::site::Answer| answer.body;
    let app: lockstep_api::App =
        serde_json::from_str(&body(site.get("/api/v1/apps/prod/search").await)).expect("an app");
    assert_eq!(app.plan, Some(digest()));
    let plan: lockstep_api::PlanView =
        serde_json::from_str(&body(site.get("/api/v1/apps/prod/search/plan").await))
            .expect("a plan");
    assert_eq!(
        (plan.update, plan.create, plan.delete, plan.in_sync),
        (2, 0, 1, 1)
    );
    let at: Vec<Option<String>> = plan
        .steps
        .iter()
        .flat_map(|step| &step.changes)
        .map(|change| change.git_at.as_ref().map(ToString::to_string))
        .collect();
    let said = |line| Some(format!("apps/search/prod/search.yaml:{line}"));
    assert_eq!(at, [said(12), said(4)]);
    let drift: lockstep_api::Drift =
        serde_json::from_str(&body(site.get("/api/v1/apps/prod/checkout/drift").await))
            .expect("drift");
    assert_eq!((drift.fields, drift.objects.len()), (3, 2));
    let overview: lockstep_api::Overview =
        serde_json::from_str(&body(site.get("/api/v1/overview").await)).expect("an overview");
    assert_eq!((overview.counts.total, overview.counts.synced), (24, 19));
    for path in ["objects", "history", "log", "events"] {
        let list = site
            .get(&format!("/api/v1/apps/prod/search/{path}"))
            .await
            .json();
        assert!(list["total"].as_u64().expect("a number") > 0, "{path}");
    }
    let environments = site.get("/api/v1/environments").await.json();
    assert_eq!(environments["items"][0]["name"], "prod");
}

#[tokio::test]
async fn a_list_is_read_page_by_page_to_its_end() {
    let site = Site::new(sample::board());
    let mut seen = Vec::new();
    let mut path = "/api/v1/apps?limit=7".to_owned();
    loop {
        let page = site.get(&path).await.json();
        assert_eq!((&page["total"], &page["hidden"]), (&json!(24), &json!(0)));
        let items = page["items"].as_array().expect("a list");
        seen.extend(
            items
                .iter()
                .map(|item| item["key"].as_str().expect("a key").to_owned()),
        );
        let Some(cursor) = page["cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/apps?limit=7&cursor={cursor}");
    }
    let mut once = seen.clone();
    once.dedup();
    assert_eq!((seen.len(), once.len()), (24, 24));
    let few = site
        .get("/api/v1/apps?env=prod&status=failing,held")
        .await
        .json();
    assert_eq!((&few["total"], &few["hidden"]), (&json!(2), &json!(22)));
    assert_eq!(
        site.get("/api/v1/apps?limit=0").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn an_unknown_app_is_a_problem_that_names_the_next_step() {
    let answer = Site::new(sample::board())
        .get("/api/v1/apps/prod/chekout")
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let problem = answer.json();
    assert_eq!(problem["code"], "app.not_found");
    assert_eq!(problem["next"], "lockstep status checkout -e prod");
    assert_eq!(problem["type"], "/help/words#app.not_found");
}

#[tokio::test]
async fn an_approved_plan_is_ordered_and_answered_with_its_operation() {
    let mut site = Site::new(sample::board());
    let body = json!({"plan": digest(), "prune": true});
    let router = site.router.clone();
    let asked = tower::ServiceExt::oneshot(router, post(SYNC, &body));
    let publish = site.publish.clone();
    let engine = async {
        let order = site.serve(Ok("op-00000001".to_owned())).await;
        publish.send_modify(|board| {
            let mut next = Board::clone(board);
            show(&mut next, "op-00000001", OperationPhase::Running);
            *board = Arc::new(next);
        });
        order
    };
    let (answer, order) = tokio::join!(asked, engine);
    let answer = answer.expect("it cannot fail");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(
        answer.headers().get(header::LOCATION).expect("a place"),
        "/api/v1/operations/op-00000001"
    );
    assert_eq!(order.app, ("prod".to_owned(), "search".to_owned()));
    assert_eq!(order.by, "ci");
    let order = order.sync();
    assert_eq!(
        (order.plan, order.prune, order.dry_run),
        (Some(digest()), Some(true), false)
    );
}

/// One sync by REST, refused by the engine.
async fn refused(answer: SyncRefused) -> crate::site::Answer {
    let mut site = Site::new(sample::board());
    let changed = matches!(answer, SyncRefused::PlanChanged { .. });
    if changed {
        site.publish(|board| {
            change(board, "search", |app| {
                let plan = Plan::clone(app.plan.as_ref().expect("a plan"));
                app.plan = Some(Arc::new(Plan {
                    waiting: Vec::new(),
                    ..plan
                }));
                app.plan_digest = app.plan.as_ref().map(|plan| plan.digest());
            });
        });
    }
    let request = post(SYNC, &json!({"plan": digest()}));
    site.demand(request, Err(answer)).await.0
}

#[tokio::test]
async fn a_plan_that_changed_is_409_with_the_new_plan() {
    let mut now = sample::held();
    let plan = Plan::clone(now.plan.as_ref().expect("a plan"));
    now.plan_digest = Some(
        Plan {
            waiting: Vec::new(),
            ..plan
        }
        .digest(),
    );
    let new = now.plan_digest.map(|digest| digest.to_string());
    let answer = refused(SyncRefused::PlanChanged { now: new.clone() }).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let problem = answer.json();
    assert_eq!(problem["code"], "sync.plan_changed");
    assert_eq!(problem["plan"]["digest"].as_str(), new.as_deref());
    assert_eq!(problem["plan"]["delete"], 0);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_sync_has_its_own_status() {
    let running = refused(SyncRefused::Running {
        operation: "op-0000000a".to_owned(),
    })
    .await;
    assert_eq!(
        (running.status, running.json()["operation"].clone()),
        (StatusCode::CONFLICT, json!("op-0000000a"))
    );
    let held =
        Fault::new(Blame::User, "held.policy", "prod holds new commits").hint("change the policy");
    let held = refused(SyncRefused::Fault(held)).await;
    assert_eq!(
        (held.status, held.json()["next"].clone()),
        (StatusCode::LOCKED, json!("change the policy"))
    );
    let away = Fault::new(
        Blame::Environment,
        "unknown.cluster",
        "the API server does not answer",
    );
    assert_eq!(
        refused(SyncRefused::Fault(away)).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        refused(SyncRefused::NotLeading).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        refused(SyncRefused::NotFound).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_sync_says_which_plan_it_approves() {
    let mut site = Site::new(sample::board());
    let answer = site.post(SYNC, &json!({})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["plan"]["digest"], json!(digest()));
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_body_that_is_not_what_a_sync_takes_is_refused_before_anybody_is_asked() {
    let mut site = Site::new(sample::board());
    assert_eq!(
        site.post(SYNC, &json!({"dryrun": true})).await.json()["code"],
        "sync.body"
    );
    assert_eq!(
        site.post(SYNC, &json!({"revision": "main"})).await.json()["code"],
        "sync.revision"
    );
    let large = site.post(SYNC, &json!({"plan": "x".repeat(20_000)})).await;
    assert_eq!(
        (large.status, large.json()["code"].clone()),
        (StatusCode::PAYLOAD_TOO_LARGE, json!("http.body_too_large"))
    );
    let mut form = post(SYNC, &json!({}));
    form.headers_mut().insert(
        header::CONTENT_TYPE,
        "text/plain".parse().expect("a header"),
    );
    assert_eq!(
        site.send(form).await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        site.post("/api/v1/apps/prod/nonesuch/sync", &json!({}))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert!(site.orders.try_recv().is_err());
}

fn keyed(key: &str, body: &Value) -> Request<Body> {
    let mut request = post(SYNC, body);
    request
        .headers_mut()
        .insert("idempotency-key", key.parse().expect("a header"));
    request
}

#[tokio::test]
async fn the_same_idempotency_key_begins_one_sync_however_often_it_is_sent() {
    let mut site = Site::new(sample::board());
    site.publish(|board| show(board, "op-00000001", OperationPhase::Running));
    let body = json!({"plan": digest()});
    let router = site.router.clone();
    let first = tower::ServiceExt::oneshot(router, keyed("k-1", &body));
    let (first, _) = tokio::join!(first, site.serve(Ok("op-00000001".to_owned())));
    assert_eq!(
        first.expect("it cannot fail").status(),
        StatusCode::ACCEPTED
    );
    let second = site.send(keyed("k-1", &body)).await;
    assert_eq!(
        (second.status, second.json()["id"].clone()),
        (StatusCode::ACCEPTED, json!("op-00000001"))
    );
    assert!(site.orders.try_recv().is_err());
    let other = site
        .send(keyed("k-1", &json!({"plan": sample::another_digest()})))
        .await;
    assert_eq!(other.json()["code"], "sync.idempotency_key");
}

#[tokio::test]
async fn a_refused_sync_may_be_sent_again_under_the_same_key() {
    let mut site = Site::new(sample::board());
    let body = json!({"plan": digest()});
    for _ in 0..2 {
        let router = site.router.clone();
        let asked = tower::ServiceExt::oneshot(router, keyed("k-2", &body));
        let (answer, _) = tokio::join!(asked, site.serve(Err(SyncRefused::NotLeading)));
        assert_eq!(
            answer.expect("it cannot fail").status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}

#[tokio::test]
async fn a_full_queue_is_503_with_when_to_come_back() {
    let site = Site::with_room(sample::board(), 1);
    let webhook = || {
        let body = json!({"repository": {"clone_url": sample::REMOTE}}).to_string();
        crate::webhook::signed("push", &body)
    };
    assert_eq!(site.send(webhook()).await.status, StatusCode::ACCEPTED);
    let busy = site.send(webhook()).await;
    assert_eq!(
        (busy.status, busy.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "2")
    );
    let sync = site.post(SYNC, &json!({"plan": digest()})).await;
    assert_eq!(
        (sync.status, sync.json()["code"].clone()),
        (StatusCode::SERVICE_UNAVAILABLE, json!("lockstep.busy"))
    );
}

#[tokio::test]
async fn waiting_for_an_operation_ends_when_it_ends() {
    let site = Site::new(sample::board());
    site.publish(|board| show(board, "op-00000001", OperationPhase::Running));
    let at_once = site.get("/api/v1/operations/op-00000001").await.json();
    assert_eq!(at_once["phase"], "running");
    let waiting = site.get("/api/v1/operations/op-00000001?wait=30s");
    let ends = async {
        tokio::task::yield_now().await;
        site.publish(|board| show(board, "op-00000001", OperationPhase::Succeeded));
    };
    let both = async { tokio::join!(waiting, ends) };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(5), both)
        .await
        .expect("in time");
    assert_eq!(answer.json()["phase"], "succeeded");
    assert_eq!(
        site.get("/api/v1/operations/op-unknown").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        site.get("/api/v1/operations/x?wait=soon").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn metrics_keep_the_names_and_labels_that_dashboards_ask_for() {
    let text = Site::new(sample::board()).get("/metrics").await.body;
    for line in [
        "argocd_app_info{namespace=\"argocd\",name=\"prod-ledger\",project=\"default\",autosync_enabled=\"true\",repo=\"https://git.example.org/example-org/deploy.git\",dest_server=\"https://kubernetes.default.svc\",dest_namespace=\"shop\",sync_status=\"OutOfSync\",health_status=\"Healthy\",operation=\"\"} 1",
        "lockstep_apps{word=\"Synced\"} 19",
        "lockstep_leading 1",
        "lockstep_config_valid 1",
        "lockstep_permissive_project{project=\"default\"} 1",
        "lockstep_webhooks_total{result=\"bad_signature\"} 0",
        "lockstep_config_reload_failures_total 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}
