//! Why a step is in a plan, and why there is none.

use lockstep_manifest::Uid;
use lockstep_plan::Mode;

use crate::case::{Case, config_map, deployment, id, unseen, with};

#[test]
fn what_is_only_in_git_is_created() {
    let case = Case::new(vec![config_map("a")]);
    assert_eq!(
        case.told(),
        ["+ ConfigMap shop/a: in git, not in the cluster"]
    );
}

#[test]
fn what_is_as_the_server_answered_it_is_left_alone() {
    let case = Case::synced(vec![config_map("a")]);
    assert!(case.plan().is_empty());
    assert_eq!(case.told(), [". ConfigMap shop/a: as git wants it"]);
}

#[test]
fn what_git_says_otherwise_than_at_our_last_apply_is_updated() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.git = vec![with(config_map("a"), "note", "new")];
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in git"]);
}

#[test]
fn a_changed_field_of_ours_is_put_back() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.edited("ConfigMap shop/a");
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn an_object_that_somebody_deleted_is_made_again() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.deleted("ConfigMap shop/a");
    assert_eq!(
        case.told(),
        ["+ ConfigMap shop/a: deleted from the cluster"]
    );
}

#[test]
fn an_object_that_was_claimed_and_never_confirmed_is_created() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.deleted("ConfigMap shop/a");
    let entry = case.entry("ConfigMap shop/a");
    (entry.uid, entry.digest, entry.seen) = (None, None, None);
    assert_eq!(
        case.told(),
        ["+ ConfigMap shop/a: in git, not in the cluster"]
    );
}

#[test]
fn an_object_made_anew_under_the_same_name_counts_as_changed() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.seen("ConfigMap shop/a").uid = Uid("another".to_owned());
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn an_object_with_our_mark_that_the_inventory_lost_is_applied_again() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.inventory.entries.clear();
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in git"]);
}

#[test]
fn an_object_whose_owned_fields_cannot_be_read_is_never_called_equal() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.seen("ConfigMap shop/a").fingerprint = None;
    case.entry("ConfigMap shop/a").seen = None;
    assert_eq!(case.told(), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn an_object_on_its_way_out_is_not_applied() {
    let mut case = Case::synced(vec![config_map("a")]);
    case.git = vec![with(config_map("a"), "note", "new")];
    case.seen("ConfigMap shop/a").terminating = true;
    assert_eq!(case.told(), [". ConfigMap shop/a: is being deleted"]);
}

#[test]
fn an_object_of_a_kind_that_is_not_observed_is_not_applied() {
    let mut case = Case::new(vec![config_map("a"), deployment("web")]);
    case.kind("", "ConfigMap", unseen());
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/web: in git, not in the cluster",
            ". ConfigMap shop/a: cannot be seen: the watch broke",
        ]
    );
}

#[test]
fn an_object_that_another_app_had_first_is_left_to_it() {
    let mut case = Case::new(vec![config_map("a"), config_map("b")]);
    case.elsewhere
        .owned
        .insert(id("ConfigMap shop/a"), "till".to_owned());
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster",
            ". ConfigMap shop/a: app till had it first",
        ]
    );
}

#[test]
fn a_missing_namespace_is_made_when_the_app_asks_for_it() {
    let mut case = Case::new(vec![config_map("a")]);
    case.observed.namespaces.clear();
    assert_eq!(
        case.told(),
        ["+ ConfigMap shop/a: in git, not in the cluster"]
    );
    case.app.create_namespace = true;
    assert_eq!(
        case.told(),
        [
            "+ Namespace shop: asked for by CreateNamespace=true",
            "+ ConfigMap shop/a: in git, not in the cluster; waits until Namespace shop is applied",
        ]
    );
    case.observed.namespaces.insert("shop".to_owned());
    assert_eq!(
        case.told(),
        ["+ ConfigMap shop/a: in git, not in the cluster"]
    );
}

#[test]
fn no_namespace_is_made_for_an_app_that_wants_nothing() {
    let mut case = Case::new(Vec::new());
    case.observed.namespaces.clear();
    case.app.create_namespace = true;
    assert_eq!(case.told(), Vec::<String>::new());
}

#[test]
fn the_made_namespace_carries_what_managed_namespace_metadata_says() {
    let mut case = Case::new(vec![config_map("a")]);
    case.observed.namespaces.clear();
    case.app.create_namespace = true;
    case.app
        .namespace_labels
        .insert("team".to_owned(), "shop".to_owned());
    let plan = case.plan();
    let lockstep_plan::Action::Apply(made) = &plan.front[0].action else {
        panic!("an apply")
    };
    assert_eq!(made.manifest.label("team"), Some("shop"));
}

#[test]
fn an_object_that_failed_waits_for_a_person_or_the_clock_and_is_tried_anew_when_git_changes() {
    let mut case = Case::new(vec![config_map("a"), config_map("b")]);
    case.failed("ConfigMap shop/a", None);
    case.failed("ConfigMap shop/b", Some(crate::case::after(5)));
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster; tried again at 00:00:05 UTC",
            ". ConfigMap shop/a: the server refused it",
        ]
    );
    case.now = crate::case::after(5);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/b: in git, not in the cluster",
            ". ConfigMap shop/a: the server refused it",
        ]
    );
    case.git = vec![with(config_map("a"), "note", "mended"), config_map("b")];
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/a: in git, not in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster",
        ]
    );
}

#[test]
fn a_kind_that_is_not_served_and_that_nothing_brings_is_held_alone() {
    let widget = crate::case::object("example.org/v1", "Widget", "w", serde_json::json!({}));
    let mut case = Case::new(vec![config_map("a"), widget]);
    case.kind("example.org", "Widget", lockstep_plan::KindView::NotServed);
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/a: in git, not in the cluster",
            ". example.org/Widget shop/w: held: the API server does not serve example.org/v1 Widget",
        ]
    );
}

#[test]
fn an_object_whose_definition_went_is_made_again_once_its_kind_is_served() {
    let widget = crate::case::object("example.org/v1", "Widget", "w", serde_json::json!({}));
    let mut case = Case::synced(vec![
        crate::case::crd("example.org", "Widget", "Namespaced"),
        widget,
    ]);
    case.kind("example.org", "Widget", lockstep_plan::KindView::NotServed);
    let crd = "apiextensions.k8s.io/CustomResourceDefinition widgets.example.org";
    assert_eq!(
        case.told(),
        [
            "+ example.org/Widget shop/w: deleted from the cluster; waits until the API server serves \
             example.org/v1 Widget"
                .to_owned(),
            format!(". {crd}: as git wants it"),
        ]
    );
}

#[test]
fn keeping_a_commit_puts_back_drift_and_goes_on_with_what_is_missing() {
    let mut case = Case::synced(vec![config_map("a"), config_map("b"), config_map("c")]);
    case.mode = Mode::Heal;
    case.edited("ConfigMap shop/a");
    case.deleted("ConfigMap shop/b");
    case.git.push(config_map("d"));
    assert_eq!(
        case.told(),
        [
            "~ ConfigMap shop/a: changed in the cluster",
            "+ ConfigMap shop/b: deleted from the cluster",
            "+ ConfigMap shop/d: in git, not in the cluster",
            ". ConfigMap shop/c: as git wants it",
        ]
    );
}
