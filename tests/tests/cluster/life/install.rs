//! In a cluster: the manifests as they are shipped, and the rights they give, on a real API server with RBAC.
//!
//! One test only, since there is one namespace `argocd` and one set of cluster roles.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use lockstep_tests::world::root;
use reqwest::Method;
use serde_json::{Value, json};

use crate::objects::{config_map, in_environment, push, ready};

const NAMESPACE: &str = "argocd";

/// What the manifests render to, by our own renderer.
fn rendered(world: &World) -> Result<Vec<Value>> {
    let folder = root().join("manifests/install");
    let said = world.cli(&["render", folder.to_str().context("a path in ASCII")?])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let objects = lockstep_manifest::yaml::read_yaml(said.out.as_bytes())?;
    Ok(objects
        .into_iter()
        .map(lockstep_manifest::Manifest::into_value)
        .collect())
}

/// Definitions and namespaces first, as any installation does.
fn order(object: &Value) -> u8 {
    match object["kind"].as_str() {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        Some("ServiceAccount" | "ConfigMap") => 2,
        _ => 3,
    }
}

fn lease(name: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "nobody"}})
}

fn endpoints(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name},
        "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}]})
}

/// Waits until the app is Unknown on page and in status, with all of this in its reason or what to do.
async fn lacks(world: &World, name: &str, parts: &[&str]) -> Result<Value> {
    let at = format!("/api/v1/apps/dev/{name}");
    let view = world
        .rest_until(&at, "a missing right", |_, app| {
            app["reason"]["code"] == "unknown.permission"
        })
        .await?;
    assert_eq!(view["state"], "unknown", "{view:#}");
    let said = format!("{} {} {}", view["reason"], view["next"], view["conditions"]);
    for part in parts {
        assert!(said.contains(part), "{part} is not said: {said}");
    }
    let app = world
        .app(
            &format!("{name}-dev"),
            "a condition that names the right",
            |app| {
                parts
                    .iter()
                    .all(|part| app["status"]["conditions"].to_string().contains(part))
            },
        )
        .await?;
    Ok(app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_manifests_let_the_daemon_sync_and_a_missing_right_is_named() -> Result<()> {
    let mut world = World::new("install").await?;
    let mut objects = rendered(&world)?;
    objects.sort_by_key(order);
    for object in &objects {
        world
            .kube
            .apply(object, "installer")
            .await
            .with_context(|| format!("{object:#}"))?;
    }
    NAMESPACE.clone_into(&mut world.apps);
    world
        .kube
        .until(
            "ServiceAccount",
            NAMESPACE,
            "lockstep",
            "being there",
            |found| found.is_some(),
        )
        .await?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600}});
    let at = format!("{}/token", path("ServiceAccount", NAMESPACE, "lockstep"));
    let (status, answer) = world
        .kube
        .send(Method::POST, &at, "application/json", Some(&request))
        .await?;
    assert!(status.is_success(), "{answer}");
    let token = answer["status"]["token"]
        .as_str()
        .context("a token is answered")?;
    let kubeconfig = world.kubeconfig_with("serviceaccount", token)?;
    world.user = format!("system:serviceaccount:{NAMESPACE}:lockstep");

    // The configuration as the pod would see it, but for who may look and how long a test waits for git.
    let config = objects
        .iter()
        .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "lockstep")
        .and_then(|object| object["data"]["lockstep.yaml"].as_str())
        .context("the configuration is a ConfigMap")?;
    assert!(config.contains("access: token"), "{config}");
    let open = config.replace("access: token", "access: open");
    world.configure_as(&format!("{open}git: {{poll: 2s, jitter: 0s}}\n"))?;
    let mark = world.mark().await?;
    world.daemon = Some(world.another_with(&kubeconfig, "", &[])?);
    ready(&world).await?;

    // One sync, with what most apps have.
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"a": "b"}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
        "spec": {"selector": {"app": "front"}, "ports": [{"port": 80}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "front"}, "spec": {
        "selector": {"matchLabels": {"app": "front"}}, "template": {"metadata": {"labels": {"app": "front"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]}}}});
    let revision = push(
        &world,
        "shop",
        &[config_map("front", "1"), secret, service, deployment],
    )?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("shop-dev", "shop"),
        ))
        .await?;
    world
        .app("shop-dev", "being Synced and Healthy", |app| {
            app["status"]["sync"]["revision"] == revision.as_str()
                && app["status"]["sync"]["status"] == "Synced"
                && app["status"]["health"]["status"] == "Healthy"
        })
        .await?;
    // Nothing that it asked for was refused: the roles are what it needs.
    let refused: Vec<_> = world
        .requests_since(mark)
        .await?
        .into_iter()
        .filter(|one| one.code == 403)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");

    // A kind that it may not read.
    push(&world, "leases", &[lease("of-git")])?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("leases-dev", "leases"),
        ))
        .await?;
    lacks(&world, "leases", &["leases", "coordination.k8s.io", "list"]).await?;

    // A kind that it may read and not write: it says so, and does so once it may.
    push(
        &world,
        "ends",
        &[endpoints("of-git"), config_map("beside", "1")],
    )?;
    world
        .kube
        .create(&in_environment(
            "dev",
            world.application("ends-dev", "ends"),
        ))
        .await?;
    lacks(&world, "ends", &["endpoints", "patch"]).await?;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "ends", "namespace": world.target},
        "rules": [{"apiGroups": [""], "resources": ["endpoints"], "verbs": ["create", "patch", "delete"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "ends", "namespace": world.target},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ends"},
        "subjects": [{"kind": "ServiceAccount", "name": "lockstep", "namespace": NAMESPACE}]});
    world.kube.create(&role).await?;
    world.kube.create(&binding).await?;
    world
        .app("ends-dev", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;

    // Without the file that lets it write, it shows what it would do.
    world
        .kube
        .delete(&path("ClusterRoleBinding", "", "lockstep-write"))
        .await?;
    push(&world, "shop", &[config_map("front", "2")])?;
    lacks(&world, "shop", &["configmaps", "patch"]).await?;
    let (_, plan) = world
        .rest(Method::GET, "/api/v1/apps/dev/shop/plan", None)
        .await?;
    assert!(plan.to_string().contains("front"), "{plan}");
    let binding = objects
        .iter()
        .find(|object| {
            object["kind"] == "ClusterRoleBinding" && object["metadata"]["name"] == "lockstep-write"
        })
        .context("it is shipped")?;
    world.kube.apply(binding, "installer").await?;
    world
        .app("shop-dev", "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
        })
        .await?;
    let front = world
        .object("ConfigMap", "front")
        .await?
        .context("it is there")?;
    assert_eq!(front["data"]["value"], "2");
    Ok(())
}
