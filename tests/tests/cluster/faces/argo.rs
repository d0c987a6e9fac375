//! Argo CD's paths and shapes, as scripts written for it use them.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::objects::{config_map, in_wave, push, stuck};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_are_listed_and_read_in_argo_cds_shape() -> Result<()> {
    let world = World::started("argoread").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    for name in ["shop", "store"] {
        world
            .kube
            .create(&world.application(name, if name == "shop" { "shop" } else { "missing" }))
            .await?;
    }
    world.synced("shop", &revision).await?;
    let list = world
        .rest_until("/api/v1/applications", "both Applications", |_, list| {
            list["items"]
                .as_array()
                .is_some_and(|items| items.len() == 2)
        })
        .await?;
    let names: Vec<&str> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["shop", "store"]);
    let (_, list) = world
        .rest(Method::GET, "/api/v1/applications?name=shop", None)
        .await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let (_, list) = world
        .rest(Method::GET, "/api/v1/applications?projects=another", None)
        .await?;
    assert_eq!(list["items"], json!([]));

    let (status, shop) = world
        .rest(Method::GET, "/api/v1/applications/shop", None)
        .await?;
    assert_eq!(status, StatusCode::OK);
    let written = world.application("shop", "shop");
    for field in ["project", "source", "destination"] {
        assert_eq!(shop["spec"][field], written["spec"][field], "{field}");
    }
    let expected = json!({"status": "Synced", "revision": revision});
    assert_eq!(
        json!({"status": shop["status"]["sync"]["status"], "revision": shop["status"]["sync"]["revision"]}),
        expected
    );
    assert_eq!(shop["status"]["health"]["status"], "Healthy");
    assert_eq!(shop["status"]["resources"][0]["kind"], "ConfigMap");
    assert_eq!(shop["status"]["resources"][0]["status"], "Synced");
    assert_eq!(shop["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(shop["status"]["history"][0]["revision"], revision);

    let (status, refused) = world
        .rest(Method::GET, "/api/v1/applications/shap", None)
        .await?;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::NOT_FOUND, &json!(5)),
        "{refused}"
    );
    assert!(
        refused["error"]
            .as_str()
            .is_some_and(|text| text.contains("shap")),
        "{refused}"
    );
    assert_eq!(refused["error"], refused["message"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_with_an_empty_body_applies_what_waits() -> Result<()> {
    let world = World::started("argosync").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    let mut manual = world.application("shop", "shop");
    manual["spec"]["syncPolicy"] = json!({});
    world.kube.create(&manual).await?;
    world
        .app("shop", "being OutOfSync", |app| {
            app["status"]["sync"]["status"] == "OutOfSync"
        })
        .await?;
    assert!(
        world.object("ConfigMap", "front").await?.is_none(),
        "without automated nothing is applied by itself"
    );
    let (status, app) = world
        .rest(
            Method::POST,
            "/api/v1/applications/shop/sync",
            Some(json!({})),
        )
        .await?;
    assert_eq!(status, StatusCode::OK, "{app}");
    assert_eq!(app["metadata"]["name"], "shop");
    world.synced("shop", &revision).await?;
    assert!(world.object("ConfigMap", "front").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_make_it_another_sync_is_refused_and_never_dropped() -> Result<()> {
    let world = World::started("argoother").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &revision).await?;
    let others = [
        json!({"manifests": ["{}"]}),
        json!({"retryStrategy": {"backoff": {"duration": "soon"}}}),
        json!({"revision": "a-branch"}),
    ];
    let mark = world.mark().await?;
    for body in others {
        let (status, refused) = world
            .rest(
                Method::POST,
                "/api/v1/applications/shop/sync",
                Some(body.clone()),
            )
            .await?;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {refused}");
        assert!(
            refused["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{refused}"
        );
    }
    let writes = world.writes_since(mark).await?;
    assert!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_is_answered_object_by_object_and_writes_to_none() -> Result<()> {
    let world = World::started("argodry").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    let mut app = world.application("shop", "shop");
    app["spec"]["syncPolicy"] = json!({});
    world.kube.create(&app).await?;
    world
        .app("shop", "being looked at", |app| {
            app["status"]["sync"]["revision"] == revision.as_str()
        })
        .await?;
    let (status, app) = world
        .rest(
            Method::POST,
            "/api/v1/applications/shop/sync",
            Some(json!({"dryRun": true, "resources": [{"kind": "ConfigMap", "name": "front"}]})),
        )
        .await?;
    assert_eq!(status, StatusCode::OK, "{app}");
    let state = &app["status"]["operationState"];
    assert_eq!(
        (&state["phase"], &state["operation"]["sync"]["dryRun"]),
        (&json!("Succeeded"), &json!(true))
    );
    let row = &state["syncResult"]["resources"][0];
    assert_eq!(
        (&row["name"], &row["message"]),
        (&json!("front"), &json!("would be created"))
    );
    assert!(world.object("ConfigMap", "front").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_while_another_runs_is_refused_in_argo_cds_words() -> Result<()> {
    let world = World::started("argobusy").await?;
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
    world
        .rest_until(
            "/api/v1/applications/shop",
            "a running operation",
            |_, app| app["status"]["operationState"]["phase"] == "Running",
        )
        .await?;
    let (status, refused) = world
        .rest(
            Method::POST,
            "/api/v1/applications/shop/sync",
            Some(json!({})),
        )
        .await?;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::BAD_REQUEST, &json!(9)),
        "{refused}"
    );
    assert_eq!(
        refused["message"],
        "another operation is already in progress"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_find_argo_cds_metrics_with_their_labels() -> Result<()> {
    let world = World::started("metrics").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &revision).await?;
    let server = "https://kubernetes.default.svc";
    let (_, text) = world.rest_as(None, Method::GET, "/metrics", None).await?;
    let text = text.as_str().context("it is text")?;
    assert!(text.ends_with("# EOF\n"));
    let labels = |name: &str, wanted: &[(&str, &str)]| -> Option<u64> {
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line.contains("shop"))?;
        for (label, value) in wanted {
            assert!(
                line.contains(&format!("{label}=\"{value}\"")),
                "{label}: {line}"
            );
        }
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let info = labels(
        "argocd_app_info{",
        &[
            ("namespace", &world.apps),
            ("name", "shop"),
            ("project", "default"),
            ("autosync_enabled", "true"),
            ("repo", &world.repository.url),
            ("dest_server", server),
            ("dest_namespace", &world.target),
            ("sync_status", "Synced"),
            ("health_status", "Healthy"),
            ("operation", ""),
        ],
    );
    assert_eq!(info, Some(1));
    let synced = labels(
        "argocd_app_sync_total{",
        &[
            ("namespace", &world.apps),
            ("name", "shop"),
            ("project", "default"),
            ("dest_server", server),
            ("phase", "Succeeded"),
            ("dry_run", "false"),
        ],
    );
    assert_eq!(synced, Some(1));
    let compared = text
        .lines()
        .find(|line| line.starts_with("argocd_app_reconcile_count{"))
        .context("comparisons are counted")?;
    assert!(
        compared.contains(&format!("dest_server=\"{server}\"")) && !compared.ends_with(" 0"),
        "{compared}"
    );
    for bucket in ["0.25", "0.5", "1.0", "2.0", "4.0", "8.0", "16.0"] {
        assert!(text.contains(&format!("le=\"{bucket}\"")), "{bucket}");
    }
    assert!(
        text.contains("argocd_git_request_total{"),
        "git hosts are counted"
    );
    assert_eq!(
        world
            .metric("lockstep_invariant_violations_total")
            .await?
            .unwrap_or(0),
        0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_is_asked_for_looks_at_git_at_once() -> Result<()> {
    let mut world = World::new("refresh").await?;
    world.configure_git("{poll: 1h, jitter: 0s}", "")?;
    world.start()?;
    let first = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&world.application("shop", "shop"))
        .await?;
    world.synced("shop", &first).await?;
    let second = push(&world, "shop", &[config_map("front", "2")])?;
    let (status, _): (_, Value) = world
        .rest(
            Method::GET,
            "/api/v1/applications/shop?refresh=normal",
            None,
        )
        .await?;
    assert_eq!(status, StatusCode::OK);
    world.synced("shop", &second).await?;
    // And as Argo CD's command line without a server does it: an annotation, which is taken away when it was heard.
    let third = push(&world, "shop", &[config_map("front", "3")])?;
    let at = lockstep_tests::kube::path("Application", &world.apps, "shop");
    let annotation = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
    world.kube.patch(&at, annotation, "hand").await?;
    let app = world.synced("shop", &third).await?;
    assert_eq!(
        app["metadata"]["annotations"]["argocd.argoproj.io/refresh"],
        Value::Null
    );
    Ok(())
}
