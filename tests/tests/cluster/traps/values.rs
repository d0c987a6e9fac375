//! What is equal to what: quantities, nothing, defaults, and what the server fills in by itself.

use anyhow::{Context as _, Result};
use lockstep_tests::World;
use lockstep_tests::kube::path;
use serde_json::{Value, json};

use super::{DRIFT, drift, quiet, sentinel, widget, widget_at, widgets};
use crate::sync::{
    APP, at, begun, config_map, deployment, holds, live, push, settled, settled_as, withdraw,
};

/// Trap 5: a list without keys is owned as a whole, with the defaults that the server puts into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_inside_a_list_that_is_owned_as_a_whole_are_no_difference() -> Result<()> {
    let mut world = World::new("atomic").await?;
    let backends = json!({"backends": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {
        "type": "object", "properties": {
            "name": {"type": "string"}, "weight": {"type": "integer", "default": 1}}}}});
    let group = widgets(&world, &[("v1", backends)]).await?;
    world.start()?;
    let small = widget(&group, "v1", json!({"backends": [{"name": "web"}]}));
    let revision = push(&world.repository, APP, &[small, sentinel()])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let made = world.kube.must(&widget_at(&world, &group, "v1")).await?;
    assert_eq!(
        made["spec"]["backends"],
        json!([{"name": "web", "weight": 1}])
    );
    quiet(&world, "/widgets/small").await
}

/// Trap 6: a port without a protocol has no key, and a name that stands twice has one too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_protocol_is_no_difference_and_a_name_that_stands_twice_is_named() -> Result<()> {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}, {"name": "b", "port": 81}]}});
    let mut service = service;
    service["spec"]["ports"][0]["name"] = json!("a");
    let mut web = deployment("web");
    let main = &mut web["spec"]["template"]["spec"]["containers"][0];
    main["ports"] = json!([{"containerPort": 80}, {"containerPort": 81}]);
    let world = settled("keys", &[service, web.clone(), sentinel()]).await?;
    quiet(&world, "/services/web").await?;
    quiet(&world, "/deployments/web").await?;

    let main = &mut web["spec"]["template"]["spec"]["containers"][0];
    main["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    push(&world.repository, APP, &[web])?;
    let app = world.condition(APP, "SyncError", "duplicate").await?;
    let said = app["status"]["conditions"].to_string();
    assert!(
        said.contains(".env") && said.contains("Deployment"),
        "{said}"
    );
    Ok(())
}

