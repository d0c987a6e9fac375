//! What waits for what.

use lockstep_manifest::Health;
use lockstep_plan::{KindView, Mode};
use serde_json::json;

use crate::case::{Case, after, config_map, crd, deployment, id, namespace, object, wave, with};

const CRD: &str = "apiextensions.k8s.io/CustomResourceDefinition widgets.example.org";

fn widget(name: &str) -> lockstep_manifest::Manifest {
    object("example.org/v1", "Widget", name, json!({}))
}

#[test]
fn within_a_wave_kinds_go_in_argo_cds_order() {
    let mut case = Case::new(vec![deployment("web"), config_map("a"), config_map("b")]);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/a: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster",
            "+ apps/Deployment shop/web: in git, not in the cluster; waits until ConfigMap shop/a is applied",
        ]
    );
    case.failed("ConfigMap shop/a", None);
    case.failed("ConfigMap shop/b", Some(after(5)));
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/web: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster; tried again at 00:00:05 UTC",
            ". ConfigMap shop/a: the server refused it",
        ],
        "a failed object holds up only what depends on it"
    );
}

#[test]
fn a_wave_waits_until_the_one_before_is_applied_and_then_healthy() {
    let mut case = Case::new(vec![deployment("db"), wave(deployment("web"), 1)]);
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/db: in git, not in the cluster",
            "+ apps/Deployment shop/web: in git, not in the cluster; waits until apps/Deployment shop/db is applied",
        ]
    );

    let db = case.desired().objects[0].clone();
    case.took(&db);
    case.touched.insert(db.id.clone());
    for health in [
        Health::Progressing {
            why: "0 of 1".to_owned(),
        },
        Health::Degraded {
            why: "crash".to_owned(),
        },
        Health::Suspended {
            why: "paused".to_owned(),
        },
        Health::Unknown {
            why: "no answer".to_owned(),
        },
    ] {
        case.seen("apps/Deployment shop/db").health = health;
        assert_eq!(
            case.told(),
            [
                "+ apps/Deployment shop/web: in git, not in the cluster; waits until apps/Deployment shop/db is healthy",
                ". apps/Deployment shop/db: as git wants it",
            ]
        );
    }

    case.seen("apps/Deployment shop/db").health = Health::Healthy;
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/web: in git, not in the cluster",
            ". apps/Deployment shop/db: as git wants it",
        ]
    );
}

#[test]
fn a_kind_without_a_rule_holds_up_no_wave() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.git.push(wave(config_map("b"), 1));
    case.touched.insert(id("ConfigMap shop/a"));
    case.seen("ConfigMap shop/a").health = Health::None;
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster",
            ". ConfigMap shop/a: as git wants it",
        ]
    );
}

#[test]
fn the_health_of_what_this_sync_did_not_touch_holds_up_nobody() {
    let mut case = Case::synced(vec![deployment("db")]);
    case.git.push(wave(deployment("web"), 1));
    case.seen("apps/Deployment shop/db").health = Health::Degraded {
        why: "crash".to_owned(),
    };
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/web: in git, not in the cluster",
            ". apps/Deployment shop/db: as git wants it",
        ]
    );
}

#[test]
fn a_failed_object_holds_up_the_waves_after_it() {
    let mut case = Case::new(vec![
        config_map("a"),
        wave(config_map("b"), 1),
        wave(config_map("c"), -1),
    ]);
    case.failed("ConfigMap shop/a", None);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/c: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster; waits until ConfigMap shop/c is applied",
            ". ConfigMap shop/a: the server refused it",
        ]
    );
    let c = case
        .desired()
        .get(&id("ConfigMap shop/c"))
        .expect("in git")
        .clone();
    case.took(&c);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster; waits until ConfigMap shop/a is applied",
            ". ConfigMap shop/a: the server refused it",
            ". ConfigMap shop/c: as git wants it",
        ]
    );
}

#[test]
fn an_object_that_is_on_its_way_out_holds_up_the_waves_after_it() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.git.push(wave(config_map("b"), 1));
    case.seen("ConfigMap shop/a").terminating = true;
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster; waits until ConfigMap shop/a is applied",
            ". ConfigMap shop/a: is being deleted",
        ]
    );
}

#[test]
fn a_namespace_goes_before_its_content_whatever_their_waves() {
    let mut case = Case::new(vec![
        wave(namespace("till"), 5),
        config_map("till/a"),
        config_map("b"),
    ]);
    assert_eq!(
        case.told(),
        [
            "+ Namespace till: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster; waits until Namespace till is applied",
            "+ ConfigMap till/a: in git, not in the cluster; waits until Namespace till is applied",
        ]
    );
    let till = case
        .desired()
        .get(&id("Namespace till"))
        .expect("in git")
        .clone();
    case.took(&till);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster",
            "+ ConfigMap till/a: in git, not in the cluster",
            ". Namespace till: as git wants it",
        ]
    );
}

#[test]
fn a_late_namespace_with_early_content_does_not_lock_the_waves_between() {
    // The content waits for the namespace; the wave between waits for the content; so the namespace may not wait for it.
    let case = Case::new(vec![
        wave(namespace("till"), 5),
        config_map("till/a"),
        wave(config_map("between"), 1),
    ]);
    assert_eq!(
        case.told()[0],
        "+ Namespace till: in git, not in the cluster"
    );
}

