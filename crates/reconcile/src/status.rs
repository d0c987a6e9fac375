//! An Application's status in Argo CD's shape: the only writer of it.
//!
//! Source: `argo-cd` 1.7 as its types define it; what it has no word for stands under `lockstep`.

use lockstep_manifest::Health;
use serde_json::{Map, Value, json};

use crate::event::Until;
use crate::view::{AppView, HistoryView, ObjectView, OperationView, SyncStatus, Verified};

/// The fields of `status` that we write. Others (a hydrator's, an older controller's) are left as they are.
pub const STATUS_FIELDS: &[&str] = &[
    "sync",
    "health",
    "resources",
    "operationState",
    "history",
    "conditions",
    "summary",
    "reconciledAt",
    "sourceType",
    "controllerNamespace",
    "resourceHealthSource",
    "lockstep",
];

/// The status of this app.
///
/// Shape: every field of [`STATUS_FIELDS`] is there or null, so that a merge patch of it leaves nothing stale behind;
/// but for `operationState`, which is left out, hence left as it is, when no sync is known.
/// Only `reconciledAt` changes without anything else having changed.
pub fn status(view: &AppView) -> Value {
    let revision = view
        .wanted
        .as_ref()
        .map(|commit| commit.revision.as_str().to_owned());
    let source = source(view);
    let mut sync = json!({
        "status": view.sync.text(),
        "comparedTo": {
            "source": source,
            "destination": {"server": view.destination, "namespace": view.namespace},
        },
    });
    if let Some(revision) = &revision {
        sync["revision"] = json!(revision);
    }
    let mut conditions: Vec<Value> = view
        .conditions
        .iter()
        .map(|c| json!({"type": c.kind, "message": c.message, "lastTransitionTime": seconds(c.at)}))
        .collect();
    conditions.sort_by_key(|c| c["type"].as_str().map(str::to_owned));
    let mut whole = json!({
        "sync": sync,
        "health": health(&view.health),
        "resources": resources(view),
        "history": history(view.history.iter().rev(), &source),
        "conditions": if conditions.is_empty() { Value::Null } else { Value::Array(conditions) },
        "summary": {"images": images(view)},
        "reconciledAt": view.compared_at.map(seconds),
        "sourceType": if view.source.kind.is_empty() { Value::Null } else { json!(view.source.kind) },
        "controllerNamespace": view.key.namespace,
        "lockstep": ours(view),
    });
    if let Some(operation) = &view.operation {
        whole["operationState"] = operation_state(operation, &source);
    }
    whole
}

/// Would both views make the same status, but for times of comparison? Without making either.
pub fn tells_the_same(a: &AppView, b: &AppView) -> bool {
    // Whoever adds a field has to say here whether the status tells it.
    let AppView {
        key,
        uid: _,
        name,
        environment,
        project: _,
        word,
        since: _,
        why,
        sync,
        health,
        live,
        wanted,
        strips: _,
        drift: _,
        plan: _,
        plan_digest,
        objects,
        history,
        events: _,
        log: _,
        rollback,
        policy,
        conditions,
        source,
        destination,
        namespace,
        operation,
        compared_at: _,
        images,
        automated: _,
    } = a;
    let row = |object: &ObjectView| (object.sync, object.requires_pruning, object.wave);
    let rows = |other: &[ObjectView]| {
        objects.len() == other.len()
            && objects.iter().zip(other).all(|(a, b)| {
                row(a) == row(b) && a.health == b.health && a.version == b.version && a.id == b.id
            })
    };
    *word == b.word
        && *sync == b.sync
        && *why == b.why
        && *health == b.health
        && *wanted == b.wanted
        && *live == b.live
        && *operation == b.operation
        && *plan_digest == b.plan_digest
        && rows(&b.objects)
        && *conditions == b.conditions
        && *history == b.history
        && *rollback == b.rollback
        && *policy == b.policy
        && *images == b.images
        && *source == b.source
        && (key, name, environment) == (&b.key, &b.name, &b.environment)
        && (destination, namespace) == (&b.destination, &b.namespace)
}

/// What of a status decides how soon it is told.
#[derive(Debug, Default, PartialEq)]
pub struct Gist {
    /// Argo CD's axis.
    pub sync: Box<str>,
    /// Our one word.
    pub state: Box<str>,
    /// The last sync.
    pub operation: Box<str>,
    /// When it ended.
    pub finished: Box<str>,
    /// The worst health.
    pub health: Box<str>,
    /// The commit.
    pub revision: Box<str>,
}

impl Gist {
    /// Of what is to be told.
    pub fn of(view: &AppView) -> Self {
        let operation = view.operation.as_ref();
        let finished = operation.and_then(|operation| operation.finished_at);
        let revision = view.wanted.as_ref().map(|wanted| wanted.revision.as_str());
        Self {
            sync: view.sync.text().into(),
            state: state(view).into(),
            operation: operation.map(|o| o.id.as_str()).unwrap_or_default().into(),
            finished: finished.map(seconds).unwrap_or_default().into(),
            health: health_word(&view.health).into(),
            revision: revision.unwrap_or_default().into(),
        }
    }

