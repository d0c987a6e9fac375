//! What is deleted, what is kept, what is let go.

use lockstep_app::app::OnDelete;
use lockstep_app::policy::DeletionPolicy;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::marks::Deletable;
use lockstep_manifest::write::Propagation;
use lockstep_plan::{Action, Failure, KindView, Mode, NOT_OURS};

use crate::case::{
    Case, after, config_map, crd, deployment, id, namespace, object, uid_of, unseen, wave, with,
};

fn gone(objects: Vec<lockstep_manifest::Manifest>) -> Case {
    let mut case = Case::synced(objects);
    case.git.clear();
    case
}

#[test]
fn what_left_git_is_deleted_by_the_uid_on_record() {
    let case = gone(vec![config_map("a")]);
    assert_eq!(case.told(), ["- ConfigMap shop/a: no longer in git"]);
    let Action::Prune {
        uid,
        propagation,
        gvk,
    } = &case.plan().front[0].action
    else {
        panic!("a deletion")
    };
    assert_eq!(*uid, uid_of(&id("ConfigMap shop/a")));
    assert_eq!(
        (*propagation, gvk.to_string()),
        (Propagation::Foreground, "v1 ConfigMap".to_owned())
    );
}

#[test]
fn what_was_never_confirmed_to_exist_is_not_deleted() {
    let mut case = gone(vec![config_map("a")]);
    case.entry("ConfigMap shop/a").uid = None;
    case.deleted("ConfigMap shop/a");
    assert_eq!(
        case.told(),
        [". ConfigMap shop/a: no longer in git, and never seen in the cluster",]
    );
}

#[test]
fn nothing_is_deleted_of_a_kind_that_cannot_be_seen() {
    let mut case = gone(vec![config_map("a")]);
    case.kind("", "ConfigMap", unseen());
    assert_eq!(
        case.told(),
        [". ConfigMap shop/a: cannot be seen: the watch broke"]
    );
}

#[test]
fn what_went_with_its_definition_is_let_go_and_waited_for_by_nobody() {
    let widget = |name| object("example.org/v1", "Widget", name, serde_json::json!({}));
    let mut case = gone(vec![widget("w"), widget("never")]);
    let entry = case.entry("example.org/Widget shop/never");
    (entry.uid, entry.digest, entry.seen) = (None, None, None);
    case.kind("example.org", "Widget", KindView::NotServed);
    assert_eq!(
        case.told(),
        [
            "> example.org/Widget shop/w: no longer in git",
            ". example.org/Widget shop/never: no longer in git, and never seen in the cluster",
        ]
    );
}

#[test]
fn prune_false_keeps_the_object_whoever_says_it() {
    let kept = [". ConfigMap shop/a: no longer in git, and kept: pruning is off for it"];
    let annotated = with(
        config_map("a"),
        "argocd.argoproj.io/sync-options",
        "Prune=false",
    );
    assert_eq!(gone(vec![annotated]).told(), kept);

    let mut case = gone(vec![config_map("a")]);
    case.app.options.prune = Deletable::No;
    assert_eq!(case.told(), kept);

    let mut case = gone(vec![config_map("a")]);
    case.app.policy.deletion = DeletionPolicy::Keep;
    assert_eq!(case.told(), kept);
}

#[test]
fn a_deletion_that_needs_a_person_waits_and_goes_once_let_through() {
    let mut case = gone(vec![config_map("a"), config_map("b")]);
    case.app.policy.deletion = DeletionPolicy::Approve;
    case.approved.insert(id("ConfigMap shop/b"));
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/b: no longer in git",
            "- ConfigMap shop/a: no longer in git; waits for a sync by a person",
        ]
    );
}

#[test]
fn an_object_that_carries_no_mark_is_kept_after_a_fresh_read_said_so() {
    let mut case = gone(vec![config_map("a")]);
    let fault = Fault::new(Blame::User, NOT_OURS, "it carries no mark");
    let failure = Failure {
        digest: None,
        fault,
        retry_at: None,
        times: 1,
        refusals: 1,
    };
    case.failures.insert(id("ConfigMap shop/a"), failure);
    assert_eq!(
        case.told(),
        [". ConfigMap shop/a: no longer in git, and kept: it carries no mark of this app",]
    );
}

#[test]
fn a_deletion_that_failed_is_tried_again_or_is_a_persons_move() {
    let mut case = gone(vec![config_map("a"), config_map("b")]);
    case.failed("ConfigMap shop/a", Some(after(5)));
    case.failed("ConfigMap shop/b", None);
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git; tried again at 00:00:05 UTC",
            ". ConfigMap shop/b: the server refused it",
        ]
    );
}