#[test]
fn a_definition_goes_before_its_objects_and_they_wait_until_it_is_established() {
    let mut case = Case::new(vec![
        widget("w"),
        wave(crd("example.org", "Widget", "Namespaced"), 5),
    ]);
    case.kind("example.org", "Widget", KindView::NotServed);
    let step = "+ example.org/Widget shop/w: in git, not in the cluster";
    assert_eq!(
        case.told(),
        [
            format!("+ {CRD}: in git, not in the cluster"),
            format!("{step}; waits until {CRD} is applied"),
        ]
    );

    let definition = case.desired().get(&id(CRD)).expect("in git").clone();
    case.took(&definition);
    case.seen(CRD).health = Health::Progressing {
        why: "not established".to_owned(),
    };
    assert_eq!(
        case.told()[0],
        format!("{step}; waits until {CRD} is healthy")
    );

    case.seen(CRD).health = Health::Healthy;
    assert_eq!(
        case.told()[0],
        format!("{step}; waits until the API server serves example.org/v1 Widget")
    );

    case.kind("example.org", "Widget", KindView::Observed);
    assert_eq!(case.told()[0], step);
}

#[test]
fn a_custom_kind_that_is_named_like_an_early_one_does_not_lock_its_definition() {
    // Calico's NetworkPolicy: by its name it goes second, and its definition, and every ConfigMap, after it.
    let policy = object("crd.projectcalico.org/v1", "NetworkPolicy", "p", json!({}));
    let mut case = Case::new(vec![
        policy,
        config_map("a"),
        crd("crd.projectcalico.org", "NetworkPolicy", "Namespaced"),
    ]);
    case.kind(
        "crd.projectcalico.org",
        "NetworkPolicy",
        KindView::NotServed,
    );
    let crd = "apiextensions.k8s.io/CustomResourceDefinition networkpolicys.crd.projectcalico.org";
    assert_eq!(
        case.told()[0],
        format!("+ {crd}: in git, not in the cluster")
    );
}

#[test]
fn a_kind_that_nothing_brings_holds_up_the_waves_after_it_and_not_its_own() {
    // Knative's Service goes before Deployments, by its name.
    let service = object("serving.knative.dev/v1", "Service", "s", json!({}));
    let mut case = Case::new(vec![service, deployment("web"), wave(config_map("b"), 1)]);
    case.kind("serving.knative.dev", "Service", KindView::NotServed);
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/web: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster; waits until serving.knative.dev/Service shop/s is applied",
            ". serving.knative.dev/Service shop/s: held: the API server does not serve serving.knative.dev/v1 Service",
        ]
    );
}

#[test]
fn objects_of_a_definition_that_another_app_has_do_not_wait_for_it() {
    let mut case = Case::new(vec![
        widget("w"),
        crd("example.org", "Widget", "Namespaced"),
    ]);
    case.elsewhere.owned.insert(id(CRD), "platform".to_owned());
    assert_eq!(
        case.told(),
        [
            "+ example.org/Widget shop/w: in git, not in the cluster".to_owned(),
            format!(". {CRD}: app platform had it first"),
        ]
    );
}

#[test]
fn putting_back_waits_for_no_wave_but_for_its_namespace() {
    let mut case = Case::synced(vec![
        namespace("till"),
        config_map("till/a"),
        wave(config_map("till/b"), 1),
    ]);
    case.mode = Mode::Heal;
    case.edited("ConfigMap till/a");
    case.edited("ConfigMap till/b");
    assert_eq!(
        case.told(),
        [
            "~ ConfigMap till/a: changed in the cluster",
            "~ ConfigMap till/b: changed in the cluster",
            ". Namespace till: as git wants it",
        ]
    );
    for name in ["ConfigMap till/a", "ConfigMap till/b", "Namespace till"] {
        case.deleted(name);
    }
    assert_eq!(
        case.told(),
        [
            "+ Namespace till: deleted from the cluster",
            "+ ConfigMap till/a: deleted from the cluster; waits until Namespace till is applied",
            "+ ConfigMap till/b: deleted from the cluster; waits until Namespace till is applied",
        ]
    );
}

#[test]
fn a_plan_is_the_same_plan_whatever_waits_for_what() {
    let mut case = Case::synced(vec![deployment("db")]);
    case.git.push(wave(deployment("web"), 1));
    case.touched.insert(id("apps/Deployment shop/db"));
    let ready = case.plan();
    case.seen("apps/Deployment shop/db").health = Health::Progressing { why: String::new() };
    let waits = case.plan();
    assert_ne!(ready, waits);
    assert_eq!(ready.digest(), waits.digest());
}

#[test]
fn a_plan_that_would_do_something_else_has_another_digest() {
    let digest = |git: Vec<_>| Case::new(git).plan().digest();
    assert_ne!(digest(vec![config_map("a")]), digest(vec![config_map("b")]));
    assert_ne!(
        digest(vec![config_map("a")]),
        digest(vec![with(config_map("a"), "note", "new")])
    );
    let gone = |uid: &str| {
        let mut case = Case::synced(vec![config_map("a")]);
        case.git.clear();
        case.entry("ConfigMap shop/a").uid = Some(lockstep_manifest::Uid(uid.to_owned()));
        case.plan().digest()
    };
    assert_ne!(gone("one"), gone("two"));
}

#[test]
fn the_summary_counts_what_is_created_changed_and_deleted() {
    let mut case = Case::synced(vec![config_map("a"), config_map("b")]);
    case.git = vec![
        with(config_map("a"), "note", "new"),
        config_map("c"),
        config_map("d"),
    ];
    assert_eq!(
        case.plan().summary(),
        "1 object to update, 2 to create, 1 to prune"
    );
}
