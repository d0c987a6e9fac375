//! Git on its bad days: nothing is deleted because of what cannot be read.

use anyhow::Result;
use lockstep_tests::git::Repository;
use serde_json::json;

use super::{
    APP, absent, application, at, caught_up, config_map, live, of_objects, push, settled, to,
    withdraw,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_cannot_be_reached_freezes_its_app_and_no_other() -> Result<()> {
    let world = settled(
        "unreachable",
        &[config_map("front", "1"), config_map("back", "1")],
    )
    .await?;
    let other = Repository::new(
        &world.plane.address,
        world.folder(),
        &format!("other-of-{}", world.target),
    )?;
    let revision = push(&other, "other", &[config_map("sentinel", "1")])?;
    let mut app = world.application("other", "other");
    app["spec"]["source"]["repoURL"] = json!(other.url);
    world.kube.create(&app).await?;
    world.synced("other", &revision).await?;

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        format!("http://{}/shop.git", listener.local_addr()?)
    };
    let point_at = |url: &str| json!({"spec": {"source": {"repoURL": url}}});
    let mark = world.mark().await?;
    world
        .kube
        .patch(&application(&world, APP), point_at(&nobody), "hand")
        .await?;
    let app = world.condition(APP, "ComparisonError", "").await?;
    assert_eq!(app["status"]["sync"]["status"], "Unknown");
    assert_eq!(app["status"]["lockstep"]["state"], "unknown");

    // What happens in the cluster meanwhile is seen, and left.
    world.kube.delete(&at(&world, "ConfigMap", "front")).await?;
    caught_up(&world, "ConfigMap", "sentinel").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert_eq!(
        to(&writes, "/configmaps/sentinel").len(),
        writes.len(),
        "{writes:#?}"
    );
    assert!(world.object("ConfigMap", "front").await?.is_none());
    live(&world, "ConfigMap", "back").await?;

    world
        .kube
        .patch(
            &application(&world, APP),
            point_at(&world.repository.url),
            "hand",
        )
        .await?;
    world
        .object_until("ConfigMap", "front", "being made again", |object| {
            object.is_some()
        })
        .await?;
    world
        .app(APP, "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_is_gone_freezes_until_it_is_back() -> Result<()> {
    let world = settled("gone", &[config_map("front", "1"), config_map("back", "1")]).await?;
    let name = world
        .repository
        .url
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let bare = world.plane.address.git_root.join(&name);
    let aside = bare.with_extension("aside");
    let mark = world.mark().await?;
    std::fs::rename(&bare, &aside)?;
    let app = world.condition(APP, "ComparisonError", &name).await?;
    assert_eq!(app["status"]["sync"]["status"], "Unknown");
    live(&world, "ConfigMap", "front").await?;
    live(&world, "ConfigMap", "back").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");

    std::fs::rename(&aside, &bare)?;
    let revision = withdraw(&world.repository, APP, &[config_map("back", "1")])?;
    absent(&world, "ConfigMap", "back").await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_gone_freezes_until_it_is_back() -> Result<()> {
    let world = settled("ref", &[config_map("front", "1"), config_map("back", "1")]).await?;
    // The other branch keeps the repository from being an empty one.
    world.repository.server_side(&["branch", "other", "main"])?;
    let mark = world.mark().await?;
    world
        .repository
        .server_side(&["update-ref", "-d", "refs/heads/main"])?;
    let app = world.condition(APP, "ComparisonError", "main").await?;
    assert_eq!(app["status"]["sync"]["status"], "Unknown");
    live(&world, "ConfigMap", "front").await?;
    live(&world, "ConfigMap", "back").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");

    let revision = withdraw(&world.repository, APP, &[config_map("back", "1")])?;
    absent(&world, "ConfigMap", "back").await?;
    world.synced(APP, &revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_rendered_leaves_everything_as_it_is() -> Result<()> {
    let world = settled(
        "unreadable",
        &[config_map("front", "1"), config_map("back", "1")],
    )
    .await?;
    let mark = world.mark().await?;
    world.repository.write(
        "shop/broken.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n",
    )?;
    withdraw(&world.repository, APP, &[config_map("back", "1")])?;
    world
        .condition(APP, "ComparisonError", "shop/broken.yaml")
        .await?;
    live(&world, "ConfigMap", "back").await?;
    let writes = of_objects(world.writes_since(mark).await?);
    assert!(writes.is_empty(), "{writes:#?}");

    // The cluster is kept at the last commit that could be rendered.
    caught_up(&world, "ConfigMap", "front").await?;
    world.repository.remove("shop/broken.yaml")?;
    let revision = world.repository.push("mend")?;
    world.synced(APP, &revision).await?;
    assert!(world.object("ConfigMap", "back").await?.is_none());
    Ok(())
}
