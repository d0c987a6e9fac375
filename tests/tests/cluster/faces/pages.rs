//! The pages, over the wire: complete without script, and allowed to run nothing but what they ship.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use reqwest::StatusCode;

use crate::objects::{config_map, in_environment, push};

struct Page {
    status: StatusCode,
    policy: String,
    kind: String,
    text: String,
}

async fn page(world: &World, path: &str) -> Result<Page> {
    let daemon = world.daemon.as_ref().context("it was started")?;
    let answer = reqwest::Client::new()
        .get(format!("{}{path}", daemon.url))
        .header("Accept", "text/html")
        .send()
        .await?;
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let (policy, kind) = (header("Content-Security-Policy"), header("Content-Type"));
    assert_eq!(header("X-Content-Type-Options"), "nosniff", "{path}");
    assert_eq!(header("X-Frame-Options"), "DENY", "{path}");
    Ok(Page {
        status: answer.status(),
        policy,
        kind,
        text: answer.text().await?,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_forbids_what_it_does_not_ship_and_needs_no_script() -> Result<()> {
    let world = World::started("pages").await?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("shop-dev", "shop"),
        ))
        .await?;
    world.synced("shop-dev", &revision).await?;
    let front = page(&world, "/").await?;
    assert!(
        front.text.contains("/apps/dev/shop") && front.text.contains("Synced"),
        "{}",
        front.text
    );
    let app = page(&world, "/apps/dev/shop").await?;
    for part in [
        "front",
        "ConfigMap",
        &revision[..7],
        "id=\"drift\"",
        "id=\"plan\"",
        "id=\"objects\"",
        "class=\"strip\"",
    ] {
        assert!(
            app.text.contains(part),
            "{part} is not on the page:\n{}",
            app.text
        );
    }
    let asset = front
        .text
        .split('"')
        .find(|part| part.starts_with("/static/"))
        .context("a page has a style")?;
    for path in [
        "/",
        "/apps/dev/shop",
        "/apps/dev/nothing",
        "/help/words",
        "/nowhere",
        asset,
        "/metrics",
    ] {
        let page = page(&world, path).await?;
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(page.policy.contains(part), "{path}: {}", page.policy);
        }
        assert!(!page.policy.contains("unsafe"), "{path}: {}", page.policy);
        if page.kind.starts_with("text/html") {
            for inline in [
                " style=\"",
                " onclick=",
                " onload=",
                "<style",
                "javascript:",
            ] {
                assert!(!page.text.contains(inline), "{path} has {inline}");
            }
            let scripts = page.text.matches("<script").count();
            assert_eq!(
                scripts,
                page.text.matches("<script src=\"/static/").count(),
                "{path}"
            );
        }
    }
    for (path, status) in [
        ("/apps/dev/nothing", 404),
        ("/nowhere", 404),
        ("/", 200),
        ("/healthz", 200),
        ("/readyz", 200),
    ] {
        assert_eq!(page(&world, path).await?.status.as_u16(), status, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_git_and_in_the_cluster_is_shown_as_text() -> Result<()> {
    let world = World::started("escape").await?;
    let evil = "</td><script>alert(1)</script>";
    let mut object = config_map("front", evil);
    object["metadata"]["annotations"] = serde_json::json!({"note": evil});
    push(&world, "shop", &[object])?;
    world.repository.commit(evil, &[])?;
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
    let query = "/?q=%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/apps/prod/shop",
        "/",
        query,
        "/apps/prod/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ] {
        let page = page(&world, path).await?;
        assert!(!page.text.contains("<script>alert"), "{path}");
    }
    assert!(
        page(&world, "/apps/prod/shop")
            .await?
            .text
            .contains("alert(1)"),
        "it is shown all the same"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_tells_of_a_change_without_being_asked_again() -> Result<()> {
    use futures::StreamExt as _;

    let mut world = World::started("stream").await?;
    let url = format!("{}/api/v1/stream", world.daemon().url);
    let answer = reqwest::Client::new()
        .get(url)
        .header("Accept", "text/event-stream")
        .send()
        .await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut stream = answer.bytes_stream();
    push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("shop-dev", "shop"),
        ))
        .await?;
    let mut seen = String::new();
    let told = async {
        while let Some(piece) = stream.next().await {
            seen.push_str(&String::from_utf8_lossy(&piece?));
            if seen.contains("dev/shop") {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended")
    };
    tokio::time::timeout(lockstep_tests::kube::PATIENCE, told).await?
}
