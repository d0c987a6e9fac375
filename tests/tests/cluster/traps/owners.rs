//! Whose a field is: what others left behind, what they add, what they scale.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use reqwest::Method;
use serde_json::{Value, json};

use super::{adopted, drift, entry, made_by, quiet, sentinel};
use crate::objects::in_environment;
use crate::sync::{APP, at, config_map, deployment, holds, live, push, settled};

/// A ConfigMap as some tool made it once, with a key that git does not have.
fn by_a_tool(name: &str) -> Value {
    let mut object = config_map(name, "1");
    object["data"]["old"] = json!("once");
    object
}

/// Trap 1: what somebody else adds is no difference to server-side apply, and so nobody is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_adds_is_said_and_what_somebody_overwrites_is_put_back() -> Result<()> {
    let world = settled("added", &[config_map("front", "1"), sentinel()]).await?;
    let by_tool =
        json!({"data": {"value": "2", "added": "x"}, "metadata": {"labels": {"team": "shop"}}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), by_tool, "some-tool")
        .await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    let said = drift(&world, "the fields of others", |drift| {
        drift["others"][0]["count"] == 2
    })
    .await?;
    assert_eq!(
        said["others"],
        json!([{"ref": {"group": "", "kind": "ConfigMap", "namespace": world.target, "name": "front"},
            "count": 2, "fields": [
                {"path": "data.added", "kind": "addition", "by": "some-tool"},
                {"path": "metadata.labels.team", "kind": "addition", "by": "some-tool"}]}])
    );
    assert_eq!(said["fields"], 0, "it is no drift: {said}");
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"], json!({"value": "1", "added": "x"}));
    Ok(())
}

/// Trap 2: a field that leaves git stays as long as whoever wrote it before us still owns it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_tools_left_behind_goes_unless_git_says_it() -> Result<()> {
    let tools = [
        ("kubectl", "kubectl-client-side-apply"),
        ("argo", "argocd-controller"),
        ("flux", "kustomize-controller"),
        ("helm", "helm"),
    ];
    let there: Vec<(Value, &str)> = tools
        .iter()
        .map(|(name, manager)| (by_a_tool(name), *manager))
        .collect();
    let there: Vec<(&Value, &str)> = there.iter().map(|(object, by)| (object, *by)).collect();
    let other = by_a_tool("other");
    let there = [there, vec![(&other, "some-operator")]].concat();
    let names = ["kubectl", "argo", "flux", "helm", "other"];
    let objects = names.map(|name| config_map(name, "1"));
    let world = adopted("left", &there, &objects, |_| ()).await?;
    for (name, manager) in tools {
        let object = live(&world, "ConfigMap", name).await?;
        assert_eq!(object["data"], json!({"value": "1"}), "{manager}");
        assert_eq!(entry(&object, manager), None, "{manager}");
    }
    let other = live(&world, "ConfigMap", "other").await?;
    assert_eq!(other["data"], json!({"value": "1", "old": "once"}));

    // What such a tool wrote and git says goes as well once git no longer says it.
    let mut less = config_map("argo", "1");
    less.as_object_mut().context("a map")?.remove("data");
    let revision = push(&world.repository, APP, &[less])?;
    world.synced(APP, &revision).await?;
    assert_eq!(live(&world, "ConfigMap", "argo").await?.get("data"), None);
    Ok(())
}

/// Trap 2, for who does not want it: Argo CD's option keeps its meaning, and so does its annotation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_keep_what_was_left_behind_or_name_one_more_tool() -> Result<()> {
    let there = by_a_tool("front");
    let world = adopted(
        "keepleft",
        &[(&there, "kubectl-client-side-apply")],
        &[config_map("front", "1")],
        |app| app["spec"]["syncPolicy"]["syncOptions"] = json!(["ClientSideApplyMigration=false"]),
    )
    .await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"]["old"], "once");

    let world = adopted(
        "onemore",
        &[(&there, "our-old-tool")],
        &[config_map("front", "1")],
        |app| {
            app["metadata"]["annotations"] = json!(
                {"argocd.argoproj.io/client-side-apply-migration-manager": "our-old-tool"});
        },
    )
    .await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"], json!({"value": "1"}));
    Ok(())
}

