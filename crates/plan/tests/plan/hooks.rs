//! What runs when, and what becomes of it.

use lockstep_app::app::OnDelete;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Digest, Health, Manifest, ObjectId};
use lockstep_plan::{
    Course, Entry, HookRun, HookSeen, HookState, Mode, Run, Selector, Unstepped, Waiting,
};
use serde_json::json;

use crate::case::{
    Case, NOW, after, config_map, crd, deployment, id, namespace, object, seen, uid_of, wave, with,
};

fn hook(name: &str, phases: &str) -> Manifest {
    let job = object("batch/v1", "Job", name, json!({"spec": {}}));
    with(job, "argocd.argoproj.io/hook", phases)
}

fn running(mut case: Case) -> Case {
    case.run = Some(Run::new("op-1".to_owned(), NOW));
    case
}

impl Case {
    fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("something runs")
    }

    /// The hook of this phase is that far.
    fn hook_is(&mut self, name: &str, phase: &str, state: HookState) {
        let (id, phase) = (id(name), phase.parse().expect("a phase"));
        let mut live = seen(&id, Digest::of(b"hook"));
        live.hook = Some(Box::new(HookSeen {
            runs_in: self.run().runs_in(phase),
            kept: true,
        }));
        self.observed.objects.insert(id.clone(), live);
        let entry = Entry {
            uid: Some(uid_of(&id)),
            version: "v1".to_owned(),
            is_hook: true,
            ..Entry::default()
        };
        self.inventory.entries.insert(id.clone(), entry);
        let hook = HookRun {
            uid: Some(uid_of(&id)),
            state,
            not_before: None,
        };
        self.run().hooks.insert((phase, id), hook);
    }

    /// The objects of git stand in the cluster.
    fn applied(&mut self) {
        for wanted in self.desired().objects {
            self.took(&wanted);
            self.touched.insert(wanted.id.clone());
        }
    }

    fn succeeded(&mut self, name: &str, phase: &str) {
        self.hook_is(name, phase, HookState::Succeeded);
    }

    fn broke(&mut self, name: &str, phase: &str) {
        self.hook_is(name, phase, HookState::Failed("exit code 1".to_owned()));
    }
}

fn front(case: &Case) -> Vec<String> {
    case.plan().front.iter().map(ToString::to_string).collect()
}

#[test]
fn hooks_run_before_with_and_after_the_objects() {
    let mut case = running(Case::new(vec![
        hook("shop/after", "PostSync"),
        hook("shop/with", "Sync"),
        hook("shop/before", "PreSync"),
        hook("shop/failed", "SyncFail"),
        config_map("shop/a"),
    ]));
    assert_eq!(
        case.told(),
        [
            "! batch/Job shop/before: PreSync hook",
            "+ ConfigMap shop/a: in git, not in the cluster; waits until hook batch/Job shop/before has done its work",
            "! batch/Job shop/with: Sync hook; waits until hook batch/Job shop/before has done its work",
            "! batch/Job shop/after: PostSync hook; waits until hook batch/Job shop/before has done its work",
            ". batch/Job shop/failed: a hook that runs at another moment, or never",
        ]
    );
    case.hook_is("batch/Job shop/before", "PreSync", HookState::Running);
    assert_eq!(front(&case), [] as [&str; 0]);
    assert!(case.plan().goes_on());
    case.succeeded("batch/Job shop/before", "PreSync");
    assert_eq!(
        front(&case),
        [
            "+ ConfigMap shop/a: in git, not in the cluster",
            ". batch/Job shop/before: hook that has ended",
            "! batch/Job shop/with: Sync hook",
        ]
    );
    case.applied();
    case.succeeded("batch/Job shop/with", "Sync");
    assert!(front(&case).contains(&"! batch/Job shop/after: PostSync hook".to_owned()));
    case.succeeded("batch/Job shop/after", "PostSync");
    let plan = case.plan();
    assert!(!plan.goes_on() && plan.blocked().is_empty());
}

#[test]
fn what_runs_after_a_sync_waits_until_everything_is_healthy() {
    let mut case = running(Case::new(vec![
        hook("shop/after", "PostSync"),
        deployment("shop/web"),
    ]));
    case.applied();
    case.seen("apps/Deployment shop/web").health = Health::Progressing {
        why: "0 of 1".to_owned(),
    };
    assert_eq!(
        case.told(),
        [
            "! batch/Job shop/after: PostSync hook; waits until apps/Deployment shop/web is healthy",
            ". apps/Deployment shop/web: as git wants it",
        ]
    );
}

