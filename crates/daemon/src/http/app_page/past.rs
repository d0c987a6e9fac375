//! What runs and what was done before, as drawn: the last sync with its hooks, deployments, the log, a rollback.

use lockstep_api::app::App;
use lockstep_api::operation::{HookState, OperationPhase, OperationResult, VerifiedState};
use lockstep_api::past::{Deed, Deployment, LogEntry};
use lockstep_api::text;
use lockstep_reconcile::view::AppView;

use super::{Fact, code, fact};
use crate::http::wire;
use crate::http::words::{self, Now};

/// How many deployments are shown.
const DEPLOYMENTS: usize = 20;

/// How many objects of a dry run are shown; the rest stands in the JSON.
const RESULTS: usize = 200;

/// One deployment.
pub(in crate::http) struct HistoryRow {
    pub(in crate::http) entry: Deployment,
    pub(in crate::http) live: bool,
    pub(in crate::http) about: String,
    pub(in crate::http) took: String,
}

/// One object of a sync that is worth a line: a hook, or what a dry run would do.
pub(in crate::http) struct ResultRow {
    pub(in crate::http) kind: String,
    pub(in crate::http) name: String,
    pub(in crate::http) role: &'static str,
    pub(in crate::http) word: &'static str,
    pub(in crate::http) note: String,
}

/// Deeds that fold under one line.
pub(in crate::http) struct Deeds {
    pub(in crate::http) about: String,
    pub(in crate::http) rows: Vec<DeedRow>,
}

/// One thing that was done.
pub(in crate::http) struct DeedRow {
    pub(in crate::http) entry: LogEntry,
    pub(in crate::http) role: &'static str,
    pub(in crate::http) word: String,
    pub(in crate::http) about: String,
}

/// The hooks of the last sync; of a dry run, everything that it would do.
pub(super) fn results(app: &App) -> Vec<ResultRow> {
    let operation = app.operation.as_ref();
    let is_tried = operation.is_some_and(|operation| operation.dry_run);
    let results = operation.into_iter().flat_map(|one| &one.results);
    results
        .filter(|result| is_tried || result.hook.is_some())
        .take(RESULTS)
        .map(result)
        .collect()
}

fn result(result: &OperationResult) -> ResultRow {
    let (role, word) = match (result.hook, result.status.as_str()) {
        (Some(HookState::Running), _) => ("run", "Running"),
        (Some(HookState::Succeeded), _) => ("ok", "Succeeded"),
        (Some(HookState::Failed), _) | (None, "SyncFailed") => ("fail", "Failed"),
        (None, "PruneSkipped") => ("none", "Left alone"),
        (None, "Pruned") => ("held", "To be deleted"),
        (None, _) => ("held", "To be changed"),
    };
    // What the word says already is not said again.
    let is_said = matches!(result.hook, Some(HookState::Running | HookState::Succeeded));
    ResultRow {
        // A narrow screen has no room for a column of phases.
        kind: match result.hook {
            Some(_) => format!("{} {}", result.phase, result.id.kind),
            None => result.id.kind.clone(),
        },
        name: result.id.name.clone(),
        role,
        word,
        note: if is_said {
            String::new()
        } else {
            result.message.clone()
        },
    }
}

pub(super) fn results_about(app: &App) -> String {
    match &app.operation {
        Some(operation) if operation.dry_run => {
            format!("what {} would do; nothing was written", operation.id)
        }
        Some(operation) if operation.is_running() => format!("of {}, which runs", operation.id),
        Some(operation) => format!("of the last sync, {}", operation.id),
        None => String::new(),
    }
}

pub(super) fn history(view: &AppView) -> Vec<HistoryRow> {
    let live = view.live.as_ref().map(|live| live.revision.to_string());
    wire::history(view)
        .into_iter()
        .take(DEPLOYMENTS)
        .enumerate()
        .map(|(at, entry)| HistoryRow {
            live: at == 0 && live.as_deref().is_none_or(|live| live == entry.commit.sha),
            about: format!("{} · {}", text::objects(entry.objects), by(&entry.by)),
            took: entry.took_ms.map_or_else(|| "–".to_owned(), words::took),
            entry,
        })
        .collect()
}

