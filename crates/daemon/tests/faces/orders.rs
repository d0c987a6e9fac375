//! What can be asked of an app besides a sync of everything, by our own REST.

use std::sync::Arc;

use axum::http::StatusCode;
use lockstep_api::past::Deed;
use lockstep_app::{Blame, Fault};
use lockstep_daemon::board::{SyncRefused, What};
use lockstep_plan::Selector;
use lockstep_reconcile::view::{RollbackView, Verified};
use lockstep_reconcile::{RollbackOrder, RollbackTo, Until};
use serde_json::json;

use crate::sample;
use crate::site::{OfSync as _, Site, post};

const APP: &str = "/api/v1/apps/prod/search";

fn path(verb: &str) -> String {
    format!("{APP}/{verb}")
}

#[tokio::test]
async fn a_sync_names_objects_by_what_is_known_of_them() {
    let mut site = Site::new(sample::board());
    let digest = sample::held().plan_digest.expect("a digest").to_string();
    let body = json!({
        "plan": digest, "skipHooks": true, "force": true,
        "resources": [{"kind": "Deployment", "name": "search"}, {"group": "", "kind": "Secret", "name": "*"}],
    });
    let request = post(&path("sync"), &body);
    let (answer, demand) = site.demand(request, Ok("op-7c21d0ee".to_owned())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let order = demand.sync();
    let selector = |group: &str, kind: &str, name: &str| Selector {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: "*".to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(
        order.resources,
        [
            selector("*", "Deployment", "search"),
            selector("", "Secret", "*")
        ]
    );
    assert_eq!((order.skip_hooks, order.force), (true, true));
    let misspelt = json!({"plan": digest, "resources": [{"kind": "Deployment", "nme": "search"}]});
    let answer = site.post(&path("sync"), &misspelt).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::BAD_REQUEST, json!("sync.body"))
    );
}