/// Trap 7: the server writes quantities in its own way, and a number is not a text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quantities_and_numbers_that_are_written_otherwise_are_no_difference() -> Result<()> {
    let mut web = deployment("web");
    web["metadata"]["annotations"] = json!({"example.com/on": "true", "example.com/n": "1e3"});
    let main = &mut web["spec"]["template"]["spec"]["containers"][0];
    main["resources"] =
        json!({"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2}});
    main["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 8080}});
    let world = settled("quantities", &[web, sentinel()]).await?;
    let made = live(&world, "Deployment", "web").await?;
    let resources = &made["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "1", "memory": "1Gi"}));
    quiet(&world, "/deployments/web").await
}

/// Trap 8: nothing, the empty map and the missing field are three things.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_and_the_empty_map_are_no_difference() -> Result<()> {
    let mut web = deployment("web");
    web["metadata"]["annotations"] = Value::Null;
    let pod = &mut web["spec"]["template"]["spec"];
    pod["securityContext"] = json!({});
    pod["nodeSelector"] = Value::Null;
    pod["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    pod["containers"][0]["resources"] = json!({});
    pod["containers"][0]["args"] = Value::Null;
    let world = settled("nothing", &[web, sentinel()]).await?;
    quiet(&world, "/deployments/web").await
}

/// Trap 9: `stringData` is turned into `data` by the server, which never removes a key of it; and both are secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_plain_text_is_kept_as_one_and_never_shown() -> Result<()> {
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": data});
    let world = settled_as(
        "stringdata",
        &[
            secret(json!({"user": "shop", "password": "correct horse"})),
            sentinel(),
        ],
        |app| app["spec"]["syncPolicy"]["automated"]["selfHeal"] = json!(false),
    )
    .await?;
    let made = live(&world, "Secret", "key").await?;
    assert_eq!(made["data"]["user"], "c2hvcA==");
    let by_hand = json!({"data": {"password": "c3RhcGxl"}});
    world
        .kube
        .patch(&at(&world, "Secret", "key"), by_hand, "hand")
        .await?;
    let said = drift(&world, "the password's drift", |drift| {
        drift["objects"][0]["fields"][0]["path"] == "data.password"
    })
    .await?;
    let field = &said["objects"][0]["fields"][0];
    assert_eq!(field["sensitive"], true);
    assert_eq!(
        (&field["git"], &field["live"]),
        (&Value::Null, &Value::Null)
    );
    for value in ["correct horse", "Y29ycmVjdCBob3JzZQ==", "c3RhcGxl"] {
        assert!(!said.to_string().contains(value), "{said}");
    }

    let less = secret(json!({"password": "correct horse"}));
    push(&world.repository, APP, &[less])?;
    world
        .object_until("Secret", "key", "the key being gone", |secret| {
            secret.is_some_and(|secret| secret["data"].get("user").is_none())
        })
        .await?;
    Ok(())
}

/// Trap 12: what controllers and the server fill in must not be ours, or we empty it again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_controllers_fill_in_is_left_to_them() -> Result<()> {
    let world = World::started("filled").await?;
    let name = &world.target;
    let role = |name: String, more: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": []});
        for (key, value) in more.as_object().into_iter().flatten() {
            role[key] = value.clone();
        }
        role
    };
    let sum = role(
        format!("{name}-sum"),
        json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"into": name}}]}}),
    );
    let mut part = role(
        format!("{name}-part"),
        json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
    );
    part["metadata"]["labels"] = json!({"into": name});
    let hooks = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("{name}-hooks")},
        "webhooks": [{"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore", "namespaceSelector": {"matchLabels": {"nobody": "has-this"}},
            "clientConfig": {"url": "https://127.0.0.1:9", "caBundle": "Cg=="}}]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "", "type": "NodePort", "selector": {"app": "web"},
                 "ports": [{"port": 80, "nodePort": 0}]}});
    let objects = [sum, part, hooks, service, sentinel()];
    let revision = push(&world.repository, APP, &objects)?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let sum = format!("{name}-sum");
    world
        .kube
        .until("ClusterRole", "", &sum, "the rules of its parts", |role| {
            role.is_some_and(|role| role["rules"][0]["resources"][0] == "pods")
        })
        .await?;
    let hooks = path("MutatingWebhookConfiguration", "", &format!("{name}-hooks"));
    let authority =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": AUTHORITY}]);
    let (status, answer) = world
        .kube
        .send(
            reqwest::Method::PATCH,
            &format!("{hooks}?fieldManager=cainjector"),
            "application/json-patch+json",
            Some(&authority),
        )
        .await?;
    assert!(status.is_success(), "{answer}");
    for ending in [
        &format!("/clusterroles/{sum}"),
        &format!("/mutatingwebhookconfigurations/{name}-hooks"),
        "/services/web",
    ] {
        quiet(&world, ending).await?;
    }
    let hooks = world.kube.must(&hooks).await?;
    assert_eq!(hooks["webhooks"][0]["clientConfig"]["caBundle"], AUTHORITY);
    Ok(())
}

/// A certificate authority that the API server takes for one: it looks at the PEM alone.
const AUTHORITY: &str =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";

/// Trap 16: what only the server writes stands in git, as after `kubectl get -o yaml`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_server_writes_may_stand_in_git() -> Result<()> {
    let mut web = deployment("web");
    web["status"] = json!({"replicas": 7, "observedGeneration": 12});
    let metadata = &mut web["metadata"];
    metadata["uid"] = json!("7d8a3a0e-0000-4000-8000-000000000000");
    metadata["resourceVersion"] = json!("1");
    metadata["generation"] = json!(12);
    metadata["creationTimestamp"] = Value::Null;
    metadata["selfLink"] = json!("/apis/apps/v1/x");
    metadata["managedFields"] = json!([{"manager": "kubectl", "operation": "Update"}]);
    let world = settled("exported", &[web, sentinel()]).await?;
    let made = live(&world, "Deployment", "web").await?;
    assert_ne!(
        made["metadata"]["uid"],
        "7d8a3a0e-0000-4000-8000-000000000000"
    );
    quiet(&world, "/deployments/web").await
}

