//! The configuration file, changed under a daemon that runs.

use std::os::unix::fs::symlink;

use anyhow::Result;
use lockstep_tests::World;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::objects::{config_map, in_environment, push, ready};

fn environments(names: &[&str]) -> String {
    let lines: Vec<String> = names
        .iter()
        .map(|name| {
            format!("  - {{name: {name}, newCommit: apply, drift: heal, deletion: prune}}\n")
        })
        .collect();
    format!("environments:\n{}", lines.concat())
}

/// Waits until the daemon has these environments.
async fn has(world: &World, names: &[&str]) -> Result<()> {
    world
        .rest_until(
            "/api/v1/environments",
            &format!("{names:?}"),
            |_, answer| {
                let items = answer["items"].as_array().or(answer.as_array());
                let found: Vec<&str> = items
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["name"].as_str())
                    .collect();
                names.iter().all(|name| found.contains(name)) && !found.contains(&"nowhere")
            },
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_told_of_everywhere_and_the_last_good_one_stays() -> Result<()> {
    let mut world = World::started("badconfig").await?;
    ready(&world).await?;
    let good = std::fs::read_to_string(&world.config)?;
    assert_eq!(world.metric("lockstep_config_valid").await?, Some(1));
    world.configure_as(&good.replace("newCommit: approve", "newCommit: aprove"))?;
    world
        .metric_until("lockstep_config_valid", "0", |valid| valid == 0)
        .await?;
    assert_eq!(
        world
            .metric("lockstep_config_reload_failures_total")
            .await?,
        Some(1)
    );
    // The metric is set at once, the page made anew a moment later.
    let parts = [
        "The configuration file is wrong",
        "lockstep.yaml:",
        "aprove",
    ];
    world
        .rest_until("/", "the mistake", |status, page| {
            let page = page.as_str().unwrap_or_default();
            status == StatusCode::OK && parts.iter().all(|part| page.contains(part))
        })
        .await?;
    let log = world.daemon().log();
    assert!(
        log.lines()
            .any(|line| line.contains("ERROR") && line.contains("aprove")),
        "{log}"
    );

    // It goes on with the good one: dev applies, prod waits.
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("shop-dev", "shop"),
        ))
        .await?;
    world.synced("shop-dev", &revision).await?;
    // Gone is as bad as wrong.
    std::fs::remove_file(&world.config)?;
    world
        .metric_until("lockstep_config_reload_failures_total", "2", |count| {
            count == 2
        })
        .await?;

    world.configure_as(&good.replace("name: staging", "name: canary"))?;
    world
        .metric_until("lockstep_config_valid", "1", |valid| valid == 1)
        .await?;
    has(&world, &["dev", "canary", "prod"]).await?;
    world
        .rest_until("/", "no mistake", |status, page| {
            status == StatusCode::OK && !page.to_string().contains(parts[0])
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_changes_holds_for_the_apps_that_are_there() -> Result<()> {
    let world = World::started("policy").await?;
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
    let good = std::fs::read_to_string(&world.config)?;
    world.configure_as(&good.replace("newCommit: approve", "newCommit: apply"))?;
    world
        .rest_until("/api/v1/apps/prod/shop", "being synced", |_, app| {
            app["state"] == "synced"
        })
        .await?;
    // An environment that is taken away leaves its apps held, with the names of those that there are.
    let without: Vec<&str> = good
        .lines()
        .filter(|line| !line.contains("name: prod"))
        .collect();
    world.configure_as(&(without.join("\n") + "\n"))?;
    let app = world
        .app("shop-prod", "a condition", |app| {
            app["status"]["conditions"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        })
        .await?;
    let conditions = app["status"]["conditions"].to_string();
    assert!(
        conditions.contains("prod") && conditions.contains("dev") && conditions.contains("staging"),
        "{conditions}"
    );
    assert!(
        world.object("ConfigMap", "front").await?.is_some(),
        "nothing is pruned for it"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_config_map_is_read_again_when_kubernetes_swaps_its_link() -> Result<()> {
    let mut world = World::new("mounted").await?;
    let mount = world.folder().join("mount");
    let config = |names: &[&str]| {
        format!(
            "namespace: {}\nhttp: {{access: open}}\n{}",
            world.apps,
            environments(names)
        )
    };
    let version = |name: &str, text: &str| -> Result<()> {
        std::fs::create_dir_all(mount.join(name))?;
        std::fs::write(mount.join(name).join("lockstep.yaml"), text)?;
        // As the kubelet does it: a new link beside the old one, then one rename.
        symlink(name, mount.join("..data_tmp"))?;
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data"))?;
        Ok(())
    };
    version("..2026_11_21_1", &config(&["dev"]))?;
    symlink("..data/lockstep.yaml", mount.join("lockstep.yaml"))?;
    version("..2026_11_21_2", &config(&["dev", "second"]))?;
    std::fs::remove_dir_all(mount.join("..2026_11_21_1"))?;
    let third = config(&["dev", "third"]);
    let broken = "environments: [nowhere\n";
    world.config = mount.join("lockstep.yaml");
    world.start()?;
    has(&world, &["dev", "second"]).await?;
    version("..2026_11_21_3", &third)?;
    std::fs::remove_dir_all(mount.join("..2026_11_21_2"))?;
    has(&world, &["dev", "third"]).await?;
    version("..2026_11_21_4", broken)?;
    world
        .metric_until("lockstep_config_valid", "0", |valid| valid == 0)
        .await?;
    has(&world, &["dev", "third"]).await?;
    version("..2026_11_21_5", &third)?;
    world
        .metric_until("lockstep_config_valid", "1", |valid| valid == 1)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_files_that_the_configuration_names_are_applied_at_start_and_on_change()
-> Result<()> {
    let mut world = World::new("files").await?;
    let folder = world.folder().join("etc/apps");
    std::fs::create_dir_all(&folder)?;
    let revision = push(&world, "shop", &[config_map("front", "1")])?;
    push(&world, "store", &[config_map("back", "1")])?;
    let write = |name: &str, app: &Value| std::fs::write(folder.join(name), format!("{app:#}\n"));
    write(
        "shop.json",
        &in_environment("dev", world.application("shop-dev", "shop")),
    )?;
    world.configure("applications: [apps]")?;
    world.start()?;
    world
        .app("shop-dev", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    write(
        "store.json",
        &in_environment("dev", world.application("store-dev", "store")),
    )?;
    world
        .app("store-dev", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    // A file with a mistake is told of; the others, and what was applied from it before, stay.
    std::fs::write(
        folder.join("store.json"),
        "{\"apiVersion\": \"argoproj.io/v1alpha1\", \"kind\": \"Application\"",
    )?;
    let mut app = in_environment("dev", world.application("shop-dev", "shop"));
    app["metadata"]["annotations"] = json!({"note": "changed"});
    write("shop.json", &app)?;
    world
        .app("shop-dev", "the annotation", |app| {
            app["metadata"]["annotations"]["note"] == "changed"
        })
        .await?;
    assert!(
        world.object("ConfigMap", "back").await?.is_some(),
        "at {revision}"
    );
    Ok(())
}
