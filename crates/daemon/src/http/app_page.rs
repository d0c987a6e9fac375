//! What the page of one app shows, worked out before the template writes it.

use lockstep_api::app::{
    App, Axis, Condition, Event, HealthState, Object, SetBy, StepOutcome, SyncState,
};
use lockstep_api::plan::LeftAlone;
use lockstep_api::{State, text};
use lockstep_reconcile::view::AppView;

use super::pages::sentence;
use super::wire;
use super::words::{self, Now};

mod ledger;
mod past;
mod strip;

use ledger::{LedgerObject, PlanRow};
use past::{Deeds, HistoryRow, ResultRow};
use strip::StripBox;

/// How many objects that need attention, or that are calm, a page shows; the rest stands in the JSON.
const OBJECTS: usize = 200;

/// How many calm objects are shown unfolded.
const CALM: usize = 6;

/// How many steps of a plan are shown.
const STEPS: usize = 200;

/// How many of them are open.
const OPEN: usize = 3;

/// A piece of the page's aside.
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) text: String,
    pub(super) note: String,
    pub(super) code: bool,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact {
        label,
        text: text.into(),
        note: String::new(),
        code: false,
    }
}

fn code(label: &'static str, text: impl Into<String>) -> Fact {
    Fact {
        code: true,
        ..fact(label, text)
    }
}

pub(super) struct Link {
    pub(super) text: String,
    pub(super) href: String,
}

/// One line of what failed.
pub(super) struct FailureLine {
    pub(super) class: &'static str,
    pub(super) label: String,
    pub(super) text: String,
}

/// One managed object.
pub(super) struct ObjectRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) word: String,
    pub(super) fact: String,
    pub(super) note: String,
}

/// The page without what stands around it.
pub(super) struct AppBody {
    pub(super) now: Now,
    pub(super) role: &'static str,
    pub(super) because: String,
    pub(super) who: Option<String>,
    pub(super) env_href: String,
    pub(super) json_href: String,
    pub(super) also: Vec<Link>,
    pub(super) previous: Option<Link>,
    pub(super) next: Option<Link>,
    pub(super) strips: Vec<StripBox>,
    pub(super) failure: Vec<FailureLine>,
    pub(super) drift: Vec<LedgerObject>,
    pub(super) no_drift: String,
    pub(super) plan: Vec<PlanRow>,
    pub(super) plan_about: String,
    pub(super) plan_more: usize,
    pub(super) plan_href: String,
    pub(super) results: Vec<ResultRow>,
    pub(super) results_title: &'static str,
    pub(super) results_about: String,
    pub(super) going: Vec<LeftAlone>,
    pub(super) left: Vec<LeftAlone>,
    pub(super) left_about: String,
    pub(super) objects: Vec<ObjectRow>,
    pub(super) objects_about: String,
    pub(super) objects_more: usize,
    pub(super) objects_href: String,
    pub(super) calm: Vec<ObjectRow>,
    pub(super) calm_about: String,
    pub(super) history: Vec<HistoryRow>,
    pub(super) deeds: Option<Deeds>,
    pub(super) heals: Option<Deeds>,
    pub(super) events: Vec<Event>,
    pub(super) source: Vec<Fact>,
    pub(super) policy: Vec<Fact>,
    pub(super) operation: Option<Vec<Fact>>,
    pub(super) operation_title: &'static str,
    pub(super) rollback: Vec<Fact>,
    pub(super) conditions: Vec<Condition>,
    pub(super) app: App,
}