/// Trap 21: a kustomization's `namespace:` reaches what has none; the server takes it off, and so must the inventory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_on_what_has_none_is_taken_off_everywhere() -> Result<()> {
    let world = World::started("bogus").await?;
    let name = format!("{}-bogus", world.target);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "namespace": world.target}, "rules": []});
    let objects = [role.clone(), sentinel()];
    let revision = push(&world.repository, APP, &objects)?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let record = world.noted(APP).await?;
    let entries = record["entries"].as_array().context("a list")?;
    let noted = entries
        .iter()
        .find(|entry| entry["kind"] == "ClusterRole")
        .context("it is noted")?;
    assert!(
        matches!(noted["namespace"].as_str(), None | Some("")),
        "{noted}"
    );
    quiet(&world, &format!("/clusterroles/{name}")).await?;
    withdraw(&world.repository, APP, &[role])?;
    world
        .kube
        .until("ClusterRole", "", &name, "being deleted", |role| {
            role.is_none()
        })
        .await?;
    Ok(())
}

/// Trap 22: an apply that changes nothing may still give the object a new version, and every version is an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_applied_where_nothing_is_to_be_changed() -> Result<()> {
    let mut world = World::new("noop").await?;
    let old = json!({"size": {"type": "integer"}});
    let new = json!({"size": {"type": "integer"}, "color": {"type": "string", "default": "red"}});
    let group = widgets(&world, &[("v1beta1", old), ("v1", new)]).await?;
    world.start()?;
    let small = widget(&group, "v1", json!({"size": 1}));
    let revision = push(&world.repository, APP, &[small, sentinel()])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.synced(APP, &revision).await?;
    let before = world.kube.must(&widget_at(&world, &group, "v1")).await?;
    assert_eq!(before["spec"]["color"], "red");
    // A commit that changes something else, and an event that changes nothing of ours.
    push(&world.repository, APP, &[config_map("more", "1")])?;
    holds(&world, "ConfigMap", "more", "/data/value", json!("1")).await?;
    let foreign = json!({"metadata": {"annotations": {"example.com/seen": "yes"}}});
    let touched = world
        .kube
        .patch(&widget_at(&world, &group, "v1"), foreign, "some-operator")
        .await?;
    quiet(&world, "/widgets/small").await?;
    let after = world.kube.must(&widget_at(&world, &group, "v1")).await?;
    assert_eq!(
        after["metadata"]["resourceVersion"],
        touched["metadata"]["resourceVersion"]
    );
    Ok(())
}

/// What the schema does not know is refused and named, unless the app says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_the_schema_does_not_have_is_refused_unless_validation_is_off() -> Result<()> {
    let mut world = World::new("validate").await?;
    let size = json!({"size": {"type": "integer"}});
    let group = widgets(&world, &[("v1", size)]).await?;
    world.start()?;
    let small = widget(&group, "v1", json!({"size": 1, "colour": "red"}));
    push(&world.repository, APP, &[small])?;
    world.kube.create(&world.application(APP, APP)).await?;
    world.condition(APP, "SyncError", "colour").await?;
    let off = json!({"spec": {"syncPolicy": {"syncOptions": ["Validate=false"]}}});
    world
        .kube
        .patch(&crate::sync::application(&world, APP), off, "hand")
        .await?;
    let again = widget(&group, "v1", json!({"size": 2, "colour": "red"}));
    let revision = push(&world.repository, APP, &[again])?;
    world.synced(APP, &revision).await?;
    let made = world.kube.must(&widget_at(&world, &group, "v1")).await?;
    assert_eq!(made["spec"], json!({"size": 2}));
    Ok(())
}

/// The drift of an app answers before anything is known of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_fields_of_others_says_none() -> Result<()> {
    let (world, revision) = begun("none", &[config_map("front", "1")], |_| ()).await?;
    world.synced(APP, &revision).await?;
    let (_, said) = world.rest(reqwest::Method::GET, DRIFT, None).await?;
    assert_eq!(said["others"], json!([]));
    Ok(())
}
