//! Kustomizations that name another repository, under what an Application changes in them.

use anyhow::Result;
use lockstep_tests::World;
use lockstep_tests::git::Repository;
use lockstep_tests::kube::path;
use serde_json::{Value, json};

use super::{APP, at, caught_up, config_map, deployment, file, holds, of_objects, to};

/// Allows these repositories to the apps of the project `team`.
async fn allow(world: &World, repositories: &[&str]) -> Result<()> {
    let repositories = json!({"spec": {"sourceRepos": repositories}});
    let at = path("AppProject", &world.apps, "team");
    world.kube.patch(&at, repositories, "hand").await?;
    Ok(())
}

/// The base's own manifests, with this value in its ConfigMap.
fn push_base(base: &Repository, value: &str) -> Result<String> {
    base.write(
        "deploy/kustomization.yaml",
        "resources: [settings.json, web.json]\n",
    )?;
    base.write(
        "deploy/settings.json",
        &config_map("settings", value).to_string(),
    )?;
    base.write("deploy/web.json", &deployment("web").to_string())?;
    base.push("change the base")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_base_is_followed_under_overrides_and_only_while_the_project_allows_it()
-> Result<()> {
    let world = World::started("bases").await?;
    let base = Repository::new(
        &world.plane.address,
        world.folder(),
        &format!("base-of-{}", world.target),
    )?;
    push_base(&base, "1")?;
    let own = world.repository.url.as_str();
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
        "metadata": {"name": "team", "namespace": world.apps},
        "spec": {"sourceRepos": [own, base.url], "destinations": [{"server": "*", "namespace": "*"}]},
    });
    world.kube.create(&project).await?;
    let kustomization = format!(
        "resources: [own.json, '{}//deploy?ref=main']\ncommonLabels: {{from: git}}\n",
        base.url
    );
    world
        .repository
        .write(&format!("{APP}/kustomization.yaml"), &kustomization)?;
    world.repository.write(
        &format!("{APP}/own.json"),
        &config_map("own", "1").to_string(),
    )?;
    let sentinel = config_map("sentinel", "1");
    world
        .repository
        .write(&file("other", &sentinel), &sentinel.to_string())?;
    let revision = world.repository.push("name a base")?;
    let mut app = world.application(APP, APP);
    app["spec"]["project"] = json!("team");
    app["spec"]["source"]["kustomize"] = json!({
        "namePrefix": "team-",
        "images": ["registry.example/main=registry.example/other:$ARGOCD_APP_REVISION_SHORT"],
        "replicas": [{"name": "web", "count": 3}],
        "commonLabels": {"from": "the-application"},
        "forceCommonLabels": true,
        "patches": [{
            "target": {"kind": "ConfigMap", "name": "settings"},
            "patch": "- {op: add, path: /data/patched, value: 'yes'}\n",
        }],
        "components": ["../none"],
        "ignoreMissingComponents": true,
    });
    world.kube.create(&app).await?;
    world.synced(APP, &revision).await?;

    let web = world
        .object_until("Deployment", "team-web", "being there", |web| web.is_some())
        .await?
        .unwrap_or_default();
    let short = revision.get(..7).unwrap_or_default();
    assert_eq!(
        (
            &web["spec"]["template"]["spec"]["containers"][0]["image"],
            &web["spec"]["replicas"],
            &web["metadata"]["labels"]["from"],
        ),
        (
            &json!(format!("registry.example/other:{short}")),
            &json!(3),
            &json!("the-application"),
        )
    );
    let value = |value: &str| json!({"value": value, "patched": "yes"});
    holds(&world, "ConfigMap", "team-settings", "/data", value("1")).await?;

    // The other repository moves on, and the app with it.
    push_base(&base, "2")?;
    holds(&world, "ConfigMap", "team-settings", "/data", value("2")).await?;
    world.synced(APP, &revision).await?;

    // Forbidden: frozen, with nothing of the base deleted and nothing put back.
    let mark = world.mark().await?;
    allow(&world, &[own]).await?;
    let not_allowed = format!("project team does not allow the repository {}", base.url);
    world
        .condition(APP, "ComparisonError", &not_allowed)
        .await?;
    world
        .kube
        .delete(&at(&world, "ConfigMap", "team-settings"))
        .await?;
    other(&world).await?;
    assert!(world.object("ConfigMap", "team-settings").await?.is_none());
    let writes = of_objects(world.writes_since(mark).await?);
    assert_eq!(to(&writes, "/configmaps/sentinel").len(), writes.len());

    // `*` speaks of bases only where the daemon is told so.
    allow(&world, &["*"]).await?;
    world
        .condition(APP, "ComparisonError", "git.remoteBases is off")
        .await?;
    assert!(world.object("ConfigMap", "team-settings").await?.is_none());
    world.configure_git("{poll: 2s, jitter: 0s, remoteBases: true}", "")?;
    holds(&world, "ConfigMap", "team-settings", "/data", value("2")).await?;
    world.synced(APP, &revision).await?;
    let record = world
        .kube
        .get(&path("Record", &world.apps, APP))
        .await?
        .unwrap_or_default();
    let bases: Vec<&Value> = record["bases"].as_array().into_iter().flatten().collect();
    assert_eq!(
        bases
            .iter()
            .map(|base| &base["repoURL"])
            .collect::<Vec<_>>(),
        [&json!(base.url)]
    );
    Ok(())
}

/// Another app, of the default project, has something put back: whatever came before it has been seen.
async fn other(world: &World) -> Result<()> {
    world
        .kube
        .create(&world.application("other", "other"))
        .await?;
    world
        .object_until("ConfigMap", "sentinel", "being there", |object| {
            object.is_some()
        })
        .await?;
    caught_up(world, "ConfigMap", "sentinel").await
}