impl AppBody {
    pub(super) fn new(app: App, view: &AppView, now: Now) -> Self {
        let summary = &app.summary;
        let (env, name) = (summary.env.clone(), summary.name.clone());
        let link = |env: &str, name: &str, text: &str| Link {
            text: text.to_owned(),
            href: words::app_href(env, name),
        };
        let api = format!("/api/v1{}", words::app_href(&env, &name));
        let plan = wire::plan(view);
        let (objects, calm) = split_objects(view, plan.is_some());
        let shown = objects.len().min(OBJECTS) + calm.len().min(OBJECTS);
        let objects_more = (objects.len() + calm.len()).saturating_sub(shown);
        let calm_about = match (objects.is_empty(), calm.len()) {
            (true, 1) => "1 object, synced and healthy".to_owned(),
            (true, all) => format!("{all} objects, all synced and healthy"),
            (false, 1) => "1 more object, synced and healthy".to_owned(),
            (false, more) => format!("{more} more objects, all synced and healthy"),
        };
        let (objects, calm) = fold(objects, calm);
        let steps = plan.as_ref().map_or(0, |plan| plan.steps.len());
        let left = plan.as_ref().map_or(&[][..], |plan| &plan.left);
        // What is on its way out is waited for; everything else is left as it is.
        let (going, left): (Vec<_>, Vec<_>) = left
            .iter()
            .cloned()
            .partition(|one| one.code == "terminating");
        let (deeds, heals) = past::deeds(view);
        let is_tried = app.operation.as_ref().is_some_and(|o| o.dry_run);
        Self {
            now,
            role: words::role(summary.state),
            because: because(&app, now),
            who: summary.next.as_ref().and_then(|next| next.who.clone()),
            env_href: format!("/?env={}", words::segment(&env)),
            plan_href: format!("{api}/plan"),
            objects_href: format!("{api}/objects"),
            json_href: api,
            also: app
                .also
                .iter()
                .map(|other| link(other, &name, other))
                .collect(),
            previous: app
                .neighbours
                .previous
                .as_ref()
                .map(|other| link(&env, other, other)),
            next: app
                .neighbours
                .next
                .as_ref()
                .map(|other| link(&env, other, other)),
            strips: app
                .strips
                .iter()
                .map(|strip| StripBox::new(strip, &app, now))
                .collect(),
            failure: failure(&app),
            drift: ledger::ledger(&wire::drift(view), now),
            no_drift: no_drift(&app, now),
            plan: plan
                .as_ref()
                .map_or_else(Vec::new, |plan| ledger::plan(plan, STEPS, OPEN)),
            plan_about: plan.as_ref().map_or_else(
                || "not made yet".to_owned(),
                |plan| {
                    if plan.steps.is_empty() {
                        "a sync would change nothing".to_owned()
                    } else if plan.revision.is_none() {
                        format!("what goes with the app: {} to delete", plan.delete)
                    } else {
                        format!("a sync would: {}", text::plan_counts(plan))
                    }
                },
            ),
            plan_more: steps.saturating_sub(STEPS),
            left_about: match left.len() {
                1 => "1 object is left alone, with the reason".to_owned(),
                many => format!("{many} objects are left alone, each with the reason"),
            },
            left,
            going,
            results: past::results(&app),
            results_title: if is_tried { "Dry run" } else { "Hooks" },
            results_about: past::results_about(&app),
            objects,
            objects_about: format!("{} from git; healthy ones are folded", app.sections.objects),
            objects_more,
            calm,
            calm_about,
            history: past::history(view),
            deeds,
            heals,
            events: wire::events(view),
            source: source(&app),
            policy: policy(&app),
            operation: past::operation(&app, now),
            operation_title: if is_tried { "Dry run" } else { "Last sync" },
            rollback: past::rollback(&app, now),
            conditions: app.conditions.clone(),
            app,
        }
    }
}

fn because(app: &App, now: Now) -> String {
    if let Some(reason) = &app.summary.reason {
        return sentence(&reason.text);
    }
    let compared = app.compared_at.map_or_else(
        || "not compared yet".to_owned(),
        |at| {
            format!(
                "{} compared {} ago",
                text::objects(app.sections.objects),
                now.ago(&at)
            )
        },
    );
    match app.summary.state {
        State::Synced => format!("The cluster equals git: {compared}."),
        State::Syncing => "A commit is on its way to the cluster.".to_owned(),
        _ => sentence(&compared),
    }
}

fn no_drift(app: &App, now: Now) -> String {
    match app.compared_at {
        Some(at) => format!(
            "Nothing differs. {} compared {} ago.",
            text::objects(app.sections.objects),
            now.ago(&at)
        ),
        None => "Not compared yet.".to_owned(),
    }
}

/// What failed, line by line: the reason, then the objects that a sync could not change.
fn failure(app: &App) -> Vec<FailureLine> {
    let (State::Failing, Some(reason)) = (app.summary.state, &app.summary.reason) else {
        return Vec::new();
    };
    let line = |class, label: &str, text: String| FailureLine {
        class,
        label: label.to_owned(),
        text,
    };
    let mut lines = vec![line("e", "error ", reason.text.clone())];
    let failed = app
        .operation
        .iter()
        .flat_map(|operation| &operation.results)
        .filter(|result| result.status == "SyncFailed");
    for result in failed.take(10) {
        lines.push(line(
            "q",
            "object",
            format!("{}: {}", result.id.short(), result.message),
        ));
    }
    if let Some(live) = &app.summary.live {
        lines.push(line("q", "state ", format!("{} stays live", live.short)));
    }
    if let Some(next) = &app.summary.next
        && let Some(next) = next.command.as_ref().or(next.who.as_ref())
    {
        lines.push(line("q", "next  ", next.clone()));
    }
    lines
}