fn by(who: &str) -> String {
    if who == "automated" {
        "by policy".to_owned()
    } else {
        format!("by hand, {who}")
    }
}

/// Everything that was done, but for what was put back by itself; and that, apart.
pub(super) fn deeds(view: &AppView) -> (Option<Deeds>, Option<Deeds>) {
    let (heals, deeds): (Vec<_>, Vec<_>) = wire::log(view)
        .into_iter()
        .partition(|entry| entry.kind == Deed::Heal);
    let put_back: u64 = heals.iter().map(|entry| entry.objects.max(1)).sum();
    let fold = |about: String, entries: Vec<LogEntry>| {
        (!entries.is_empty()).then(|| Deeds {
            about,
            rows: entries.into_iter().map(deed).collect(),
        })
    };
    let count = match deeds.len() {
        1 => "1 entry".to_owned(),
        many => format!("{many} entries"),
    };
    (
        fold(format!("Everything that was done, {count}"), deeds),
        fold(format!("Put back by itself {}", times(put_back)), heals),
    )
}

fn deed(entry: LogEntry) -> DeedRow {
    let role = if entry.succeeded { "none" } else { "fail" };
    let word = match (entry.kind, entry.succeeded) {
        (kind, true) => kind.text().to_owned(),
        (kind, false) => format!("{} failed", kind.text()),
    };
    let took = entry.took_ms.filter(|took| *took > 0);
    let took = took.map_or_else(String::new, |took| format!(" · {}", words::took(took)));
    let about = match entry.kind {
        Deed::Heal => times(entry.objects.max(1)),
        _ => format!("{}{took}", by(&entry.by)),
    };
    DeedRow {
        entry,
        role,
        word,
        about,
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        many => format!("{many} times"),
    }
}

/// Where it is kept, and how that ends.
pub(super) fn rollback(app: &App, now: Now) -> Vec<Fact> {
    let Some(rollback) = &app.rollback else {
        return Vec::new();
    };
    let short = |revision: &str| revision.get(..7).unwrap_or(revision).to_owned();
    let mut facts = vec![code("Kept at", short(&rollback.to))];
    facts.extend(
        rollback
            .from
            .as_deref()
            .map(|from| code("Instead of", short(from))),
    );
    facts.push(fact(
        "Why",
        if rollback.reason.is_empty() {
            "nobody said"
        } else {
            rollback.reason.as_str()
        },
    ));
    facts.push(fact("By", rollback.by.clone()));
    facts.push(fact("Since", now.day(&rollback.at)));
    let until = rollback.until_in_words();
    let until = until.strip_prefix("until ").unwrap_or(&until).to_owned();
    facts.push(fact("Until", until));
    facts
}

pub(super) fn operation(app: &App, now: Now) -> Option<Vec<Fact>> {
    let operation = app.operation.as_ref()?;
    let phase = match operation.phase {
        OperationPhase::Running => "running",
        OperationPhase::Terminating => "being ended",
        OperationPhase::Succeeded => "succeeded",
        OperationPhase::Failed => "failed",
    };
    let took = operation
        .took_ms
        .map_or_else(String::new, |took| format!(", {}", words::took(took)));
    let mut facts = vec![
        fact("Result", format!("{phase}{took}")),
        fact("Began", now.day(&operation.started_at)),
        fact(
            "Asked by",
            if operation.by == "automated" {
                "policy"
            } else {
                operation.by.as_str()
            },
        ),
        fact("Said", operation.message.clone()),
        code("Id", operation.id.clone()),
    ];
    if operation.retries > 0 {
        facts.push(fact("Retried", times(u64::from(operation.retries))));
    }
    if let Some(verified) = &operation.verified {
        let said = match (verified.state, &verified.at, &verified.why) {
            (VerifiedState::Verified, Some(at), _) => format!("{} UTC", now.clock(at)),
            (VerifiedState::Verified, None, _) => "yes".to_owned(),
            (VerifiedState::Pending, ..) => "not yet: objects become healthy".to_owned(),
            (VerifiedState::NotVerified, _, Some(why)) => format!("no: {why}"),
            (VerifiedState::NotVerified, _, None) => "no".to_owned(),
        };
        facts.push(fact("Verified", said));
    }
    Some(facts)
}
