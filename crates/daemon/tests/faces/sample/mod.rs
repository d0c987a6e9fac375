//! A made-up board: three environments, apps in all six states. For tests of the faces, and for looking at the page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::Bases;
use lockstep_app::app::Revision;
use lockstep_app::config::{Access, Config, Environment, Environments};
use lockstep_app::policy::{DecidedBy, Policy, PruneBudget};
use lockstep_app::{AppKey, DeletionPolicy, DriftPolicy, NewCommitPolicy};
use lockstep_daemon::board::{Board, Command, Faces, RepositoryView};
use lockstep_manifest::{Digest, Health, ObjectId, Sensitive, Uid};
use lockstep_plan::{Plan, Unstepped};
use lockstep_reconcile::view::{
    AppView, CommitView, EventView, HistoryView, LogKind, LogView, ObjectView, Outcome, SourceView,
    Strip, StripStep, SyncStatus, Word,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};

mod apps;
mod deeds;

pub(crate) use apps::{drifted, failing, held};
use apps::{syncing, unknown};
pub(crate) use deeds::{leaving, rolled_back, verified, with_hooks_to_run};

/// The token that may write.
pub(crate) const TOKEN: &str = "a-token-for-tests-of-the-faces";
/// The secret of the webhook.
pub(crate) const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";
/// A value that must never be shown.
pub(crate) const HIDDEN: &str = "c2VjcmV0LXZhbHVlLW5ldmVyLXNob3du";
/// The repository of every app.
pub(crate) const REMOTE: &str = "https://git.example.org/example-org/deploy.git";

/// The moment of the sample.
pub(crate) fn now() -> Timestamp {
    at("14:32:07")
}

/// A time of the sample's day.
pub(crate) fn at(clock: &str) -> Timestamp {
    format!("2026-03-12T{clock}Z")
        .parse()
        .expect("a clock time")
}

/// A commit by its first seven digits.
pub(crate) fn commit(short: &str, subject: &str, author: &str, clock: &str) -> CommitView {
    CommitView {
        revision: revision(short),
        subject: subject.to_owned(),
        author: author.to_owned(),
        committed_at: Some(at(clock)),
    }
}

/// A revision by its first seven digits.
pub(crate) fn revision(short: &str) -> Revision {
    format!("{short}{}", "0".repeat(40 - short.len()))
        .parse()
        .expect("hex digits")
}

