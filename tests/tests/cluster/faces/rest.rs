//! Our own REST: finding an app, approving a plan, following an operation.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::world::TOKEN;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::objects::{config_map, in_environment, in_wave, push, ready, stuck};

/// An app in prod, which waits for approval with its first plan.
async fn held(name: &str) -> Result<World> {
    let world = World::started(name).await?;
    push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "prod",
            world.application("shop-prod", "shop"),
        ))
        .await?;
    world
        .rest_until("/api/v1/apps/prod/shop", "being held", |_, app| {
            app["state"] == "held"
        })
        .await?;
    Ok(world)
}

async fn plan(world: &World) -> Result<Value> {
    let (status, plan) = world
        .rest(Method::GET, "/api/v1/apps/prod/shop/plan", None)
        .await?;
    assert_eq!(status, StatusCode::OK, "{plan}");
    Ok(plan)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_app_is_not_found_and_the_one_that_was_meant_is_named() -> Result<()> {
    let world = World::started("unknown").await?;
    push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("checkout-dev", "shop"),
        ))
        .await?;
    world
        .rest_until("/api/v1/apps/dev/checkout", "being there", |status, _| {
            status.is_success()
        })
        .await?;
    let (status, problem) = world
        .rest(Method::GET, "/api/v1/apps/dev/chekout", None)
        .await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(problem["code"], "app.not_found");
    assert_eq!(problem["next"], "lockstep status checkout -e dev");
    assert!(
        problem["requestId"]
            .as_str()
            .is_some_and(|id| id.len() >= 8),
        "{problem}"
    );
    for part in ["plan", "drift", "objects", "history", "events"] {
        let (status, _) = world
            .rest(
                Method::GET,
                &format!("/api/v1/apps/dev/nothing/{part}"),
                None,
            )
            .await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{part}");
    }
    let (status, problem) = world
        .rest(
            Method::POST,
            "/api/v1/apps/dev/nothing/sync",
            Some(json!({})),
        )
        .await?;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::NOT_FOUND, &json!("app.not_found"))
    );
    let (status, _) = world
        .rest(Method::GET, "/api/v1/operations/op-00000000", None)
        .await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_syncs_without_a_token_that_is_known() -> Result<()> {
    let world = held("token").await?;
    let approval = json!({"plan": plan(&world).await?["digest"]});
    let sync = "/api/v1/apps/prod/shop/sync";
    for token in [
        None,
        Some("wrong"),
        Some(""),
        Some("a-token-of-this-test "),
        Some("A-TOKEN-OF-THIS-TEST"),
    ] {
        let (status, problem) = world
            .rest_as(token, Method::POST, sync, Some(approval.clone()))
            .await?;
        // A trailing space is trimmed by HTTP itself.
        if token.is_some_and(|token| token.trim() == TOKEN) {
            assert_eq!(status, StatusCode::ACCEPTED);
            continue;
        }
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNAUTHORIZED, &json!("access.token")),
            "{token:?}"
        );
        assert!(
            problem["next"]
                .as_str()
                .is_some_and(|next| !next.is_empty()),
            "{problem}"
        );
    }
    let argo = "/api/v1/applications/shop-prod/sync";
    let (status, problem) = world
        .rest_as(None, Method::POST, argo, Some(json!({})))
        .await?;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNAUTHORIZED, &json!(16))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_pages_ask_for_a_token_nothing_is_read_without_one() -> Result<()> {
    let mut world = World::new("closed").await?;
    world.configure_as(&format!(
        "namespace: {}\nhttp: {{access: token}}\n",
        world.apps
    ))?;
    world.start()?;
    ready(&world).await?;
    for path in [
        "/",
        "/api/v1/apps",
        "/api/v1/overview",
        "/api/v1/applications",
        "/api/v1/stream",
        "/apps/dev/shop",
    ] {
        let (status, _) = world.rest_as(None, Method::GET, path, None).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        let (status, _) = world
            .rest_as(Some("wrong"), Method::GET, path, None)
            .await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    world
        .rest_until("/api/v1/apps", "being readable", |status, _| {
            status == StatusCode::OK
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_app_waits_until_the_plan_that_was_seen_is_approved() -> Result<()> {
    let world = held("approve").await?;
    let (_, app) = world
        .rest(Method::GET, "/api/v1/apps/prod/shop", None)
        .await?;
    assert_eq!(app["reason"]["code"], "held.approval", "{}", app["reason"]);
    assert!(
        world.object("ConfigMap", "front").await?.is_none(),
        "nothing was applied before the approval"
    );
    let plan = plan(&world).await?;
    assert_eq!(
        (&plan["create"], &plan["update"], &plan["delete"]),
        (&json!(1), &json!(0), &json!(0))
    );

    // Without a digest nobody has seen anything.
    let sync = "/api/v1/apps/prod/shop/sync";
    let (status, problem) = world.rest(Method::POST, sync, Some(json!({}))).await?;
    assert_eq!(
        (status, &problem["code"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("sync.plan_missing")
        )
    );
    let (status, problem) = world
        .rest(
            Method::POST,
            sync,
            Some(json!({"plan": plan["digest"], "dryrun": true})),
        )
        .await?;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("sync.body"))
    );

    let (status, operation) = world
        .rest(Method::POST, sync, Some(json!({"plan": plan["digest"]})))
        .await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{operation}");
    let id = operation["id"].as_str().context("an operation has an id")?;
    let (status, ended) = world
        .rest(
            Method::GET,
            &format!("/api/v1/operations/{id}?wait=30s"),
            None,
        )
        .await?;
    assert_eq!(
        (status, &ended["phase"]),
        (StatusCode::OK, &json!("succeeded")),
        "{ended}"
    );
    assert_eq!(ended["by"], "tester");
    assert_eq!(ended["results"][0]["status"], "Synced");
    assert!(world.object("ConfigMap", "front").await?.is_some());
    let app = world
        .app("shop-prod", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    assert_eq!(app["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(
        app["status"]["operationState"]["operation"]["initiatedBy"]["username"],
        "tester"
    );

    // The next commit is held again.
    let second = push(&world, "shop", &[config_map("front", "2")])?;
    world
        .rest_until("/api/v1/apps/prod/shop", "being held again", |_, app| {
            app["state"] == "held" && app["wanted"]["sha"] == second
        })
        .await?;
    assert_eq!(
        world
            .object("ConfigMap", "front")
            .await?
            .context("it stays")?["data"]["value"],
        "1"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_not_the_current_one_is_refused_with_the_current_one() -> Result<()> {
    let world = held("stale").await?;
    let old = plan(&world).await?["digest"].clone();
    push(
        &world,
        "shop",
        &[config_map("front", "1"), config_map("back", "1")],
    )?;
    let new = world
        .rest_until(
            "/api/v1/apps/prod/shop/plan",
            "the plan of the second commit",
            |_, plan| plan["create"] == 2,
        )
        .await?;
    assert_ne!(new["digest"], old);
    let sync = "/api/v1/apps/prod/shop/sync";
    for stale in [old, json!("no-digest")] {
        let (status, problem) = world
            .rest(Method::POST, sync, Some(json!({"plan": stale})))
            .await?;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::CONFLICT, &json!("sync.plan_changed")),
            "{problem}"
        );
        assert_eq!(problem["plan"], new);
    }
    assert!(
        world.object("ConfigMap", "front").await?.is_none(),
        "nothing was applied"
    );
    let (status, operation) = world
        .rest(Method::POST, sync, Some(json!({"plan": new["digest"]})))
        .await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{operation}");
    world
        .app("shop-prod", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_under_one_idempotency_key_syncs_once() -> Result<()> {
    let mut world = held("idempotent").await?;
    let digest = plan(&world).await?["digest"].clone();
    let url = format!("{}/api/v1/apps/prod/shop/sync", world.daemon().url);
    let client = reqwest::Client::new();
    let send = |body: Value| {
        client
            .post(&url)
            .bearer_auth(TOKEN)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", "pipeline-17")
            .body(body.to_string())
            .send()
    };
    let first = send(json!({"plan": digest})).await?;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let location = first.headers().get("Location").cloned();
    assert!(location.is_some());
    // The app is synced by now or soon; the same question has the same answer all the same.
    let again = send(json!({"plan": digest})).await?;
    assert_eq!(
        (again.status(), again.headers().get("Location").cloned()),
        (StatusCode::ACCEPTED, location)
    );
    let other = send(json!({"plan": digest, "prune": true})).await?;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_an_operation_that_runs_on_is_answered_when_its_time_is_up() -> Result<()> {
    let world = World::started("longwait").await?;
    push(
        &world,
        "shop",
        &[
            in_wave(0, stuck("front")),
            in_wave(1, config_map("back", "1")),
        ],
    )?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    let app = world
        .rest_until(
            "/api/v1/apps/default/shop",
            "a running operation",
            |_, app| app["operation"]["phase"] == "running",
        )
        .await?;
    let id = app["operation"]["id"].as_str().context("it has an id")?;
    let (status, operation) = world
        .rest(
            Method::GET,
            &format!("/api/v1/operations/{id}?wait=300ms"),
            None,
        )
        .await?;
    assert_eq!(
        (status, &operation["phase"]),
        (StatusCode::OK, &json!("running")),
        "{operation}"
    );
    let (status, _) = world
        .rest(
            Method::GET,
            &format!("/api/v1/operations/{id}?wait=soon"),
            None,
        )
        .await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    // Another sync would go where this one goes.
    let (status, plan) = world
        .rest(Method::GET, "/api/v1/apps/default/shop/plan", None)
        .await?;
    assert_eq!(status, StatusCode::OK);
    let body = json!({"plan": plan["digest"]});
    let (status, problem) = world
        .rest(Method::POST, "/api/v1/apps/default/shop/sync", Some(body))
        .await?;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("sync.running")),
        "{problem}"
    );
    assert_eq!(problem["operation"], id);
    Ok(())
}
