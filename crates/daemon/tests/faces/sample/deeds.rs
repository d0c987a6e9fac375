//! Apps to which something was done that most apps never see: hooks, a rollback, a deletion that waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_app::app::Bases;
use lockstep_app::project::Scope;
use lockstep_manifest::marks::{HookDelete, HookPhase};
use lockstep_manifest::yaml::{Limits, read_objects};
use lockstep_manifest::{Gvk, ObjectId, Uid};
use lockstep_plan::{Action, Going, Hook, Plan, Reason, Step, Unstepped, Waiting, Wanted};
use lockstep_reconcile::Until;
use lockstep_reconcile::view::{
    AppView, HistoryView, LogKind, OperationPhase, OperationView, ResultView, RollbackView,
    Verified, Why, Word,
};

use super::{app, at, commit, deed, held, id, revision};

fn job(name: &str) -> ObjectId {
    ObjectId {
        group: "batch".to_owned(),
        ..id("Job", name)
    }
}

fn hook(name: &str, phase: HookPhase) -> Arc<Hook> {
    let text =
        format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: shop}}\n");
    let limits = Limits::default();
    let manifest = read_objects(text.as_bytes(), "apps/search/hooks.yaml", &limits)
        .expect("YAML")
        .remove(0);
    Arc::new(Hook {
        wanted: Arc::new(Wanted {
            id: job(name),
            gvk: manifest.gvk(),
            scope: Scope::Namespaced,
            digest: manifest.digest(),
            manifest: Arc::new(manifest),
            wave: 0,
            ignored: Vec::new(),
            handed_over: Vec::new(),
            manner: lockstep_manifest::write::Manner::default(),
            recreate: false,
        }),
        phase,
        delete: HookDelete::default(),
        generated: false,
    })
}

fn run(name: &str, phase: HookPhase) -> Step {
    Step {
        id: job(name),
        action: Action::Run {
            hook: hook(name, phase),
            runs_in: String::new(),
        },
        reason: Reason::Hook(phase),
        phase,
        wave: 0,
        changes: Vec::new(),
        taken: Vec::new(),
    }
}

/// An app whose plan waits for a person, with a hook before and one after.
pub(crate) fn with_hooks_to_run() -> AppView {
    let mut app = held();
    "migrate".clone_into(&mut app.name);
    let plan = Plan::clone(app.plan.as_ref().expect("a plan"));
    let waits = |step: Step| (step, Waiting::Hook(job("schema")));
    let after = Waiting::Healthy(id("Deployment", "search"));
    let waiting = plan.front.into_iter().map(waits).chain(plan.waiting);
    let plan = Plan {
        front: vec![run("schema", HookPhase::PreSync)],
        waiting: waiting
            .chain([(run("smoke", HookPhase::PostSync), after)])
            .collect(),
        ..plan
    };
    app.plan_digest = Some(plan.digest());
    app.plan = Some(Arc::new(plan));
    app
}

fn result(id: ObjectId, message: &str, phase: HookPhase, hook: Option<&'static str>) -> ResultView {
    ResultView {
        id,
        version: "v1".to_owned(),
        status: "Synced",
        message: message.to_owned(),
        phase,
        hook,
    }
}

/// An app whose last sync ran hooks, and became healthy.
pub(crate) fn verified() -> AppView {
    let mut app = app("prod", "catalog");
    if let Some(health) = app
        .strips
        .first_mut()
        .and_then(|strip| strip.steps.last_mut())
    {
        health.facts.push("verified".to_owned());
    }
    let hooks = [
        (
            "schema",
            HookPhase::PreSync,
            "Succeeded",
            "has done its work",
        ),
        ("smoke", HookPhase::PostSync, "Failed", "exit code 1 <&>"),
        ("warm", HookPhase::PostSync, "Running", "runs"),
    ];
    let mut results = vec![result(
        id("Deployment", "catalog"),
        "configured",
        HookPhase::Sync,
        None,
    )];
    results.extend(
        hooks.map(|(name, phase, state, said)| result(job(name), said, phase, Some(state))),
    );
    app.operation = Some(OperationView {
        id: "op-5b1e22aa".to_owned(),
        app: ("prod".to_owned(), "catalog".to_owned()),
        phase: OperationPhase::Succeeded,
        message: "successfully synced (all tasks run)".to_owned(),
        revision: Some(revision("e1a9d42")),
        by: "automated".to_owned(),
        started_at: at("13:58:13"),
        finished_at: Some(at("13:58:20")),
        results,
        retries: 1,
        verified: Some(Verified::Yes(at("13:59:23"))),
        prune: true,
        dry_run: false,
    });
    app
}

/// An app that somebody rolled back.
pub(crate) fn rolled_back() -> AppView {
    let mut app = app("prod", "ledger");
    let old = commit(
        "a3f19d7",
        "keep 4 pods during node upgrades",
        "wren",
        "09:13:00",
    );
    let why = "rolled back to a3f19d7 by ann until a newer commit: errors since 14:00";
    app.word = Word::Held;
    app.since = at("14:20:00");
    app.why = Some(Why {
        code: "held.rollback".to_owned(),
        text: why.to_owned(),
        next: Some("lockstep release ledger -e prod".to_owned()),
    });
    app.live = Some(old.clone());
    app.history.push_front(HistoryView {
        id: 48,
        commit: old.clone(),
        started_at: at("14:20:00"),
        deployed_at: at("14:20:09"),
        by: "ann".to_owned(),
        objects: 2,
        bundle: None,
        bases: Bases::new(),
    });
    if let Some(strip) = app.strips.first_mut() {
        strip.commit = old;
    }
    app.rollback = Some(RollbackView {
        to: revision("a3f19d7"),
        from: Some(revision("e1a9d42")),
        reason: "errors since 14:00".to_owned(),
        by: "ann".to_owned(),
        at: at("14:20:00"),
        until: Until::NewerCommit,
    });
    let mut back = deed(
        LogKind::Rollback,
        "op-77aa0b1c",
        ("14:20:00", "14:20:09"),
        "synced a3f19d7: 2 objects written",
    );
    "ann".clone_into(&mut back.by);
    back.revision = Some(revision("a3f19d7"));
    app.log.push_front(back);
    app
}

/// An app that is being deleted, and waits for somebody to let go of a volume.
pub(crate) fn leaving() -> AppView {
    let mut app = app("dev", "search");
    let volume = id("PersistentVolumeClaim", "search-data");
    let going = Going {
        since: Some(at("14:05:00")),
        finalizers: vec!["kubernetes.io/pvc-protection".to_owned()],
    };
    let stays = Unstepped::Terminating(going);
    app.word = Word::Syncing;
    app.why = Some(Why {
        code: "leaving".to_owned(),
        text: format!("being deleted: 2 objects left; {volume} {stays}"),
        next: None,
    });
    let step = Step {
        id: id("ConfigMap", "search-0"),
        action: Action::Prune {
            gvk: Gvk::from_api_version("v1", "ConfigMap"),
            uid: Uid("u".to_owned()),
            propagation: lockstep_manifest::write::Propagation::Background,
        },
        reason: Reason::Leaving,
        phase: HookPhase::Sync,
        wave: 0,
        changes: Vec::new(),
        taken: Vec::new(),
    };
    app.plan = Some(Arc::new(Plan {
        revision: None,
        front: Vec::new(),
        waiting: vec![(step, Waiting::Gone(volume.clone()))],
        unstepped: BTreeMap::from([(volume, stays)]),
    }));
    app.history = VecDeque::new();
    app
}