#[tokio::test]
async fn a_rollback_goes_to_a_number_a_commit_or_the_deployment_before() {
    let mut site = Site::new(sample::board());
    let back = |to: RollbackTo, reason: &str, until: Until| {
        Some(RollbackOrder {
            to,
            reason: reason.to_owned(),
            until,
        })
    };
    let cases = [
        (
            json!({}),
            back(RollbackTo::Previous, "", Until::NewerCommit),
        ),
        (
            json!({"to": 46, "reason": "errors", "until": "release"}),
            back(RollbackTo::Id(46), "errors", Until::Release),
        ),
        (
            json!({"to": "A3F19D7", "until": "2h"}),
            back(
                RollbackTo::Revision(sample::revision("a3f19d7")),
                "",
                Until::Time("2026-03-12T16:32:07Z".parse().expect("a time")),
            ),
        ),
    ];
    for (body, wanted) in cases {
        let request = post(&path("rollback"), &body);
        let (answer, demand) = site.demand(request, Ok("op-7c21d0ee".to_owned())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{body}");
        assert_eq!(answer.header("location"), "/api/v1/operations/op-7c21d0ee");
        let order = demand.sync();
        assert_eq!(
            (order.rollback, order.prune),
            (wanted, Some(false)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_rollback_that_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let mut site = Site::new(sample::board());
    let cases = [
        (
            json!({"to": "main"}),
            StatusCode::BAD_REQUEST,
            "rollback.body",
        ),
        (
            json!({"where": 46}),
            StatusCode::BAD_REQUEST,
            "rollback.body",
        ),
        (
            json!({"until": "soon"}),
            StatusCode::BAD_REQUEST,
            "rollback.until",
        ),
        (
            json!({"to": "0123456"}),
            StatusCode::NOT_FOUND,
            "rollback.unknown",
        ),
    ];
    for (body, status, code) in cases {
        let answer = site.post(&path("rollback"), &body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (status, json!(code)),
            "{body}"
        );
    }
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn ending_a_sync_and_letting_go_are_answered_with_the_app_as_it_is_then() {
    let mut site = Site::new(sample::board());
    for (verb, body, wanted) in [
        ("terminate", json!({}), What::Terminate),
        ("release", json!({}), What::Release),
        (
            "abandon",
            json!({"objects": [{"group": "", "kind": "ConfigMap", "namespace": "shop", "name": "search-old"}]}),
            What::Abandon(vec![sample::id("ConfigMap", "search-old")]),
        ),
    ] {
        let request = post(&path(verb), &body);
        let (answer, demand) = site.demand(request, Ok(String::new())).await;
        assert_eq!((answer.status, demand.what), (StatusCode::OK, wanted));
        assert_eq!(answer.json()["key"], "prod/search");
    }
    let none = Fault::new(Blame::User, "rollback.none", "the app was not rolled back");
    let request = post(&path("release"), &json!({}));
    let (answer, _) = site.demand(request, Err(SyncRefused::Fault(none))).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["title"], "search in prod was not released");
    let nothing = site.post(&path("abandon"), &json!({"objects": []})).await;
    assert_eq!(nothing.json()["code"], "abandon.body");
}

#[tokio::test]
async fn nothing_is_ended_or_let_go_without_a_token() {
    let mut site = Site::new(sample::board());
    for verb in ["sync", "rollback", "terminate", "release", "abandon"] {
        let mut request = post(&path(verb), &json!({}));
        request.headers_mut().remove("authorization");
        assert_eq!(
            site.send(request).await.status,
            StatusCode::UNAUTHORIZED,
            "{verb}"
        );
    }
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_key_that_was_used_for_one_verb_is_refused_for_another() {
    let mut site = Site::new(sample::board());
    let keyed = |verb: &str| {
        let mut request = post(&path(verb), &json!({}));
        let key = "k-1".parse().expect("a header");
        request.headers_mut().insert("idempotency-key", key);
        request
    };
    let (first, _) = site.demand(keyed("release"), Ok(String::new())).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(site.send(keyed("release")).await.status, StatusCode::OK);
    let other = site.send(keyed("terminate")).await;
    assert_eq!(other.json()["code"], "sync.idempotency_key");
    assert!(site.orders.try_recv().is_err());
}

#[tokio::test]
async fn an_app_says_where_it_was_rolled_back_to_and_whether_its_last_sync_is_verified() {
    let site = Site::new(sample::board());
    site.publish(|board| {
        let app = board
            .apps
            .get_mut(&("prod".to_owned(), "ledger".to_owned()))
            .map(Arc::make_mut)
            .expect("an app");
        app.rollback = Some(RollbackView {
            to: sample::revision("a3f19d7"),
            from: Some(sample::revision("4f2a9c1")),
            reason: "errors".to_owned(),
            by: "ann".to_owned(),
            at: sample::at("14:31:00"),
            until: Until::Time(sample::at("16:00:00")),
        });
        if let Some(operation) = &mut app.operation {
            operation.verified = Some(Verified::No("not healthy".to_owned()));
        }
    });
    let app = site.get("/api/v1/apps/prod/ledger").await.json();
    assert_eq!(
        app["rollback"]["to"],
        json!(sample::revision("a3f19d7").as_str())
    );
    assert_eq!(app["rollback"]["until"], "2026-03-12T16:00:00.000Z");
    assert_eq!(
        app["operation"]["verified"],
        json!({"state": "notVerified", "at": null, "why": "not healthy"})
    );
    assert_eq!(app["operation"]["dryRun"], json!(false));
    let text = site
        .get_as("/api/v1/apps/prod/search/history", "text/plain")
        .await;
    let lines: Vec<&str> = text.body.lines().collect();
    assert_eq!(
        lines,
        [
            "#   RESULT    COMMIT   SUBJECT                           AUTHOR  BY      WHEN              TOOK",
            "47  Live      e1a9d42  search 5.2.1                      ilka    policy  2026-03-12 13:59  70s",
            "46  Replaced  a3f19d7  keep 4 pods during node upgrades  wren    bas     2026-03-12 09:14  48s",
        ]
    );
    let log: lockstep_api::past::Log =
        serde_json::from_str(&site.get("/api/v1/apps/prod/search/log").await.body).expect("a log");
    let kinds: Vec<_> = log.items.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Deed::Heal, Deed::Sync]);
}