#[test]
fn what_is_being_deleted_is_not_deleted_again() {
    let mut case = gone(vec![config_map("a")]);
    case.seen("ConfigMap shop/a").terminating = true;
    assert_eq!(case.told(), [". ConfigMap shop/a: is being deleted"]);
}

#[test]
fn what_another_app_takes_over_is_let_go_and_not_deleted() {
    let mut case = gone(vec![config_map("a")]);
    case.elsewhere
        .wanted
        .insert(id("ConfigMap shop/a"), "till".to_owned());
    assert_eq!(case.told(), ["> ConfigMap shop/a: now in git of app till"]);
    case.mode = Mode::Leave;
    assert_eq!(case.told(), ["> ConfigMap shop/a: now in git of app till"]);
}

#[test]
fn deletions_come_after_what_is_applied() {
    let mut case = gone(vec![config_map("old")]);
    case.git = vec![config_map("new")];
    assert_eq!(
        case.told(),
        [
            "+ ConfigMap shop/new: in git, not in the cluster",
            "- ConfigMap shop/old: no longer in git; waits until ConfigMap shop/new is applied",
        ]
    );
}

#[test]
fn a_renamed_deployment_stays_while_the_new_one_cannot_be_created() {
    let mut case = gone(vec![deployment("old")]);
    case.git = vec![deployment("new")];
    case.failed("apps/Deployment shop/new", None);
    assert_eq!(
        case.told(),
        [
            "- apps/Deployment shop/old: no longer in git; waits until apps/Deployment shop/new is applied",
            ". apps/Deployment shop/new: the server refused it",
        ]
    );
    case.failed("apps/Deployment shop/new", Some(after(5)));
    assert_eq!(
        case.told(),
        [
            "+ apps/Deployment shop/new: in git, not in the cluster; tried again at 00:00:05 UTC",
            "- apps/Deployment shop/old: no longer in git; waits until apps/Deployment shop/new is applied",
        ]
    );
}

#[test]
fn deletions_go_from_the_last_wave_and_kind_to_the_first() {
    let mut case = gone(vec![
        config_map("a"),
        deployment("web"),
        wave(config_map("z"), 1),
    ]);
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/z: no longer in git",
            "- ConfigMap shop/a: no longer in git; waits until ConfigMap shop/z is gone",
            "- apps/Deployment shop/web: no longer in git; waits until ConfigMap shop/z is gone",
        ]
    );
    case.seen("ConfigMap shop/z").terminating = true;
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git; waits until ConfigMap shop/z is gone",
            "- apps/Deployment shop/web: no longer in git; waits until ConfigMap shop/z is gone",
            ". ConfigMap shop/z: is being deleted",
        ]
    );
}

#[test]
fn a_deletion_that_cannot_be_done_holds_up_the_ones_before_it() {
    let mut case = gone(vec![config_map("a"), wave(config_map("z"), 1)]);
    case.failed("ConfigMap shop/z", Some(after(5)));
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/z: no longer in git; tried again at 00:00:05 UTC",
            "- ConfigMap shop/a: no longer in git; waits until ConfigMap shop/z is gone",
        ]
    );
    case.failed("ConfigMap shop/z", None);
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git; waits until ConfigMap shop/z is gone",
            ". ConfigMap shop/z: the server refused it",
        ]
    );
}

#[test]
fn the_namespace_that_the_app_asks_for_is_not_deleted_when_it_leaves_git() {
    let mut case = Case::synced(vec![config_map("a"), namespace("shop")]);
    case.app.create_namespace = true;
    case.git = vec![config_map("a")];
    assert_eq!(
        case.told(),
        [
            ". ConfigMap shop/a: as git wants it",
            ". Namespace shop: no longer in git, and kept: pruning is off for it",
        ]
    );
}

#[test]
fn an_app_that_leaves_takes_everything_with_it_in_reverse_order() {
    let mut case = Case::synced(vec![
        config_map("a"),
        deployment("web"),
        wave(config_map("z"), 1),
    ]);
    case.mode = Mode::Leave;
    case.app.on_delete = OnDelete::Cascade(Propagation::Background);
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/z: its app is being deleted",
            "- ConfigMap shop/a: its app is being deleted; waits until ConfigMap shop/z is gone",
            "- apps/Deployment shop/web: its app is being deleted; waits until ConfigMap shop/z is gone",
        ]
    );
    let Action::Prune { propagation, .. } = &case.plan().front[0].action else {
        panic!("a deletion")
    };
    assert_eq!(*propagation, Propagation::Background);
    assert_eq!(case.plan().revision, None);
}

