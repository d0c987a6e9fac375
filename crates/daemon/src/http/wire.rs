//! The board in wire types: the one place where our own types become the contract.

use lockstep_api::app::{
    App, AppSummary, Application, Axis, Commit, Condition, Event, GitPlace, HealthState, Links,
    Neighbours, NextMove, Object, ObjectRef, Policy, Reason, Sections, SetBy, Source, State,
    StepOutcome, Strip, StripKind, StripStep, SyncState,
};
use lockstep_api::drift::{Change, Drift, DriftField, DriftObject, Precision, Writer};
use lockstep_api::text;
use lockstep_api::time::Time;
use lockstep_app::config::{Access, Config};
use lockstep_app::policy::DecidedBy;
use lockstep_app::{DeletionPolicy, DriftPolicy, NewCommitPolicy};
use lockstep_manifest::{Health, ObjectId, Place};
use lockstep_plan::Side;
use lockstep_reconcile::view::{self, AppView, CommitView, Outcome, Word};
use serde_json::Value;

use super::words;
use crate::board::Board;

mod commands;
mod others;
mod overview;
mod past;
mod plan;

pub(super) use overview::{environments, overview};
pub(super) use past::{history, log, operation};
pub(super) use plan::plan;

/// Are pages and reads open to whoever reaches the port?
pub(super) fn pages_are_open(config: &Config) -> bool {
    config.http.access == Access::Open
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// `prod/checkout`.
pub(super) fn key(env: &str, name: &str) -> String {
    format!("{env}/{name}")
}

pub(super) fn state(word: Word) -> State {
    match word {
        Word::Failing => State::Failing,
        Word::Drifted => State::Drifted,
        Word::Held => State::Held,
        Word::Unknown => State::Unknown,
        Word::Syncing => State::Syncing,
        Word::Synced => State::Synced,
    }
}

fn outcome(outcome: Outcome) -> StepOutcome {
    match outcome {
        Outcome::Done => StepOutcome::Done,
        Outcome::Running => StepOutcome::Running,
        Outcome::Failed => StepOutcome::Failed,
        Outcome::Held => StepOutcome::Held,
        Outcome::Skipped => StepOutcome::Skipped,
        Outcome::None => StepOutcome::None,
    }
}

fn sync_state(status: view::SyncStatus) -> SyncState {
    match status {
        view::SyncStatus::Synced => SyncState::InSync,
        view::SyncStatus::OutOfSync => SyncState::OutOfSync,
        view::SyncStatus::Unknown => SyncState::Unknown,
    }
}

fn health_state(health: &Health) -> Option<HealthState> {
    match health {
        Health::Healthy => Some(HealthState::Healthy),
        Health::Progressing { .. } => Some(HealthState::Progressing),
        Health::Degraded { .. } => Some(HealthState::Degraded),
        Health::Suspended { .. } => Some(HealthState::Suspended),
        Health::Missing => Some(HealthState::Missing),
        Health::Unknown { .. } => Some(HealthState::Unknown),
        Health::None => None,
    }
}

pub(super) fn commit(commit: &CommitView) -> Commit {
    Commit {
        sha: commit.revision.to_string(),
        short: commit.revision.short().to_owned(),
        subject: commit.subject.clone(),
        author: commit.author.clone(),
        committed_at: commit.committed_at.map(Time::from),
    }
}

pub(super) fn object_ref(id: &ObjectId) -> ObjectRef {
    ObjectRef {
        group: id.group.clone(),
        kind: id.kind.clone(),
        namespace: Some(id.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: id.name.clone(),
    }
}

/// Where git says something, and where it said something else before, oldest first.
fn git_places(places: &[Place]) -> (Option<GitPlace>, Vec<GitPlace>) {
    match places.split_last() {
        None => (None, Vec::new()),
        Some((last, before)) => (
            Some(git_place(last)),
            before.iter().map(git_place).collect(),
        ),
    }
}

fn git_place(place: &Place) -> GitPlace {
    GitPlace {
        file: place.file.to_string(),
        line: place.line,
    }
}

/// A side's value, and whether it is one that is not shown.
fn side(side: &Side) -> (Option<Value>, bool) {
    match side {
        Side::Absent => (None, false),
        Side::Hidden => (None, true),
        Side::Value(value) => (Some(value.clone()), false),
    }
}

/// How many fields differ; an object that is gone counts as one.
pub(super) fn drift_fields(app: &AppView) -> u64 {
    app.drift
        .iter()
        .map(|object| count(object.fields.len()).max(1))
        .sum()
}

/// Is it a command that can be pasted, or does it say who has to move?
pub(super) fn next_move(text: &str) -> NextMove {
    let command = ["lockstep ", "kubectl ", "git "]
        .iter()
        .any(|tool| text.starts_with(tool));
    if command {
        NextMove {
            command: Some(text.to_owned()),
            who: None,
        }
    } else {
        NextMove {
            command: None,
            who: Some(text.to_owned()),
        }
    }
}

/// The strip that a row shows: of the commit on its way, else of the live one.
fn row_strip(app: &AppView) -> Vec<StepOutcome> {
    app.strips
        .iter()
        .find(|strip| !strip.live)
        .or_else(|| app.strips.first())
        .map(|strip| {
            strip
                .steps
                .iter()
                .map(|step| outcome(step.outcome))
                .collect()
        })
        .unwrap_or_default()
}

/// One app as a list shows it.
pub(super) fn summary(board: &Board, app: &AppView) -> AppSummary {
    let at = (app.environment.clone(), app.name.clone());
    AppSummary {
        key: key(&app.environment, &app.name),
        env: app.environment.clone(),
        name: app.name.clone(),
        version: board.changed.get(&at).copied().unwrap_or(board.version),
        state: state(app.word),
        since: app.since.into(),
        reason: app.why.as_ref().map(|why| Reason {
            code: why.code.clone(),
            text: why.text.clone(),
        }),
        next: app
            .why
            .as_ref()
            .and_then(|why| why.next.as_deref())
            .map(next_move),
        live: app.live.as_ref().map(commit),
        wanted: app.wanted.as_ref().map(commit),
        strip: row_strip(app),
        sync: sync_state(app.sync),
        health: health_state(&app.health),
        drift_fields: drift_fields(app),
        links: Links {
            html: words::app_href(&app.environment, &app.name),
        },
    }
}

/// One app with everything but the long sections.
pub(super) fn app(board: &Board, app: &AppView) -> App {
    let here = |env: &str, name: &str| env == app.environment && name == app.name;
    let siblings: Vec<&str> = board
        .apps
        .keys()
        .filter(|(env, _)| *env == app.environment)
        .map(|(_, name)| name.as_str())
        .collect();
    let at = siblings.iter().position(|name| *name == app.name);
    let neighbour = |at: Option<usize>| {
        at.and_then(|at| siblings.get(at))
            .map(|name| (*name).to_owned())
    };
    App {
        summary: summary(board, app),
        strips: app.strips.iter().map(strip).collect(),
        commands: commands::commands(app),
        source: Source {
            repository: app.source.remote.clone(),
            target: app.source.target.clone(),
            path: app.source.path.clone(),
            renderer: Some(app.source.kind.clone()).filter(|kind| !kind.is_empty()),
            cluster: app.destination.clone(),
            namespace: app.namespace.clone(),
        },
        policy: app.policy.as_ref().map(policy),
        sections: Sections {
            drift: drift_fields(app),
            plan: app
                .plan
                .as_ref()
                .map_or(0, |plan| count(plan.steps().count())),
            objects: count(app.objects.len()),
            history: count(app.history.len()),
            log: count(app.log.len()),
            events: count(app.events.len()),
        },
        plan: app.plan_digest.as_ref().map(ToString::to_string),
        operation: app.operation.as_ref().map(operation),
        rollback: app.rollback.as_ref().map(past::rollback),
        conditions: app
            .conditions
            .iter()
            .map(|condition| Condition {
                kind: condition.kind.clone(),
                message: condition.message.clone(),
                at: condition.at.into(),
            })
            .collect(),
        application: Application {
            namespace: app.key.namespace.clone(),
            name: app.key.name.clone(),
            uid: app.uid.to_string(),
            project: app.project.clone(),
        },
        compared_at: app.compared_at.map(Time::from),
        also: board
            .apps
            .keys()
            .filter(|(env, name)| *name == app.name && !here(env, name))
            .map(|(env, _)| env.clone())
            .collect(),
        neighbours: Neighbours {
            previous: neighbour(at.and_then(|at| at.checked_sub(1))),
            next: neighbour(at.map(|at| at + 1)),
        },
    }
}

fn strip(strip: &view::Strip) -> Strip {
    Strip {
        commit: commit(&strip.commit),
        kind: if strip.live {
            StripKind::Live
        } else {
            StripKind::Next
        },
        steps: strip.steps.iter().map(strip_step).collect(),
        total_ms: seen_to_healthy(strip),
    }
}

/// From the moment we saw the commit to healthy. Not from the commit's own time: somebody may have written it days
/// before it was pushed, and clocks differ.
fn seen_to_healthy(strip: &view::Strip) -> Option<u64> {
    let seen = strip.steps.iter().find_map(|step| step.ended_at)?;
    let healthy = strip.steps.iter().find(|step| step.name == "health")?;
    if !matches!(healthy.outcome, Outcome::Done | Outcome::Skipped) {
        return None;
    }
    Time::from(healthy.ended_at?).millis_since(seen.into())
}

fn strip_step(step: &view::StripStep) -> StripStep {
    let started: Option<Time> = step.started_at.map(Time::from);
    let ended: Option<Time> = step.ended_at.map(Time::from);
    StripStep {
        name: step.name.to_owned(),
        outcome: outcome(step.outcome),
        started_at: started,
        ended_at: ended,
        took_ms: started
            .zip(ended)
            .and_then(|(started, ended)| ended.millis_since(started)),
        facts: step.facts.clone(),
    }
}

fn set_by(by: DecidedBy) -> SetBy {
    match by {
        DecidedBy::Application => SetBy::Application,
        DecidedBy::Environment => SetBy::Environment,
        DecidedBy::Both => SetBy::Both,
    }
}

fn new_commit_code(policy: NewCommitPolicy) -> &'static str {
    match policy {
        NewCommitPolicy::Apply => "apply",
        NewCommitPolicy::Approve => "approve",
        NewCommitPolicy::Hold => "hold",
    }
}

fn drift_code(policy: DriftPolicy) -> &'static str {
    match policy {
        DriftPolicy::Heal => "heal",
        DriftPolicy::HealAfter(_) => "healAfter",
        DriftPolicy::Report => "report",
    }
}

