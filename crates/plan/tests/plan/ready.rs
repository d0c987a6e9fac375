//! How manifests are made ready to be applied.

use lockstep_app::app::Ignore;
use lockstep_app::project::Scope;
use lockstep_manifest::{Gvk, ObjectId, marks};
use lockstep_plan::{Desired, Finding, prepare};
use serde_json::json;

use crate::case::{
    Case, app, config_map, crd, deployment, id, namespace, object, revision, scope_of, wave, with,
};

fn names(desired: &Desired) -> Vec<String> {
    desired
        .objects
        .iter()
        .map(|wanted| wanted.id.to_string())
        .collect()
}

fn ignore(group: &str, kind: &str, pointer: &str) -> Ignore {
    Ignore {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: String::new(),
        name: String::new(),
        json_pointers: vec![pointer.to_owned()],
    }
}

#[test]
fn objects_stand_in_the_order_of_waves_kinds_and_names() {
    let case = Case::new(vec![
        deployment("web"),
        config_map("b"),
        config_map("a"),
        wave(deployment("first"), -1),
        namespace("shop"),
    ]);
    assert_eq!(
        names(&case.desired()),
        [
            "apps/Deployment shop/first",
            "Namespace shop",
            "ConfigMap shop/a",
            "ConfigMap shop/b",
            "apps/Deployment shop/web",
        ]
    );
}

#[test]
fn the_destinations_namespace_is_filled_in_where_none_is_given() {
    let case = Case::new(vec![config_map("a"), config_map("till/a")]);
    assert_eq!(
        names(&case.desired()),
        ["ConfigMap shop/a", "ConfigMap till/a"]
    );
}

#[test]
fn a_cluster_scoped_object_loses_a_namespace_that_was_put_on_it() {
    let role = object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "shop/reader",
        json!({}),
    );
    let case = Case::new(vec![role]);
    assert_eq!(
        names(&case.desired()),
        ["rbac.authorization.k8s.io/ClusterRole reader"]
    );
    assert_eq!(case.desired().objects[0].manifest.namespace(), None);
}

#[test]
fn the_scope_of_a_custom_resource_comes_from_a_definition_in_the_same_set() {
    let tenant = object("example.org/v1", "Tenant", "shop/t", json!({}));
    let case = Case::new(vec![
        tenant.clone(),
        crd("example.org", "Tenant", "Cluster"),
    ]);
    assert_eq!(scope_of(&case, "example.org/Tenant t"), Scope::Cluster);
    let alone = Case::new(vec![tenant]);
    assert_eq!(
        scope_of(&alone, "example.org/Tenant shop/t"),
        Scope::Namespaced
    );
}

#[test]
fn what_the_server_says_of_a_scope_counts_before_what_git_says() {
    let tenant = object("example.org/v1", "Tenant", "t", json!({}));
    let served = |gvk: &Gvk| (gvk.kind == "Tenant").then_some(Scope::Namespaced);
    let git = vec![tenant, crd("example.org", "Tenant", "Cluster")];
    let desired = prepare(&app(), revision(), git, &served);
    assert!(desired.get(&id("example.org/Tenant shop/t")).is_some());
}

#[test]
fn of_two_objects_of_one_name_the_last_counts_and_it_is_said() {
    let case = Case::new(vec![
        config_map("a"),
        with(config_map("shop/a"), "note", "last"),
    ]);
    let desired = case.desired();
    assert_eq!(names(&desired), ["ConfigMap shop/a"]);
    assert_eq!(desired.objects[0].manifest.annotation("note"), Some("last"));
    assert_eq!(
        desired.findings,
        [Finding::Repeated(id("ConfigMap shop/a"))]
    );
}

#[test]
fn an_object_without_a_name_or_a_namespace_is_left_out_and_said() {
    let mut app = app();
    app.namespace = String::new();
    let unnamed = lockstep_manifest::Manifest::from_value(
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "once-"}}),
    )
    .expect("it is an object");
    let desired = prepare(
        &app,
        revision(),
        vec![unnamed, config_map("a")],
        &|_: &Gvk| None,
    );
    assert_eq!(desired.objects, []);
    assert_eq!(
        desired.findings,
        [
            Finding::NoName {
                kind: "Job".to_owned()
            },
            Finding::NoNamespace(ObjectId {
                namespace: String::new(),
                ..id("ConfigMap shop/a")
            }),
        ]
    );
}

