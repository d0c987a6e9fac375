//! The apps that are not synced: failing, drifted, held, syncing, unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_app::project::Scope;
use lockstep_manifest::fields::Writer;
use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::write::{Manner, Propagation};
use lockstep_manifest::yaml::{Limits, read_objects};
use lockstep_manifest::{Gvk, Health, Place, Uid};
use lockstep_plan::{
    Action, Asked, FieldChange, Plan, Reason, Side, Step, Unstepped, Waiting, Wanted,
};
use lockstep_reconcile::view::{
    AppView, DriftField, DriftObject, OperationPhase, OperationView, Outcome, ResultView, Strip,
    SyncStatus, Why, Word,
};
use serde_json::json;

use super::{HIDDEN, app, at, commit, id, revision, steps};

fn why(code: &str, text: &str, next: &str) -> Why {
    Why {
        code: code.to_owned(),
        text: text.to_owned(),
        next: Some(next.to_owned()),
    }
}

/// An app whose apply was refused.
pub(crate) fn failing() -> AppView {
    let wanted = commit(
        "4f2a9c1",
        "ledger, storefront: read reports from replicas",
        "wren",
        "14:30:21",
    );
    let mut app = app("prod", "ledger");
    let live = app.strips.remove(0);
    app.word = Word::Failing;
    app.since = at("14:31:02");
    app.why = Some(why(
        "apply.immutable_field",
        "Apply was refused: Deployment/ledger changes spec.selector, which Kubernetes never lets change",
        "put the old label back and push",
    ));
    app.sync = SyncStatus::OutOfSync;
    app.wanted = Some(wanted.clone());
    let stopped = [
        Outcome::Done,
        Outcome::Done,
        Outcome::Done,
        Outcome::Failed,
        Outcome::None,
    ];
    app.strips = vec![
        Strip {
            commit: wanted,
            live: false,
            steps: steps(stopped, "14:30:21"),
        },
        live,
    ];
    app.operation = Some(OperationView {
        id: "op-7c21d0ee".to_owned(),
        app: ("prod".to_owned(), "ledger".to_owned()),
        phase: OperationPhase::Failed,
        message: "one or more objects failed to apply".to_owned(),
        revision: Some(revision("4f2a9c1")),
        by: "automated".to_owned(),
        started_at: at("14:31:00"),
        finished_at: Some(at("14:31:02")),
        results: vec![ResultView {
            id: id("Deployment", "ledger"),
            version: "v1".to_owned(),
            status: "SyncFailed",
            message: "spec.selector: field is immutable".to_owned(),
            phase: HookPhase::Sync,
            hook: None,
        }],
        retries: 0,
        verified: None,
        prune: true,
        dry_run: false,
    });
    app
}

/// An app that somebody changed by hand; one of its objects is a Secret.
pub(crate) fn drifted() -> AppView {
    let mut app = app("prod", "checkout");
    app.word = Word::Drifted;
    app.since = at("14:07:41");
    app.sync = SyncStatus::OutOfSync;
    app.why = Some(why(
        "drift.reported",
        "3 fields in 2 objects were changed outside git, first with kubectl scale at 14:07",
        "lockstep diff checkout -e prod",
    ));
    let by = |manager: &str, subresource: Option<&str>, clock: &str| {
        vec![Writer {
            manager: manager.to_owned(),
            operation: "Update".to_owned(),
            subresource: subresource.map(str::to_owned),
            at: Some(at(clock)),
        }]
    };
    let field = |path: &str, git: Side, cluster: Side, by: Vec<Writer>, clock: &str| DriftField {
        path: path.to_owned(),
        git,
        cluster,
        by,
        noticed_at: at(clock),
        places: [
            ("apps/checkout/base/deployment.yaml", 41, 9),
            ("apps/checkout/prod/replicas.yaml", 7, 3),
        ]
        .map(|(file, line, column)| Place {
            file: file.into(),
            line,
            column,
        })
        .to_vec(),
    };
    app.drift = vec![
        DriftObject {
            id: id("Deployment", "checkout"),
            missing: false,
            fields: vec![
                field(
                    "spec.replicas",
                    Side::Value(json!(6)),
                    Side::Value(json!(9)),
                    by("kubectl", Some("scale"), "14:07:41"),
                    "14:07:41",
                ),
                field(
                    "spec.template.spec.containers[checkout].resources.limits.memory",
                    Side::Value(json!("512Mi")),
                    Side::Value(json!("1Gi")),
                    by("kubectl-edit", None, "14:07:58"),
                    "14:07:58",
                ),
            ],
            heal_at: None,
        },
        DriftObject {
            id: id("Secret", "checkout-keys"),
            missing: false,
            fields: vec![field(
                "data.API_KEY",
                Side::Hidden,
                Side::Hidden,
                by("kubectl-patch", None, "14:08:30"),
                "14:10:02",
            )],
            heal_at: Some(at("14:35:00")),
        },
    ];
    if let Some(deployment) = app.objects.first_mut() {
        deployment.sync = SyncStatus::OutOfSync;
        deployment.health = Health::Progressing {
            why: "8 of 9 pods ready".to_owned(),
        };
        deployment.fact = Some("8 of 9 ready".to_owned());
    }
    app
}