fn deletion_code(policy: DeletionPolicy) -> &'static str {
    match policy {
        DeletionPolicy::Prune => "prune",
        DeletionPolicy::Approve => "approve",
        DeletionPolicy::Keep => "keep",
    }
}

fn policy(policy: &lockstep_app::Policy) -> Policy {
    let axis = |value: &str, by| Axis {
        value: value.to_owned(),
        after_ms: None,
        set_by: set_by(by),
    };
    let after_ms = match policy.drift {
        DriftPolicy::HealAfter(wait) => u64::try_from(wait.as_millis()).ok(),
        DriftPolicy::Heal | DriftPolicy::Report => None,
    };
    Policy {
        new_commit: axis(new_commit_code(policy.new_commit), policy.new_commit_by),
        drift: Axis {
            after_ms,
            ..axis(drift_code(policy.drift), policy.drift_by)
        },
        deletion: axis(deletion_code(policy.deletion), policy.deletion_by),
    }
}

/// The drift ledger of an app.
pub(super) fn drift(app: &AppView) -> Drift {
    Drift {
        checked_at: app.compared_at.map(Time::from),
        objects_compared: count(app.objects.len()),
        fields: drift_fields(app),
        policy: app
            .policy
            .as_ref()
            .map(|policy| drift_code(policy.drift).to_owned()),
        objects: app
            .drift
            .iter()
            .map(|object| DriftObject {
                id: object_ref(&object.id),
                missing: object.missing,
                will_revert_at: object.heal_at.map(Time::from),
                fields: object.fields.iter().map(drift_field).collect(),
            })
            .collect(),
        others: app.objects.iter().filter_map(others::fields).collect(),
    }
}