#[test]
fn an_app_that_leaves_keeps_definitions_and_what_says_delete_false() {
    let mut case = Case::synced(vec![
        with(
            config_map("a"),
            "argocd.argoproj.io/sync-options",
            "Delete=false",
        ),
        with(config_map("b"), "helm.sh/resource-policy", "keep"),
        with(
            config_map("c"),
            "argocd.argoproj.io/sync-options",
            "Prune=false",
        ),
        crd("example.org", "Widget", "Namespaced"),
    ]);
    case.mode = Mode::Leave;
    case.app.on_delete = OnDelete::Cascade(Propagation::Foreground);
    let kept = "no longer in git, and kept: pruning is off for it";
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/c: its app is being deleted".to_owned(),
            format!(". ConfigMap shop/a: {kept}"),
            format!(". ConfigMap shop/b: {kept}"),
            format!(". apiextensions.k8s.io/CustomResourceDefinition widgets.example.org: {kept}"),
        ]
    );
}

#[test]
fn a_resource_of_a_removed_definition_goes_before_the_definition() {
    let widget = object("example.org/v1", "Widget", "w", serde_json::json!({}));
    let case = gone(vec![widget, crd("example.org", "Widget", "Namespaced")]);
    let name = "apiextensions.k8s.io/CustomResourceDefinition widgets.example.org";
    assert_eq!(
        case.told(),
        [
            "- example.org/Widget shop/w: no longer in git".to_owned(),
            format!("- {name}: no longer in git; waits until example.org/Widget shop/w is gone"),
        ]
    );
}

#[test]
fn what_left_git_waits_while_another_app_may_be_taking_it_over() {
    let mut case = gone(vec![config_map("a")]);
    case.others_looking = true;
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git; waits until every app of the repository is rendered"
        ]
    );
    case.others_looking = false;
    assert_eq!(case.told(), ["- ConfigMap shop/a: no longer in git"]);
}

#[test]
fn what_git_cannot_bring_back_waits_for_a_person_though_policy_prunes() {
    let mut case = gone(vec![namespace("else"), config_map("a"), config_map("tls")]);
    case.seen("ConfigMap shop/tls").protected = true;
    case.seen("Namespace else").protected = true;
    let waits = "waits for a sync by a person, since git cannot bring back what it holds";
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git".to_owned(),
            format!("- ConfigMap shop/tls: no longer in git; {waits}"),
            format!("- Namespace else: no longer in git; {waits}"),
        ]
    );
    case.deleted("Namespace else");
    assert_eq!(
        case.told(),
        [
            "- ConfigMap shop/a: no longer in git".to_owned(),
            format!("- ConfigMap shop/tls: no longer in git; {waits}"),
            "- Namespace else: no longer in git; waits until ConfigMap shop/a is gone".to_owned(),
        ],
        "what is gone is only confirmed"
    );
}

#[test]
fn more_deletions_than_the_budget_wait_all_of_them_until_a_person_lets_them_through() {
    let many: Vec<_> = (0..11).map(|n| config_map(&format!("c{n:02}"))).collect();
    let mut case = gone(many.clone());
    let told = case.told();
    assert_eq!(told.len(), 11);
    assert_eq!(
        told[0],
        "- ConfigMap shop/c00: no longer in git; waits for a sync by a person, since 11 objects would go and 10 may by themselves"
    );
    assert!(
        told.iter().all(|line| line.contains("by a person")),
        "{told:?}"
    );
    case.approved = case.inventory.entries.keys().cloned().collect();
    assert!(!case.told().iter().any(|line| line.contains("by a person")));
    case.approved.clear();
    case.git = vec![many[0].clone()];
    assert!(
        case.plan().front.len() == 10,
        "ten may go: {:?}",
        case.told()
    );
}

#[test]
fn the_budget_does_not_hold_up_the_deletion_of_the_app_itself() {
    let many: Vec<_> = (0..11).map(|n| config_map(&format!("c{n:02}"))).collect();
    let mut case = gone(many);
    case.mode = Mode::Leave;
    case.app.on_delete = OnDelete::Cascade(Propagation::Foreground);
    assert!(
        !case.told().iter().any(|line| line.contains("by a person")),
        "{:?}",
        case.told()
    );
}