    /// Of what was told.
    pub fn read(status: &Value) -> Self {
        let text = |of: &str, field: &str| status[of][field].as_str().unwrap_or_default().into();
        let operation = &status["operationState"]["lockstep"]["id"];
        Self {
            sync: text("sync", "status"),
            state: text("lockstep", "state"),
            operation: operation.as_str().unwrap_or_default().into(),
            finished: text("operationState", "finishedAt"),
            health: text("health", "status"),
            revision: text("sync", "revision"),
        }
    }
}

/// What Argo CD has no word for: the one word, the sentence, what to do next, the policy and who decided it.
fn ours(view: &AppView) -> Value {
    let mut ours = Map::new();
    ours.insert("state".to_owned(), json!(state(view)));
    ours.insert("app".to_owned(), json!(view.name));
    ours.insert("environment".to_owned(), json!(view.environment));
    if let Some(why) = &view.why {
        ours.insert(
            "reason".to_owned(),
            json!({"code": why.code, "text": why.text, "next": why.next}),
        );
    }
    if let Some(policy) = &view.policy {
        let by = |by: lockstep_app::policy::DecidedBy| match by {
            lockstep_app::policy::DecidedBy::Application => "application",
            lockstep_app::policy::DecidedBy::Environment => "environment",
            lockstep_app::policy::DecidedBy::Both => "both",
        };
        ours.insert("policy".to_owned(), json!({
            "newCommit": {"value": new_commit(policy.new_commit), "decidedBy": by(policy.new_commit_by)},
            "drift": {"value": drift(policy.drift), "decidedBy": by(policy.drift_by)},
            "deletion": {"value": deletion(policy.deletion), "decidedBy": by(policy.deletion_by)},
        }));
    }
    if let Some(digest) = &view.plan_digest {
        ours.insert("plan".to_owned(), json!(digest.0));
    }
    if let Some(live) = &view.live {
        ours.insert("liveRevision".to_owned(), json!(live.revision.as_str()));
    }
    if let Some(rollback) = &view.rollback {
        let until = match rollback.until {
            Until::NewerCommit => "newer-commit".to_owned(),
            Until::Release => "release".to_owned(),
            Until::Time(at) => seconds(at),
        };
        ours.insert(
            "hold".to_owned(),
            json!({
                "to": rollback.to.as_str(), "reason": rollback.reason, "who": rollback.by,
                "at": seconds(rollback.at), "until": until,
            }),
        );
    }
    Value::Object(ours)
}

fn state(view: &AppView) -> String {
    view.word.text().to_lowercase()
}

fn new_commit(policy: lockstep_app::NewCommitPolicy) -> &'static str {
    use lockstep_app::NewCommitPolicy::{Apply, Approve, Hold};
    match policy {
        Apply => "apply",
        Approve => "approve",
        Hold => "hold",
    }
}

fn drift(policy: lockstep_app::DriftPolicy) -> String {
    use lockstep_app::DriftPolicy::{Heal, HealAfter, Report};
    match policy {
        Heal => "heal".to_owned(),
        HealAfter(wait) => format!("healAfter: {}s", wait.as_secs()),
        Report => "report".to_owned(),
    }
}

fn deletion(policy: lockstep_app::DeletionPolicy) -> &'static str {
    use lockstep_app::DeletionPolicy::{Approve, Keep, Prune};
    match policy {
        Prune => "prune",
        Approve => "approve",
        Keep => "keep",
    }
}

fn source(view: &AppView) -> Value {
    json!({
        "repoURL": view.source.remote,
        "path": view.source.path,
        "targetRevision": view.source.target,
    })
}

/// Argo CD has no neutral word on an app: what has no rule counts as healthy.
fn health_word(health: &Health) -> &'static str {
    if *health == Health::None {
        "Healthy"
    } else {
        health.word()
    }
}

fn health(health: &Health) -> Value {
    let word = health_word(health);
    match health.why() {
        Some(why) if !why.is_empty() => json!({"status": word, "message": why}),
        _ => json!({"status": word, "message": null}),
    }
}