/// An object's name.
pub(crate) fn id(kind: &str, name: &str) -> ObjectId {
    let group = match kind {
        "Deployment" => "apps",
        "Ingress" => "networking.k8s.io",
        "HorizontalPodAutoscaler" => "autoscaling",
        _ => "",
    };
    ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn steps(outcomes: [Outcome; 5], from: &str) -> Vec<StripStep> {
    let names = ["commit", "render", "diff", "apply", "health"];
    let facts: [&[&str]; 5] = [
        &["webhook 2 s later"],
        &["42 objects", "kustomize, overlays/prod"],
        &["4 to change, 0 to prune", "38 the same"],
        &["4 objects, 0 conflicts", "server-side, by lockstep"],
        &["6 of 6 pods ready"],
    ];
    let took = [100, 400, 900, 3_600, 64_000];
    let mut clock = at(from);
    names
        .into_iter()
        .zip(outcomes)
        .zip(facts)
        .zip(took)
        .map(|(((name, outcome), facts), millis)| {
            let started = clock;
            let reached = outcome != Outcome::None;
            let ended = matches!(outcome, Outcome::Done | Outcome::Failed);
            clock += Duration::from_millis(millis);
            StripStep {
                name,
                outcome,
                started_at: reached.then_some(started),
                ended_at: ended.then_some(clock),
                facts: if reached {
                    facts.iter().map(|fact| (*fact).to_owned()).collect()
                } else {
                    Vec::new()
                },
            }
        })
        .collect()
}

/// A synced app.
pub(crate) fn app(env: &str, name: &str) -> AppView {
    let live = commit("e1a9d42", &format!("{name} 5.2.1"), "ilka", "13:58:11");
    AppView {
        key: AppKey {
            namespace: "argocd".to_owned(),
            name: format!("{env}-{name}"),
        },
        uid: Uid(format!("uid-{env}-{name}")),
        name: name.to_owned(),
        environment: env.to_owned(),
        project: "default".to_owned(),
        word: Word::Synced,
        since: at("13:59:23"),
        why: None,
        sync: SyncStatus::Synced,
        health: Health::Healthy,
        live: Some(live.clone()),
        wanted: Some(live.clone()),
        strips: vec![Strip {
            commit: live.clone(),
            live: true,
            steps: steps([Outcome::Done; 5], "13:58:13"),
        }],
        drift: Vec::new(),
        plan: Some(Arc::new(Plan {
            revision: Some(live.revision.clone()),
            front: Vec::new(),
            waiting: Vec::new(),
            unstepped: BTreeMap::from([(id("Service", name), Unstepped::InSync)]),
        })),
        plan_digest: None,
        objects: [
            "Deployment",
            "Service",
            "Ingress",
            "HorizontalPodAutoscaler",
            "ServiceAccount",
        ]
        .into_iter()
        .map(|kind| object(kind, name))
        .chain((0..8).map(|n| object("ConfigMap", &format!("{name}-{n}"))))
        .collect(),
        history: VecDeque::from([
            HistoryView {
                id: 47,
                commit: live,
                started_at: at("13:58:13"),
                deployed_at: at("13:59:23"),
                by: "automated".to_owned(),
                objects: 4,
                bundle: None,
                bases: Bases::new(),
            },
            HistoryView {
                id: 46,
                commit: commit(
                    "a3f19d7",
                    "keep 4 pods during node upgrades",
                    "wren",
                    "09:13:00",
                ),
                started_at: at("09:13:12"),
                deployed_at: at("09:14:00"),
                by: "bas".to_owned(),
                objects: 1,
                bundle: None,
                bases: Bases::new(),
            },
        ]),
        log: VecDeque::from([
            deed(
                LogKind::Heal,
                &format!("apps/Deployment shop/{name}"),
                ("14:10:02", "14:10:03"),
                &format!(
                    "apps/Deployment shop/{name}: spec.replicas put back from 9 to 6, changed by kubectl (scale)"
                ),
            ),
            deed(
                LogKind::Sync,
                "op-5b1e22aa",
                ("13:58:13", "13:59:23"),
                "synced e1a9d42: 4 objects written",
            ),
        ]),
        rollback: None,
        events: VecDeque::from([
            event("13:59:23", "Healthy: 6 of 6 pods ready.", "cluster"),
            event("13:58:19", "Applied 4 objects, 0 conflicts.", "lockstep"),
            event("13:58:13", "The target names e1a9d42.", "git"),
        ]),
        policy: Some(Policy {
            new_commit: NewCommitPolicy::Apply,
            new_commit_by: DecidedBy::Both,
            drift: DriftPolicy::HealAfter(Duration::from_mins(5)),
            drift_by: DecidedBy::Environment,
            deletion: DeletionPolicy::Approve,
            deletion_by: DecidedBy::Environment,
            prune_budget: PruneBudget::default(),
            allow_empty: false,
        }),
        conditions: Vec::new(),
        source: SourceView {
            remote: REMOTE.to_owned(),
            target: "main".to_owned(),
            path: format!("apps/{name}/overlays/{env}"),
            kind: "Kustomize".to_owned(),
        },
        destination: "https://kubernetes.default.svc".to_owned(),
        namespace: "shop".to_owned(),
        operation: None,
        compared_at: Some(at("14:31:58")),
        automated: true,
        images: vec!["registry.example.org/shop:5.2.1".to_owned()],
    }
}

/// Something that was done by itself, from one time to another.
pub(crate) fn deed(kind: LogKind, id: &str, (from, to): (&str, &str), text: &str) -> LogView {
    LogView {
        id: id.to_owned(),
        kind,
        by: "automated".to_owned(),
        started_at: at(from),
        finished_at: at(to),
        well: true,
        revision: Some(revision("e1a9d42")),
        spec: String::new(),
        objects: if kind == LogKind::Heal { 3 } else { 4 },
        text: text.to_owned(),
    }
}

fn event(clock: &str, text: &str, source: &str) -> EventView {
    EventView {
        at: at(clock),
        text: text.to_owned(),
        source: source.to_owned(),
    }
}

fn object(kind: &str, name: &str) -> ObjectView {
    ObjectView {
        id: id(kind, name),
        version: "v1".to_owned(),
        sync: SyncStatus::Synced,
        requires_pruning: false,
        health: if kind == "Deployment" {
            Health::Healthy
        } else {
            Health::None
        },
        fact: (kind == "Deployment").then(|| "6 of 6 ready".to_owned()),
        wave: 0,
        why: None,
        place: None,
        others: None,
    }
}

/// The configuration of the sample.
pub(crate) fn config(access: Access) -> Config {
    let mut config = Config::default();
    config.http.access = access;
    let environment = |name: &str, new_commit, drift| Environment {
        name: name.to_owned(),
        new_commit: Some(new_commit),
        drift: Some(drift),
        deletion: Some(DeletionPolicy::Approve),
        prune_budget: None,
    };
    config.environments = Environments::new(vec![
        environment("dev", NewCommitPolicy::Apply, DriftPolicy::Heal),
        environment(
            "staging",
            NewCommitPolicy::Apply,
            DriftPolicy::HealAfter(Duration::from_mins(5)),
        ),
        environment("prod", NewCommitPolicy::Approve, DriftPolicy::Report),
    ]);
    config
}

/// A board of these apps.
pub(crate) fn board_of(apps: Vec<AppView>) -> Board {
    let apps: BTreeMap<_, _> = apps
        .into_iter()
        .map(|app| ((app.environment.clone(), app.name.clone()), Arc::new(app)))
        .collect();
    let operations = apps
        .values()
        .filter_map(|app| app.operation.clone())
        .map(|operation| (operation.id.clone(), Arc::new(operation)))
        .collect();
    Board {
        version: 48_213,
        at: now(),
        started_at: at("08:00:00"),
        changed: apps.keys().map(|key| (key.clone(), 48_000)).collect(),
        apps,
        repositories: vec![RepositoryView {
            remote: REMOTE.parse().expect("an address"),
            head: Some(commit(
                "4f2a9c1",
                "ledger, storefront: read reports from replicas",
                "wren",
                "14:30:21",
            )),
            target: "main".to_owned(),
            asked_at: Some(at("14:31:58")),
            webhook_at: Some(at("14:30:23")),
            fault: None,
        }],
        operations,
        config: Arc::new(config(Access::Open)),
        config_fault: None,
        server: "https://kubernetes.default.svc".to_owned(),
        cluster_fault: None,
        leading: true,
        complete: true,
        permissive_projects: vec!["default".to_owned()],
        tokens: Arc::new(BTreeMap::from([(
            "ci".to_owned(),
            hex::encode(Sha256::digest(TOKEN.as_bytes())),
        )])),
        webhook_secret: Some(Sensitive::new(SECRET.to_owned())),
    }
}

/// Twenty-four apps in all six states.
pub(crate) fn board() -> Board {
    let names = [
        "catalog",
        "checkout",
        "gateway",
        "ledger",
        "recommend",
        "search",
        "sessions",
        "storefront",
    ];
    let mut apps: Vec<AppView> = ["dev", "staging", "prod"]
        .into_iter()
        .flat_map(|env| names.into_iter().map(move |name| app(env, name)))
        .collect();
    let fresh = commit(
        "4f2a9c1",
        "ledger, storefront: read reports from replicas",
        "wren",
        "14:30:21",
    );
    for app in &mut apps {
        if app.environment != "prod" && ["ledger", "storefront"].contains(&app.name.as_str()) {
            app.live = Some(fresh.clone());
            app.wanted = Some(fresh.clone());
        }
    }
    apps.extend([failing(), drifted(), held(), syncing(), unknown()]);
    board_of(apps)
}

/// Both ends of a board: what the faces hold, and what the engine would.
pub(crate) fn ends(board: Board) -> (Faces, watch::Sender<Arc<Board>>, mpsc::Receiver<Command>) {
    let (publish, board) = watch::channel(Arc::new(board));
    let (commands, ordered) = mpsc::channel(256);
    (Faces { board, commands }, publish, ordered)
}

/// The digest of a plan of the sample that is not the one in force.
pub(crate) fn another_digest() -> String {
    Digest::of(b"another plan").to_string()
}