/// The objects that need attention, then those that do not.
fn split_objects(view: &AppView, planned: bool) -> (Vec<ObjectRow>, Vec<ObjectRow>) {
    let drifted = |id: &lockstep_api::app::ObjectRef| {
        view.drift
            .iter()
            .find(|object| wire::object_ref(&object.id) == *id)
    };
    let (mut hot, mut calm) = (Vec::new(), Vec::new());
    for object in wire::objects(view) {
        let fields =
            drifted(&object.id).map(|object| (object.missing, wire::count(object.fields.len())));
        let row = object_row(&object, fields, planned);
        if row.role == "ok" && object.why.is_none() {
            calm.push(row);
        } else {
            hot.push(row);
        }
    }
    (hot, calm)
}

fn object_row(object: &Object, drift: Option<(bool, u64)>, planned: bool) -> ObjectRow {
    let (role, word) = match (object.health, object.sync, drift) {
        (_, _, Some((true, _))) | (Some(HealthState::Missing), _, _) => {
            ("fail", "Missing".to_owned())
        }
        (Some(HealthState::Degraded), _, _) => ("fail", "Degraded".to_owned()),
        (_, _, Some((false, fields))) => ("drift", format!("{} drifted", text::fields(fields))),
        _ if object.requires_pruning => ("held", "To be deleted".to_owned()),
        (Some(HealthState::Unknown), _, _) | (_, SyncState::Unknown, _) => {
            ("unk", "Unknown".to_owned())
        }
        (Some(HealthState::Progressing), _, _) => ("run", "Progressing".to_owned()),
        (Some(HealthState::Suspended), _, _) => ("held", "Suspended".to_owned()),
        (_, SyncState::OutOfSync, _) if planned => ("held", "To be changed".to_owned()),
        (_, SyncState::OutOfSync, _) => ("drift", "Differs".to_owned()),
        (_, SyncState::InSync, _) => ("ok", "Synced".to_owned()),
    };
    let note = object
        .why
        .clone()
        .or_else(|| object.health_text.clone())
        .or_else(|| object.others.clone())
        .unwrap_or_default();
    ObjectRow {
        kind: object.id.kind.clone(),
        name: object.id.name.clone(),
        role,
        word,
        fact: object.fact.clone().unwrap_or_default(),
        note,
    }
}

/// A few calm objects stay in sight when little else is there; the others fold.
fn fold(mut hot: Vec<ObjectRow>, mut calm: Vec<ObjectRow>) -> (Vec<ObjectRow>, Vec<ObjectRow>) {
    if calm.len() <= CALM {
        hot.append(&mut calm);
    }
    hot.truncate(OBJECTS);
    calm.truncate(OBJECTS);
    (hot, calm)
}

fn source(app: &App) -> Vec<Fact> {
    let source = &app.source;
    let or = |text: &str, other: &str| {
        if text.is_empty() {
            other.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut facts = vec![
        fact("Repository", source.repository.clone()),
        code("Target", or(&source.target, "HEAD")),
        code("Path", or(&source.path, ".")),
    ];
    if let Some(renderer) = &source.renderer {
        facts.push(fact(
            "Renderer",
            format!("{} (built in)", renderer.to_lowercase()),
        ));
    }
    facts.push(fact("Cluster", source.cluster.clone()));
    if !source.namespace.is_empty() {
        facts.push(code("Namespace", source.namespace.clone()));
    }
    facts.push(fact("Project", app.application.project.clone()));
    facts.push(code(
        "Application",
        format!("{}/{}", app.application.namespace, app.application.name),
    ));
    facts
}

fn policy(app: &App) -> Vec<Fact> {
    let Some(policy) = &app.policy else {
        return Vec::new();
    };
    let env = &app.summary.env;
    let decided = |axis: &Axis| match axis.set_by {
        SetBy::Application => "decided by the Application".to_owned(),
        SetBy::Environment => format!("decided by the environment {env}"),
        SetBy::Both => "Application and environment agree".to_owned(),
    };
    let say = |label: &'static str, axis: &Axis, text: String| Fact {
        note: decided(axis),
        ..fact(label, text)
    };
    let commits = match policy.new_commit.value.as_str() {
        "apply" => "applied by itself",
        "approve" => "waits for a person",
        _ => "held until the policy changes",
    };
    let drift = match (policy.drift.value.as_str(), policy.drift.after_ms) {
        ("heal", _) => "put back at once".to_owned(),
        ("healAfter", Some(after)) => {
            format!(
                "put back after {}",
                words::span(std::time::Duration::from_millis(after))
            )
        }
        _ => "reported and left".to_owned(),
    };
    let deletion = match policy.deletion.value.as_str() {
        "prune" => "what git dropped is deleted",
        "approve" => "waits for a person",
        _ => "what git dropped is kept",
    };
    vec![
        say("New commit", &policy.new_commit, commits.to_owned()),
        say("Drift", &policy.drift, drift),
        say("Deletion", &policy.deletion, deletion.to_owned()),
    ]
}

/// Does a step count as reached?
fn reached(outcome: StepOutcome) -> bool {
    outcome != StepOutcome::None
}