fn resources(view: &AppView) -> Value {
    let mut rows: Vec<(String, Value)> = view
        .objects
        .iter()
        .map(|object| {
            let id = &object.id;
            let mut row = Map::new();
            let mut put = |key: &str, value: &str| {
                if !value.is_empty() {
                    row.insert(key.to_owned(), json!(value));
                }
            };
            put("group", &id.group);
            put("version", &object.version);
            put("kind", &id.kind);
            put("namespace", &id.namespace);
            put("name", &id.name);
            put("status", object.sync.text());
            if object.requires_pruning {
                row.insert("requiresPruning".to_owned(), json!(true));
            }
            if object.wave != 0 {
                row.insert("syncWave".to_owned(), json!(object.wave));
            }
            if object.health != Health::None {
                row.insert(
                    "health".to_owned(),
                    match object.health.why() {
                        Some(why) if !why.is_empty() => {
                            json!({"status": object.health.word(), "message": why})
                        }
                        _ => json!({"status": object.health.word()}),
                    },
                );
            }
            let key = format!("{}/{}/{}/{}", id.group, id.kind, id.namespace, id.name);
            (key, Value::Object(row))
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Array(rows.into_iter().map(|(_, row)| row).collect())
}

fn operation_state(operation: &OperationView, source: &Value) -> Value {
    let revision = operation
        .revision
        .as_ref()
        .map(lockstep_app::app::Revision::as_str);
    let automated = operation.by == "automated";
    let by = if automated {
        json!({"automated": true})
    } else {
        json!({"username": operation.by})
    };
    let results: Vec<Value> = operation
        .results
        .iter()
        .map(|result| {
            let phase = result.phase.text();
            let ended = if result.status == "SyncFailed" {
                "Failed"
            } else {
                "Succeeded"
            };
            let mut row = json!({
                "group": result.id.group, "version": result.version, "kind": result.id.kind,
                "namespace": result.id.namespace, "name": result.id.name, "status": result.status,
                "message": result.message, "syncPhase": phase,
                "hookPhase": result.hook.unwrap_or(ended),
            });
            if result.hook.is_some() {
                row["hookType"] = json!(phase);
            }
            row
        })
        .collect();
    json!({
        "operation": {
            "sync": {
                "revision": revision, "prune": operation.prune,
                "dryRun": Some(true).filter(|_| operation.dry_run),
            },
            "initiatedBy": by,
        },
        "phase": operation.phase.text(),
        "message": operation.message,
        "startedAt": seconds(operation.started_at),
        "retryCount": Some(operation.retries).filter(|times| *times > 0),
        "lockstep": {"id": operation.id, "verified": operation.verified.as_ref().map(verified)},
        "finishedAt": operation.finished_at.map(seconds),
        "syncResult": {
            "revision": revision.unwrap_or_default(), "source": source, "resources": results,
        },
    })
}

fn history<'a>(entries: impl Iterator<Item = &'a HistoryView>, source: &Value) -> Value {
    let rows: Vec<Value> = entries
        .map(|entry| {
            let by = if entry.by == "automated" {
                json!({"automated": true})
            } else {
                json!({"username": entry.by})
            };
            json!({
                "id": entry.id, "revision": entry.commit.revision.as_str(), "source": source,
                "deployStartedAt": seconds(entry.started_at), "deployedAt": seconds(entry.deployed_at),
                "initiatedBy": by,
                "lockstep": {"subject": entry.commit.subject, "author": entry.commit.author,
                             "objects": entry.objects, "bundle": entry.bundle.as_ref().map(|digest| &digest.0),
                             "bases": bases(entry)},
            })
        })
        .collect();
    if rows.is_empty() {
        Value::Null
    } else {
        Value::Array(rows)
    }
}

/// Argo CD's `Succeeded` is said when everything is applied; whether it became healthy is said here.
fn verified(verified: &Verified) -> Value {
    match verified {
        Verified::Pending => json!({"state": "Pending"}),
        Verified::Yes(at) => json!({"state": "Verified", "at": seconds(*at)}),
        Verified::No(why) => json!({"state": "NotVerified", "message": why}),
    }
}

/// As the record writes them; none is left out.
fn bases(entry: &HistoryView) -> Option<Vec<Value>> {
    let rows: Vec<Value> = entry
        .bases
        .iter()
        .map(|(base, revision)| {
            json!({
                "repoURL": base.remote.as_str(), "targetRevision": base.target,
                "revision": revision.as_str(),
            })
        })
        .collect();
    (!rows.is_empty()).then_some(rows)
}

fn images(view: &AppView) -> Vec<String> {
    view.images.clone()
}

/// Kubernetes writes whole seconds.
fn seconds(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Is this what the status says already, but for times of comparison and transition?
pub fn says_the_same(published: &Value, status: &Value) -> bool {
    STATUS_FIELDS
        .iter()
        .filter(|field| **field != "reconciledAt")
        .filter_map(|field| Some((field, status.get(*field)?)))
        .all(|(field, wanted)| {
            let stands = published.get(*field).unwrap_or(&Value::Null);
            is_the_same(stands, wanted)
        })
}

/// A server keeps no nulls, so they are left out of comparisons, as are times that say nothing new. Nesting is
/// bounded by what we write ourselves.
fn is_the_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let said =
                |(key, value): &(&String, &Value)| !value.is_null() && *key != "lastTransitionTime";
            let b_has = |(key, value): (&String, &Value)| {
                b.get(key).is_some_and(|other| is_the_same(value, other))
            };
            let (mut in_a, in_b) = (a.iter().filter(said), b.iter().filter(said));
            a.iter().filter(said).count() == in_b.count() && in_a.all(b_has)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_the_same(a, b))
        }
        (a, b) => a == b,
    }
}

impl SyncStatus {
    /// Is it known, and known to be equal?
    pub fn is_synced(self) -> bool {
        self == Self::Synced
    }
}