/// An app whose plan waits for a person.
pub(crate) fn held() -> AppView {
    let wanted = commit(
        "77b03ce",
        "search: raise shard count to 12",
        "bas",
        "10:21:00",
    );
    let mut app = app("prod", "search");
    let live = app.strips.remove(0);
    app.word = Word::Held;
    app.since = at("10:21:09");
    app.sync = SyncStatus::OutOfSync;
    app.why = Some(why(
        "held.approval",
        "77b03ce waits for a person: prod wants new commits let through by hand",
        "lockstep sync search -e prod",
    ));
    let stopped = [
        Outcome::Done,
        Outcome::Done,
        Outcome::Done,
        Outcome::Held,
        Outcome::None,
    ];
    app.wanted = Some(wanted.clone());
    app.strips = vec![
        Strip {
            commit: wanted.clone(),
            live: false,
            steps: steps(stopped, "10:21:03"),
        },
        live,
    ];
    let step = |kind: &str, name: &str, action, reason, changes| Step {
        id: id(kind, name),
        action,
        reason,
        phase: HookPhase::Sync,
        wave: 0,
        changes,
        taken: Vec::new(),
    };
    let prune = Action::Prune {
        gvk: Gvk::from_api_version("v1", "ConfigMap"),
        uid: Uid("gone".to_owned()),
        propagation: Propagation::Background,
    };
    let change = FieldChange {
        path: "spec.template.spec.containers[search].env[SHARDS].value".to_owned(),
        pointer: "/spec/template/spec/containers/0/env/0/value".to_owned(),
        before: Side::Value(json!("8")),
        after: Side::Value(json!("12")),
    };
    let hidden = FieldChange {
        path: "data.password".to_owned(),
        pointer: "/data/password".to_owned(),
        before: Side::Hidden,
        after: Side::Hidden,
    };
    let plan = Plan {
        revision: Some(wanted.revision),
        front: vec![
            step(
                "Deployment",
                "search",
                apply("Deployment", "search"),
                Reason::Update,
                vec![change],
            ),
            step(
                "Secret",
                "search",
                apply("Secret", "search"),
                Reason::Update,
                vec![hidden],
            ),
        ],
        waiting: vec![(
            step("ConfigMap", "search-old", prune, Reason::Gone, Vec::new()),
            Waiting::Approval(Asked::Policy),
        )],
        unstepped: BTreeMap::from([
            (id("Service", "search"), Unstepped::InSync),
            (id("ConfigMap", "kept"), Unstepped::PruneDisabled),
        ]),
    };
    app.plan_digest = Some(plan.digest());
    app.plan = Some(Arc::new(plan));
    app
}

/// An apply; the manifest holds a value that must never be shown.
fn apply(kind: &str, name: &str) -> Action {
    let text = format!(
        "apiVersion: v1
kind: {kind}
metadata: {{name: {name}, namespace: shop}}
data: {{password: '{HIDDEN}'}}
spec:
  template:
    spec:
      containers:
      - name: {name}
        env:
        - name: SHARDS
          value: '12'
"
    );
    let manifest = read_objects(
        text.as_bytes(),
        "apps/search/prod/search.yaml",
        &Limits::default(),
    )
    .expect("YAML")
    .remove(0);
    Action::Apply(Arc::new(Wanted {
        id: id(kind, name),
        gvk: manifest.gvk(),
        scope: Scope::Namespaced,
        digest: manifest.digest(),
        manifest: Arc::new(manifest),
        wave: 0,
        ignored: Vec::new(),
        handed_over: Vec::new(),
        manner: Manner::default(),
        recreate: false,
    }))
}

pub(super) fn syncing() -> AppView {
    let wanted = commit(
        "4f2a9c1",
        "ledger, storefront: read reports from replicas",
        "wren",
        "14:30:21",
    );
    let mut app = app("prod", "storefront");
    let live = app.strips.remove(0);
    app.word = Word::Syncing;
    app.since = at("14:31:04");
    app.why = Some(why(
        "health.progressing",
        "6 of 8 pods ready",
        "lockstep wait storefront -e prod",
    ));
    let running = [
        Outcome::Done,
        Outcome::Done,
        Outcome::Done,
        Outcome::Done,
        Outcome::Running,
    ];
    app.wanted = Some(wanted.clone());
    app.strips = vec![
        Strip {
            commit: wanted,
            live: false,
            steps: steps(running, "14:30:23"),
        },
        live,
    ];
    app
}

pub(super) fn unknown() -> AppView {
    let mut app = app("dev", "sessions");
    app.word = Word::Unknown;
    app.sync = SyncStatus::Unknown;
    app.health = Health::Unknown {
        why: "may not list".to_owned(),
    };
    app.since = at("14:02:00");
    app.why = Some(why(
        "unknown.permission",
        "Health can’t be read: may not list cacheclusters.example.io",
        "ask whoever runs Lockstep to grant list on cacheclusters.example.io",
    ));
    if let Some(strip) = app.strips.first_mut() {
        strip.steps = steps(
            [
                Outcome::Done,
                Outcome::Done,
                Outcome::Done,
                Outcome::Done,
                Outcome::None,
            ],
            "13:58:13",
        );
    }
    app
}