#[test]
fn a_hook_that_failed_lets_nothing_after_it_begin_and_the_hooks_for_that_run() {
    let mut case = running(Case::new(vec![
        hook("shop/before", "PreSync"),
        wave(hook("shop/first", "SyncFail"), -1),
        hook("shop/then", "SyncFail"),
        config_map("shop/a"),
    ]));
    case.broke("batch/Job shop/before", "PreSync");
    let plan = case.plan();
    assert_eq!(
        case.told(),
        [
            ". batch/Job shop/before: hook that has ended",
            "! batch/Job shop/first: SyncFail hook",
            "+ ConfigMap shop/a: in git, not in the cluster; waits until hook batch/Job shop/before has done its work",
            "! batch/Job shop/then: SyncFail hook; waits until hook batch/Job shop/first has done its work",
            ". batch/Job shop/before: hook failed: exit code 1",
        ]
    );
    assert!(plan.blocked().contains(&id("ConfigMap shop/a")));
    case.succeeded("batch/Job shop/first", "SyncFail");
    assert!(front(&case).contains(&"! batch/Job shop/then: SyncFail hook".to_owned()));
    case.succeeded("batch/Job shop/then", "SyncFail");
    assert!(!case.plan().goes_on());
}

#[test]
fn an_object_that_is_refused_ends_in_the_hooks_for_that_when_nothing_else_goes_on() {
    let mut case = running(Case::new(vec![
        hook("shop/failed", "SyncFail"),
        config_map("shop/a"),
        config_map("shop/b"),
    ]));
    case.failed("ConfigMap shop/a", None);
    assert_eq!(
        front(&case),
        ["+ ConfigMap shop/b: in git, not in the cluster"]
    );
    let b = case.desired().get(&id("ConfigMap shop/b")).cloned();
    case.took(&b.expect("git wants it"));
    assert_eq!(front(&case), ["! batch/Job shop/failed: SyncFail hook"]);
}

#[test]
fn a_sync_that_gave_up_has_only_the_hooks_for_that_left() {
    let mut case = running(Case::new(vec![
        hook("shop/failed", "SyncFail"),
        deployment("shop/web"),
        wave(config_map("shop/a"), 1),
    ]));
    let web = case.desired().get(&id("apps/Deployment shop/web")).cloned();
    case.took(&web.expect("git wants it"));
    case.run().course = Course::Failing;
    assert_eq!(front(&case), ["! batch/Job shop/failed: SyncFail hook"]);
}

#[test]
fn when_a_sync_is_over_its_hooks_are_deleted_or_let_go_by_their_policies() {
    let policy = |name: &str, policy: &str| {
        let key = "argocd.argoproj.io/hook-delete-policy";
        with(hook(name, "PreSync"), key, policy)
    };
    let mut case = running(Case::new(vec![
        policy("shop/good", "HookSucceeded"),
        policy("shop/bad", "HookFailed"),
        hook("shop/kept", "PreSync"),
    ]));
    for name in ["good", "bad", "kept"] {
        case.succeeded(&format!("batch/Job shop/{name}"), "PreSync");
    }
    case.run().course = Course::Over {
        well: true,
        terminated: false,
    };
    let over =
        |sign: &str, name: &str| format!("{sign} batch/Job shop/{name}: hook that has ended");
    assert_eq!(
        front(&case),
        [over(".", "bad"), over("-", "good"), over(".", "kept")]
    );
    case.run().course = Course::Over {
        well: false,
        terminated: false,
    };
    assert_eq!(
        front(&case),
        [over("-", "bad"), over(".", "good"), over(".", "kept")]
    );
}

#[test]
fn a_hook_that_ran_before_the_sync_is_not_deleted_because_git_forgot_it() {
    let mut case = running(Case::new(vec![config_map("shop/a")]));
    case.succeeded("batch/Job shop/old", "PreSync");
    case.run().hooks.clear();
    let told = case.told();
    assert_eq!(
        told[1],
        ". batch/Job shop/old: a hook that has ended, and is kept until it runs again"
    );
}

