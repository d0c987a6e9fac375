//! The command line, run as its users run it, against a daemon that runs.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::world::root;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::objects::{config_map, in_environment, push, ready, stuck};

/// `shop` in dev, synced, and in prod, held.
async fn both(name: &str) -> Result<(World, String)> {
    let world = World::started(name).await?;
    let revision = push(&world, "dev", &[config_map("front", "1")])?;
    let revision = push(&world, "prod", &[config_map("front-of-prod", "1")]).unwrap_or(revision);
    for environment in ["dev", "prod"] {
        let app = world.application(&format!("shop-{environment}"), environment);
        world.kube.create(&in_environment(environment, app)).await?;
    }
    world
        .rest_until("/api/v1/apps/dev/shop", "being synced", |_, app| {
            app["state"] == "synced"
        })
        .await?;
    world
        .rest_until("/api/v1/apps/prod/shop", "being held", |_, app| {
            app["state"] == "held"
        })
        .await?;
    Ok((world, revision))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_every_app_and_check_answers_whether_all_are_synced() -> Result<()> {
    let (world, revision) = both("clistatus").await?;
    let said = world.cli(&["status"])?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let rows: Vec<Vec<&str>> = said
        .out
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    assert_eq!(
        rows,
        [["dev", "shop", "Synced"], ["prod", "shop", "Held"]],
        "{}",
        said.out
    );
    assert!(said.out.contains(&revision[..7]), "{}", said.out);
    assert_eq!(world.cli(&["status", "--check"])?.code, Some(1));
    assert_eq!(
        world.cli(&["status", "-e", "dev", "--check"])?.code,
        Some(0)
    );
    let one = world.cli(&["status", "prod/shop", "-o", "table"])?;
    assert!(
        one.code == Some(0) && one.out.contains("lockstep sync"),
        "the next step is said: {one:?}"
    );
    let json = world.cli(&["status", "-o", "json"])?;
    let json: Value = serde_json::from_str(&json.out)?;
    assert_eq!(json["items"].as_array().map(Vec::len), Some(2), "{json}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diff_answers_by_its_exit_code_and_an_error_never_looks_like_a_difference() -> Result<()> {
    let (mut world, _) = both("clidiff").await?;
    let same = world.cli(&["diff", "shop", "-e", "dev"])?;
    assert_eq!(same.code, Some(0), "{same:?}");
    let differs = world.cli(&["diff", "prod/shop"])?;
    assert_eq!(differs.code, Some(1), "{differs:?}");
    assert!(
        differs.out.contains("ConfigMap/front-of-prod") && differs.out.contains("1 to create"),
        "{differs:?}"
    );
    for (arguments, code) in [
        (&["diff", "prod/nothing"][..], 15),
        (&["diff", "--no-such-flag"], 2),
        (&["diff", "prod/shop", "-e", "dev"], 2),
        (&["status", "-e", "nowhere"], 15),
    ] {
        let said = world.cli(arguments)?;
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{said:?}");
    }
    world.daemon().kill()?;
    assert_eq!(
        world.cli(&["diff", "prod/shop"])?.code,
        Some(14),
        "a daemon that is gone is not a difference"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_prints_the_plan_approves_it_and_follows_it_to_the_end() -> Result<()> {
    let (world, revision) = both("clisync").await?;
    let dry = world.cli(&["sync", "prod/shop", "--dry-run"])?;
    assert_eq!(dry.code, Some(1), "{dry:?}");
    assert!(world.object("ConfigMap", "front-of-prod").await?.is_none());
    let said = world.cli(&["sync", "prod/shop"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("1 to create") && said.out.contains("matches git"),
        "{said:?}"
    );
    assert!(world.object("ConfigMap", "front-of-prod").await?.is_some());
    let again = world.cli(&["sync", "prod/shop"])?;
    assert!(
        again.code == Some(0) && again.out.contains("nothing to do"),
        "{again:?}"
    );
    let waited = world.cli(&[
        "wait",
        "shop",
        "-e",
        "prod",
        "--revision",
        &revision[..12],
        "--timeout",
        "30s",
    ])?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert_eq!(world.cli(&["status", "--check"])?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_says_how_long_it_holds_and_a_release_ends_it() -> Result<()> {
    let (world, _) = both("cliback").await?;
    let second = push(&world, "dev", &[config_map("front", "2")])?;
    let waited = world.cli(&[
        "wait",
        "dev/shop",
        "--revision",
        &second,
        "--timeout",
        "60s",
    ])?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let value = async || -> Result<Option<Value>> {
        let front = world.object("ConfigMap", "front").await?;
        Ok(front.map(|front| front["data"]["value"].clone()))
    };
    let dry = world.cli(&["rollback", "dev/shop", "--dry-run"])?;
    assert_eq!(dry.code, Some(1), "{dry:?}");
    assert!(
        dry.out.contains("ConfigMap/front  would be changed"),
        "{dry:?}"
    );
    assert_eq!(value().await?, Some(json!("2")));

    let back = world.cli(&["rollback", "dev/shop", "--reason", "it burns"])?;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(
        back.out.contains("until a newer commit: it burns"),
        "{back:?}"
    );
    assert_eq!(value().await?, Some(json!("1")));
    let verified = world.cli(&["wait", "dev/shop", "--for", "verified", "--timeout", "60s"])?;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let never = world.cli(&["wait", "dev/shop", "--timeout", "60s"])?;
    assert_eq!(never.code, Some(7), "{never:?}");
    let history = world.cli(&["history", "dev/shop"])?;
    assert_eq!(history.code, Some(0), "{history:?}");
    for text in [
        "is kept at",
        "it burns",
        "Live",
        "Replaced",
        "Rollback  Succeeded",
    ] {
        assert!(history.out.contains(text), "{text}: {}", history.out);
    }

    let released = world.cli(&["release", "dev/shop"])?;
    assert_eq!(released.code, Some(0), "{released:?}");
    let waited = world.cli(&[
        "wait",
        "dev/shop",
        "--revision",
        &second,
        "--timeout",
        "60s",
    ])?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert_eq!(value().await?, Some(json!("2")));
    for verb in ["release", "terminate"] {
        let said = world.cli(&[verb, "dev/shop"])?;
        assert_eq!(said.code, Some(3), "{verb}: {said:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_tells_how_its_hooks_go_and_one_of_some_objects_runs_none() -> Result<()> {
    let world = World::started("clihooks").await?;
    let hook = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "before", "annotations": {"argocd.argoproj.io/hook": "PreSync"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "registry.example/job:1"}]}}}});
    let first = push(
        &world,
        "shop",
        &[config_map("front", "1"), config_map("back", "1"), hook],
    )?;
    let app = world.application("shop-prod", "shop");
    world.kube.create(&in_environment("prod", app)).await?;
    let held = async |to: &str| {
        world
            .rest_until("/api/v1/apps/prod/shop", "being held", |_, app| {
                app["state"] == "held" && app["wanted"]["sha"] == to
            })
            .await
    };
    held(&first).await?; // before that the daemon may not have heard of it
    let said = world.cli(&["wait", "prod/shop", "--timeout", "60s"])?;
    assert_eq!(said.code, Some(5), "it waits for a person: {said:?}");
    let said = world.cli(&["sync", "prod/shop"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("1 hook to run"), "{said:?}");
    assert!(
        said.err
            .contains("PreSync hook Job/before has done its work"),
        "{said:?}"
    );

    let second = push(
        &world,
        "shop",
        &[config_map("front", "2"), config_map("back", "2")],
    )?;
    held(&second).await?;
    let said = world.cli(&["sync", "prod/shop", "--resource", "ConfigMap/front"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.err.contains("hook"), "{said:?}");
    let value = async |name: &str| -> Result<Option<Value>> {
        let object = world.object("ConfigMap", name).await?;
        Ok(object.map(|object| object["data"]["value"].clone()))
    };
    assert_eq!(value("front").await?, Some(json!("2")));
    assert_eq!(value("back").await?, Some(json!("1")));
    let slip = world.cli(&["sync", "prod/shop", "--resource", "ConfigMap/frnot"])?;
    assert_eq!(slip.code, Some(15), "{slip:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_gives_up_when_its_time_is_up_and_says_what_it_waited_for() -> Result<()> {
    let world = World::started("cliwait").await?;
    push(&world, "shop", &[stuck("front")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("shop-dev", "shop"),
        ))
        .await?;
    world
        .rest_until("/api/v1/apps/dev/shop", "waiting for health", |_, app| {
            app["health"] == "progressing" && app["sync"] == "inSync"
        })
        .await?;
    let said = world.cli(&["wait", "dev/shop", "--timeout", "1s"])?;
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(
        said.err.contains("why") && said.err.contains("next"),
        "{said:?}"
    );
    let said = world.cli(&["wait", "dev/shop", "--for", "no-drift", "--timeout", "20s"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_made_may_sync_until_it_is_taken_away() -> Result<()> {
    let mut world = World::started("clitoken").await?;
    ready(&world).await?;
    let kubeconfig = world.kubeconfig("a-person")?;
    let kubeconfig = kubeconfig.to_str().context("a path in ASCII")?;
    let apps = world.apps.clone();
    let place = ["--kubeconfig", kubeconfig, "-n", &apps];
    let made = world.cli(&[&["token", "create", "ada"][..], &place].concat())?;
    assert_eq!(made.code, Some(0), "{made:?}");
    let token = made.out.trim().to_owned();
    assert!(
        token.len() >= 32 && made.out.lines().count() == 1,
        "{made:?}"
    );
    let at = lockstep_tests::kube::path("Secret", &apps, "lockstep-tokens");
    let secret = world.kube.must(&at).await?;
    assert!(
        !secret.to_string().contains(&token),
        "only its digest is kept"
    );
    assert!(
        secret["data"]["tester"].is_string(),
        "the other tokens are still there: {secret}"
    );
    assert_eq!(
        world
            .cli(&[&["token", "create", "ada"][..], &place].concat())?
            .code,
        Some(7),
        "the name is taken"
    );
    let names = world.cli(&[&["token", "list"][..], &place].concat())?;
    assert_eq!(names.out, "ada\ntester\n");

    // Whoever may write gets as far as the app that is not there.
    let nothing = "/api/v1/apps/dev/nothing/sync";
    let reaches = |wanted: StatusCode| {
        let (world, token) = (&world, &token);
        async move {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
            let reached = async {
                while world
                    .rest_as(Some(token), Method::POST, nothing, Some(json!({})))
                    .await?
                    .0
                    != wanted
                {
                    tick.tick().await;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(lockstep_tests::kube::PATIENCE, reached)
                .await
                .context("the token is not heard of")?
        }
    };
    reaches(StatusCode::NOT_FOUND).await?;
    let gone = world.cli(&[&["token", "delete", "ada"][..], &place].concat())?;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    reaches(StatusCode::UNAUTHORIZED).await?;
    assert!(!world.daemon().log().contains(&token));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_names_every_mistake_with_its_place() -> Result<()> {
    let world = World::new("clivalidate").await?;
    let config = world.folder().join("bad.yaml");
    std::fs::write(
        &config,
        "namespace: argocd\nhttp:\n  acess: open\nenvironments:\n  - {name: dev, newCommit: aply}\n",
    )?;
    let apps = world.folder().join("apps.yaml");
    let mut app = in_environment("dev", world.application("shop-dev", "shop"));
    app["spec"]["source"]["repoUrl"] = app["spec"]["source"]["repoURL"].take();
    std::fs::write(&apps, format!("{app:#}\n"))?;
    let said = world.cli(&["validate", "bad.yaml", "apps.yaml"])?;
    assert_eq!(said.code, Some(3), "{said:?}");
    for part in [
        "bad.yaml:3:",
        "acess",
        "access",
        "bad.yaml:5:",
        "aply",
        "apps.yaml:",
        "repoUrl",
    ] {
        assert!(said.out.contains(part), "{part} is not said:\n{}", said.out);
    }
    let shipped = root().join("config/lockstep.yaml");
    let said = world.cli(&["validate", shipped.to_str().context("a path in ASCII")?])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definitions_that_are_committed_are_those_that_are_printed() -> Result<()> {
    let world = World::new("clicrds").await?;
    let said = world.cli(&["crds"])?;
    assert_eq!(said.code, Some(0));
    let committed = std::fs::read_to_string(root().join("manifests/crds/crds.yaml"))?;
    assert!(
        said.out == committed,
        "manifests/crds/crds.yaml is not what `lockstep crds` prints; run: make generate"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_a_faulty_configuration_does_not_start_and_says_where() -> Result<()> {
    let world = World::new("cliserve").await?;
    world.configure_as("namespace: argocd\npols: 3\n")?;
    let config = world.config.clone();
    let said = world.cli(&[
        "serve",
        "--config",
        config.to_str().context("a path in ASCII")?,
    ])?;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.err.contains("lockstep.yaml:2:") && said.err.contains("pols"),
        "{said:?}"
    );
    Ok(())
}