#[test]
fn every_object_carries_our_label_and_argo_cds_tracking_id() {
    let case = Case::new(vec![deployment("web"), namespace("till")]);
    let tracked: Vec<_> = case
        .desired()
        .objects
        .iter()
        .map(|wanted| {
            assert_eq!(
                wanted.manifest.label(marks::PART_OF),
                Some(&*marks::set_id("argocd", "shop"))
            );
            wanted
                .manifest
                .annotation(marks::TRACKING_ID)
                .expect("it is tracked")
                .to_owned()
        })
        .collect();
    assert_eq!(
        tracked,
        ["shop:/Namespace:shop/till", "shop:apps/Deployment:shop/web"]
    );
}

#[test]
fn what_the_server_writes_by_itself_is_not_applied() {
    let mut written = object(
        "apps/v1",
        "Deployment",
        "web",
        json!({"status": {"replicas": 3}}),
    );
    let metadata = written.body_mut()["metadata"]
        .as_object_mut()
        .expect("a map");
    for key in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.insert(key.to_owned(), json!("1"));
    }
    let plain = object("apps/v1", "Deployment", "web", json!({}));
    let digest = |object| Case::new(vec![object]).desired().objects[0].digest.clone();
    assert_eq!(digest(written), digest(plain));
}

#[test]
fn string_data_of_a_secret_becomes_data_and_wins_over_it() {
    let secret = object(
        "v1",
        "Secret",
        "s",
        json!({
        "data": {"a": "b2xk", "b": "a2VlcA=="}, "stringData": {"a": "new"}}),
    );
    let desired = Case::new(vec![secret]).desired();
    assert_eq!(
        desired.objects[0].manifest.get(&["data"]),
        Some(&json!({"a": "bmV3", "b": "a2VlcA=="}))
    );
    assert_eq!(desired.objects[0].manifest.get(&["stringData"]), None);
}

#[test]
fn string_data_of_another_kind_is_nobodys_business() {
    let other = object(
        "example.org/v1",
        "Secret",
        "s",
        json!({"stringData": {"a": "new"}}),
    );
    let desired = Case::new(vec![other]).desired();
    assert_eq!(
        desired.objects[0].manifest.get(&["stringData"]),
        Some(&json!({"a": "new"}))
    );
}

#[test]
fn replicas_belong_to_an_autoscaler_of_the_same_app() {
    let autoscaler = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "web",
        json!({"spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
    );
    let case = Case::new(vec![deployment("web"), deployment("other"), autoscaler]);
    let desired = case.desired();
    let replicas = vec!["/spec/replicas".to_owned()];
    let web = desired
        .get(&id("apps/Deployment shop/web"))
        .expect("in git");
    assert_eq!((&web.ignored, &web.handed_over), (&replicas, &replicas));
    let other = desired
        .get(&id("apps/Deployment shop/other"))
        .expect("in git");
    assert_eq!((other.ignored.len(), other.handed_over.len()), (0, 0));
}

#[test]
fn an_autoscaled_object_without_replicas_in_git_is_left_as_it_is() {
    let autoscaler = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "web",
        json!({"spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
    );
    let web = object("apps/v1", "Deployment", "web", json!({"spec": {}}));
    let desired = Case::new(vec![web, autoscaler]).desired();
    let web = desired
        .get(&id("apps/Deployment shop/web"))
        .expect("in git");
    assert_eq!(web.ignored, Vec::<String>::new());
    assert_eq!(
        web.handed_over,
        ["/spec/replicas"],
        "what we own of it is given up instead of falling back to one"
    );
}

#[test]
fn ignored_differences_are_found_by_globs_and_exact_names() {
    let mut case = Case::new(vec![
        deployment("web"),
        deployment("other"),
        config_map("web"),
    ]);
    case.app.ignore = vec![
        ignore("apps", "Deploy*", "/spec/replicas"),
        Ignore {
            name: "web".to_owned(),
            ..ignore("*", "*", "/data")
        },
    ];
    let desired = case.desired();
    let ignored = |name: &str| desired.get(&id(name)).expect("in git").ignored.clone();
    assert_eq!(
        ignored("apps/Deployment shop/web"),
        ["/spec/replicas", "/data"]
    );
    assert_eq!(ignored("apps/Deployment shop/other"), ["/spec/replicas"]);
    assert_eq!(ignored("ConfigMap shop/web"), ["/data"]);
    assert_eq!(
        desired
            .objects
            .iter()
            .flat_map(|wanted| &wanted.handed_over)
            .count(),
        0
    );
}

#[test]
fn ignored_differences_are_kept_at_their_live_values_only_when_the_app_says_so() {
    let mut case = Case::new(vec![deployment("web")]);
    case.app.ignore = vec![ignore("apps", "Deployment", "/spec/replicas")];
    case.app.options.respect_ignore_differences = true;
    assert_eq!(case.desired().objects[0].handed_over, ["/spec/replicas"]);
}