#[test]
fn healing_and_a_sync_of_some_objects_run_no_hooks() {
    let mut case = Case::synced(vec![hook("shop/before", "PreSync"), config_map("shop/a")]);
    case.mode = Mode::Heal;
    case.edited("ConfigMap shop/a");
    assert_eq!(front(&case), ["~ ConfigMap shop/a: changed in the cluster"]);
    case.mode = Mode::Sync;
    case.run = Some(Run {
        skip_hooks: true,
        ..Run::new("op-1".to_owned(), NOW)
    });
    assert_eq!(front(&case), ["~ ConfigMap shop/a: changed in the cluster"]);
}

#[test]
fn a_plan_without_anything_else_to_do_runs_no_hooks() {
    let case = Case::synced(vec![hook("shop/before", "PreSync"), config_map("shop/a")]);
    assert!(case.plan().is_empty());
}

#[test]
fn a_sync_of_some_objects_leaves_the_others_alone() {
    let mut case = running(Case::new(vec![config_map("shop/a"), config_map("shop/b")]));
    case.run().only = vec![Selector {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: String::new(),
        name: "b".to_owned(),
    }];
    let plan = case.plan();
    assert_eq!(
        front(&case),
        ["+ ConfigMap shop/b: in git, not in the cluster"]
    );
    assert!(
        matches!(&plan.waiting[..], [(step, Waiting::NotSelected)] if step.id == id("ConfigMap shop/a"))
    );
    assert!(!plan.goes_on());
}

#[test]
fn a_namespace_and_a_definition_come_before_the_hook_that_needs_them() {
    let job = object("example.org/v1", "Check", "till/check", json!({"spec": {}}));
    let case = running(Case::new(vec![
        wave(namespace("till"), 5),
        wave(crd("example.org", "Check", "Namespaced"), 7),
        with(job, "argocd.argoproj.io/hook", "PreSync"),
        config_map("shop/a"),
    ]));
    assert_eq!(
        front(&case)[0],
        "+ Namespace till: in git, not in the cluster"
    );
}

#[test]
fn a_generated_name_tells_commit_phase_and_the_second_of_the_operation() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
        "generateName": "migrate-", "namespace": "shop",
        "annotations": {"argocd.argoproj.io/hook": "PreSync"}}});
    let job = Manifest::from_value(job).expect("an object");
    let mut case = Case::new(vec![job, config_map("shop/a")]);
    assert_eq!(front(&case), ["! batch/Job shop/migrate-: PreSync hook"]);
    case.run = Some(Run::new("op-1".to_owned(), after(1_700_000_000)));
    assert_eq!(
        front(&case),
        ["! batch/Job shop/migrate-aaaaaaa-presync-1700000000: PreSync hook"]
    );
    // What was made ready once says the same when it is made ready again, as when it was stored.
    let desired = case.desired();
    let stored: Vec<Manifest> = desired
        .hooks
        .iter()
        .map(|hook| hook.wanted.manifest.as_ref().clone())
        .chain([config_map("shop/a")])
        .collect();
    case.git = stored;
    assert_eq!(case.desired().digest(), desired.digest());
}

#[test]
fn deletions_turn_their_waves_round_and_stand_between_what_is_applied() {
    let mut case = Case::synced(vec![
        wave(config_map("shop/old-0"), 0),
        wave(config_map("shop/old-2"), 2),
    ]);
    case.git = vec![wave(config_map("shop/new-1"), 1)];
    assert_eq!(front(&case), ["- ConfigMap shop/old-2: no longer in git"]);
    let last = |case: &mut Case| case.app.options.prune_last = true;
    last(&mut case);
    assert_eq!(
        front(&case),
        ["+ ConfigMap shop/new-1: in git, not in the cluster"]
    );
}

#[test]
fn after_a_failed_sync_only_drift_is_put_back() {
    let mut case = Case::synced(vec![config_map("shop/a")]);
    case.git.push(config_map("shop/b"));
    case.mode = Mode::Heal;
    case.barred = Some(lockstep_plan::Barred::Failed);
    case.edited("ConfigMap shop/a");
    assert_eq!(
        case.told(),
        [
            "~ ConfigMap shop/a: changed in the cluster",
            "+ ConfigMap shop/b: in git, not in the cluster; waits for another commit or a sync by a person, since a sync of this commit has failed",
        ]
    );
}