/// Trap 3: of an item of a list that leaves git its name stays, since somebody else owns it, and the object is invalid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_an_earlier_tool_made_too_goes_as_a_whole() -> Result<()> {
    let side = json!({"name": "side", "image": "registry.example/side:1"});
    let mut both = deployment("web");
    let containers = &mut both["spec"]["template"]["spec"]["containers"];
    containers.as_array_mut().context("a list")?.push(side);
    let world = adopted(
        "item",
        &[(&both, "kubectl-client-side-apply")],
        &[both.clone()],
        |_| (),
    )
    .await?;
    let revision = push(&world.repository, APP, &[deployment("web")])?;
    world.synced(APP, &revision).await?;
    let web = live(&world, "Deployment", "web").await?;
    let names: Vec<&Value> = web["spec"]["template"]["spec"]["containers"]
        .as_array()
        .context("a list")?
        .iter()
        .map(|container| &container["name"])
        .collect();
    assert_eq!(names, ["main"]);
    Ok(())
}

/// Trap 17: who scales writes by a subresource, with an entry of its own that is nobody's to merge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_scaled_stays_and_stays_whose_it_is() -> Result<()> {
    let world = World::started("scaled").await?;
    made_by(&world, &deployment("web"), "kubectl-client-side-apply").await?;
    let scale = format!("{}/scale", at(&world, "Deployment", "web"));
    world
        .kube
        .patch(&scale, json!({"spec": {"replicas": 3}}), "kubectl")
        .await?;
    let revision = push(&world.repository, APP, &[deployment("web")])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let web = live(&world, "Deployment", "web").await?;
    assert_eq!(web["spec"]["replicas"], 3);
    let scaled = entry(&web, "kubectl").context("the entry stays")?;
    assert_eq!(scaled["subresource"], "scale");
    assert_eq!(entry(&web, "kubectl-client-side-apply"), None);
    drift(&world, "who scales it", |drift| {
        drift["others"][0]["fields"][0]
            == json!({"path": "spec.replicas", "kind": "field", "by": "kubectl (scale)"})
    })
    .await?;
    Ok(())
}

/// Trap 18: when the bookkeeping was emptied, the next apply makes `before-first-apply` the owner of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_bookkeeping_was_emptied_is_gits_all_the_same() -> Result<()> {
    let world = World::started("emptied").await?;
    made_by(&world, &by_a_tool("front"), "some-operator").await?;
    let none = json!({"metadata": {"managedFields": [{}]}});
    let emptied = world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), none, "hand")
        .await?;
    assert_eq!(emptied["metadata"].get("managedFields"), None);
    let revision = push(&world.repository, APP, &[config_map("front", "1")])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"], json!({"value": "1"}));
    assert_eq!(entry(&front, "before-first-apply"), None);
    let entries = front["metadata"]["managedFields"].as_array();
    assert_eq!(entries.map(Vec::len), Some(1));
    Ok(())
}

/// Trap 23: force takes fields in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sync_takes_from_whom_stands_in_the_plan_and_among_the_events() -> Result<()> {
    let world = World::started("taken").await?;
    let mut there = by_a_tool("front");
    there["data"]["value"] = json!("theirs");
    made_by(&world, &there, "kubectl-client-side-apply").await?;
    let mut other = config_map("back", "theirs");
    other["data"]["more"] = json!("x");
    made_by(&world, &other, "some-operator").await?;
    push(
        &world.repository,
        APP,
        &[config_map("front", "1"), config_map("back", "1")],
    )?;
    let app = in_environment("prod", world.application("shop-prod", APP));
    world.kube.create(&app).await?;
    let plan = world
        .rest_until("/api/v1/apps/prod/shop/plan", "what is taken", |_, plan| {
            plan["steps"].as_array().is_some_and(|steps| {
                steps.len() == 2 && steps.iter().all(|step| !step["taken"][0].is_null())
            })
        })
        .await?;
    let taken = |name: &str| -> Vec<Value> {
        let steps = plan["steps"].as_array().into_iter().flatten();
        let step = steps.filter(|step| step["ref"]["name"] == name);
        step.flat_map(|step| step["taken"].as_array().into_iter().flatten())
            .map(|taken| taken["text"].clone())
            .collect()
    };
    assert!(
        plan.to_string().contains(r#""before":"once""#),
        "what goes is said: {plan}"
    );
    assert_eq!(taken("back"), ["data.value from some-operator"]);
    assert_eq!(
        taken("front"),
        ["data.value, data.old, metadata.labels.touched-by from kubectl-client-side-apply"],
        "{plan}"
    );
    let said = world.cli(&["diff", "shop", "-e", "prod"])?;
    assert!(
        said.out.contains("takes data.value from some-operator"),
        "{said:?}"
    );
    let (_, page) = world.rest(Method::GET, "/apps/prod/shop", None).await?;
    let page = page.as_str().unwrap_or_default();
    assert!(
        page.contains("takes data.value from some-operator"),
        "{page}"
    );

    let digest = json!({"plan": plan["digest"]});
    world
        .rest(Method::POST, "/api/v1/apps/prod/shop/sync", Some(digest))
        .await?;
    holds(&world, "ConfigMap", "front", "/data/value", json!("1")).await?;
    let events = world
        .rest_until(
            "/api/v1/apps/prod/shop/events",
            "both events",
            |_, events| {
                let said = events.to_string();
                [
                    "data.value from some-operator",
                    "from kubectl-client-side-apply",
                ]
                .iter()
                .all(|what| said.contains(what))
            },
        )
        .await?;
    assert!(events.to_string().contains("took over"), "{events}");
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"], json!({"value": "1"}));
    let back = live(&world, "ConfigMap", "back").await?;
    assert_eq!(back["data"], json!({"value": "1", "more": "x"}));
    Ok(())
}