fn drift_field(field: &view::DriftField) -> DriftField {
    let (git, git_hidden) = side(&field.git);
    let (live, live_hidden) = side(&field.cluster);
    let kind = match (&field.git, &field.cluster) {
        (Side::Absent, _) => Change::Added,
        (_, Side::Absent) => Change::Removed,
        _ => Change::Changed,
    };
    let noticed: Time = field.noticed_at.into();
    let (git_at, git_before) = git_places(&field.places);
    DriftField {
        path: field.path.clone(),
        kind,
        git,
        live,
        sensitive: git_hidden || live_hidden,
        git_at,
        git_before,
        by: field.by.iter().map(|by| writer(by, noticed)).collect(),
        noticed_at: noticed,
    }
}

/// The server's bookkeeping tells a manager's last write to the object, whole seconds: exact for this field when we
/// noticed the change in that very second, else only an upper bound.
fn writer(by: &lockstep_manifest::fields::Writer, noticed: Time) -> Writer {
    let at = by.at.map(Time::from);
    let exact = at.is_some_and(|at| noticed.millis_since(at).is_some_and(|millis| millis < 2000));
    Writer {
        manager: by.manager.clone(),
        operation: by.operation.clone(),
        subresource: by.subresource.clone(),
        at,
        precision: if exact {
            Precision::Exact
        } else {
            Precision::NoLaterThan
        },
    }
}

/// The managed objects of an app.
pub(super) fn objects(app: &AppView) -> Vec<Object> {
    app.objects
        .iter()
        .map(|object| Object {
            id: object_ref(&object.id),
            version: object.version.clone(),
            sync: sync_state(object.sync),
            health: health_state(&object.health),
            health_text: object.health.why().map(str::to_owned),
            fact: object.fact.clone(),
            requires_pruning: object.requires_pruning,
            wave: object.wave,
            why: object.why.clone(),
            git_at: object.place.as_ref().map(git_place),
            others: others::fields(object).as_ref().map(text::others),
        })
        .collect()
}

/// What happened to an app, newest first.
pub(super) fn events(app: &AppView) -> Vec<Event> {
    app.events
        .iter()
        .map(|event| Event {
            at: event.at.into(),
            text: event.text.clone(),
            source: event.source.clone(),
        })
        .collect()
}