#[test]
fn a_shared_object_lets_nothing_be_done_where_the_app_says_so() {
    let mut case = running(Case::new(vec![config_map("shop/a"), config_map("shop/b")]));
    case.app.options.fail_on_shared = true;
    case.elsewhere
        .owned
        .insert(id("ConfigMap shop/a"), "till".to_owned());
    let plan = case.plan();
    assert!(plan.front.is_empty());
    assert!(matches!(
        plan.unstepped[&id("ConfigMap shop/a")],
        Unstepped::Refused(_)
    ));
    assert!(plan.blocked().contains(&id("ConfigMap shop/b")));
}

#[test]
fn a_kind_that_something_else_brings_is_waited_for_where_the_object_says_so() {
    let widget = || object("example.org/v1", "Widget", "shop/w", json!({}));
    let waits = with(
        widget(),
        "argocd.argoproj.io/sync-options",
        "SkipDryRunOnMissingResource=true",
    );
    let mut case = Case::new(vec![waits]);
    case.kind("example.org", "Widget", lockstep_plan::KindView::NotServed);
    assert!(matches!(
        &case.plan().waiting[..],
        [(_, Waiting::Served(_))]
    ));
    case.git = vec![widget()];
    let plan = case.plan();
    let id: ObjectId = id("example.org/Widget shop/w");
    assert!(matches!(plan.unstepped[&id], Unstepped::NotServed(_)));
}

#[test]
fn a_hook_that_nobody_knows_is_a_fault_of_the_commit() {
    let case = Case::new(vec![hook("shop/a", "PreSink")]);
    let fault = case.desired().fault().expect("it is no hook");
    assert_eq!(
        fault.message,
        "batch/Job shop/a: argocd.argoproj.io/hook: \"PreSink\" is no hook"
    );
}

#[test]
fn a_confirmed_deletion_is_made_and_one_that_was_confirmed_before_is_asked_for_again() {
    let confirm = with(
        config_map("shop/a"),
        "argocd.argoproj.io/sync-options",
        "Prune=confirm",
    );
    let mut case = Case::synced(vec![confirm]);
    case.git.clear();
    assert!(matches!(
        &case.plan().waiting[..],
        [(_, Waiting::Approval(_))]
    ));
    case.app.deletion_approved = Some(after(-1));
    assert!(matches!(
        &case.plan().waiting[..],
        [(_, Waiting::Approval(_))]
    ));
    case.app.deletion_approved = Some(after(1));
    assert_eq!(front(&case), ["- ConfigMap shop/a: no longer in git"]);
}

#[test]
fn an_app_that_leaves_asks_for_what_wants_a_confirmation_and_runs_its_hooks_around_the_rest() {
    let confirm = with(
        config_map("shop/asks"),
        "argocd.argoproj.io/sync-options",
        "Delete=confirm",
    );
    let mut case = Case::synced(vec![confirm, config_map("shop/goes")]);
    case.git = vec![
        hook("shop/first", "PreDelete"),
        hook("shop/last", "PostDelete"),
    ];
    case.mode = Mode::Leave;
    case.app.on_delete = OnDelete::Cascade(Propagation::Foreground);
    let mut case = running(case);
    assert_eq!(front(&case), ["! batch/Job shop/first: PreDelete hook"]);
    case.succeeded("batch/Job shop/first", "PreDelete");
    assert_eq!(
        front(&case),
        ["- ConfigMap shop/goes: its app is being deleted"]
    );
    assert!(case.plan().waiting.iter().any(|(step, on)| {
        step.id == id("ConfigMap shop/asks") && matches!(on, Waiting::Approval(_))
    }));
    case.app.deletion_approved = Some(after(1));
    for name in ["asks", "goes"] {
        case.deleted(&format!("ConfigMap shop/{name}"));
        case.inventory
            .entries
            .remove(&id(&format!("ConfigMap shop/{name}")));
    }
    assert_eq!(front(&case), ["! batch/Job shop/last: PostDelete hook"]);
    case.hook_is("batch/Job shop/last", "PostDelete", HookState::Running);
    assert_eq!(front(&case), [] as [&str; 0]);
    case.succeeded("batch/Job shop/last", "PostDelete");
    assert_eq!(
        front(&case).len(),
        2,
        "the hooks go last: {:?}",
        case.told()
    );
}