fn autoscaler(of: &str) -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": of},
        "spec": {"minReplicas": 2, "maxReplicas": 5,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": of}}})
}

fn of_three(name: &str) -> Value {
    let mut object = deployment(name);
    object["spec"]["replicas"] = json!(3);
    object
}

/// Trap 11: a number that we own and git stops saying falls back to one, whoever scales the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_git_hands_to_an_autoscaler_never_fall_back_to_one() -> Result<()> {
    let world = settled("handover", &[of_three("web"), sentinel()]).await?;
    let before = live(&world, "Deployment", "web").await?;
    let revision = push(
        &world.repository,
        APP,
        &[deployment("web"), autoscaler("web")],
    )?;
    world.synced(APP, &revision).await?;
    let after = live(&world, "Deployment", "web").await?;
    assert_eq!(after["spec"]["replicas"], 3);
    // The spec was not changed in between either: every change of it counts.
    assert_eq!(
        after["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    quiet(&world, "/deployments/web").await?;

    let mut later = deployment("web");
    later["metadata"]["labels"]["tier"] = json!("front");
    push(&world.repository, APP, &[later])?;
    let label = "/metadata/labels/tier";
    let web = holds(&world, "Deployment", "web", label, json!("front")).await?;
    assert_eq!(web["spec"]["replicas"], 3);
    Ok(())
}

/// Trap 11, with an autoscaler that is not of this app, as those of KEDA.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_handed_to_an_autoscaler_that_somebody_else_made() -> Result<()> {
    let world = settled("keda", &[of_three("web"), of_three("plain")]).await?;
    let at = path("HorizontalPodAutoscaler", &world.target, "");
    super::post(&world, &at, &autoscaler("web")).await?;
    let before = live(&world, "Deployment", "web").await?;
    let revision = push(
        &world.repository,
        APP,
        &[deployment("web"), deployment("plain")],
    )?;
    world.synced(APP, &revision).await?;
    let after = live(&world, "Deployment", "web").await?;
    assert_eq!(after["spec"]["replicas"], 3);
    assert_eq!(
        after["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    // Where nobody scales, what git does not say is the default.
    let plain = live(&world, "Deployment", "plain").await?;
    assert_eq!(plain["spec"]["replicas"], 1);
    Ok(())
}

/// Trap 11, on first contact: to take over the number that `kubectl apply` wrote would make it fall back as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_an_earlier_tool_wrote_are_left_to_the_autoscaler() -> Result<()> {
    let world = World::started("firsthpa").await?;
    made_by(&world, &of_three("web"), "kubectl-client-side-apply").await?;
    made_by(&world, &of_three("plain"), "kubectl-client-side-apply").await?;
    made_by(&world, &autoscaler("web"), "some-operator").await?;
    let before = live(&world, "Deployment", "web").await?;
    let revision = push(
        &world.repository,
        APP,
        &[deployment("web"), deployment("plain")],
    )?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let after = live(&world, "Deployment", "web").await?;
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(entry(&after, "kubectl-client-side-apply"), None);
    // Where nobody scales, what git does not say is the default.
    let plain = live(&world, "Deployment", "plain").await?;
    assert_eq!(plain["spec"]["replicas"], 1);
    Ok(())
}

/// Argo CD's `Replace=true`: what others wrote goes, unless git says it, at every apply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_replaced_has_nothing_but_what_git_says() -> Result<()> {
    let option = |value: &str| {
        let mut object = config_map("front", value);
        object["metadata"]["annotations"] =
            json!({"argocd.argoproj.io/sync-options": "Replace=true"});
        object
    };
    let world = settled("replace", &[option("1")]).await?;
    let added = json!({"data": {"added": "x"}});
    world
        .kube
        .patch(&at(&world, "ConfigMap", "front"), added, "some-operator")
        .await?;
    let revision = push(&world.repository, APP, &[option("2")])?;
    world.synced(APP, &revision).await?;
    let front = live(&world, "ConfigMap", "front").await?;
    assert_eq!(front["data"], json!({"value": "2"}));
    Ok(())
}
