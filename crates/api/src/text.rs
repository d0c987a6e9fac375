//! The third representation: plain text, the same from `Accept: text/plain` and from the command line.
//!
//! Whatever came from git or a cluster loses its control characters here, so that a commit subject cannot drive the
//! reader's terminal.

use std::fmt::Write as _;

use serde_json::Value;

use crate::app::{App, AppSummary, State, StepOutcome, Strip, StripKind, StripStep};
use crate::drift::{Drift, DriftField, OtherFields, Writer};
use crate::overview::Overview;
use crate::plan::{PlanStep, PlanView, StepAction};
use crate::problem::Problem;
use crate::time::Time;

pub mod past;

/// Values longer than this are cut; the whole stands in the JSON.
const LONGEST: usize = 60;

/// The word's shape on a terminal.
pub fn glyph(state: State) -> char {
    match state {
        State::Failing => '✕',
        State::Drifted => '◆',
        State::Held => '‖',
        State::Unknown => '◌',
        State::Syncing => '◐',
        State::Synced => '●',
    }
}

/// The strip on a terminal: one character a step.
pub fn strip(app: &AppSummary) -> String {
    let last = app.strip.len().saturating_sub(1);
    app.strip
        .iter()
        .enumerate()
        .map(|(at, outcome)| match outcome {
            StepOutcome::Done if at == last && app.state == State::Drifted => '◆',
            StepOutcome::Done | StepOutcome::Skipped => '━',
            StepOutcome::Running => '┅',
            StepOutcome::Failed => '✕',
            StepOutcome::Held => '‖',
            StepOutcome::None => '┄',
        })
        .collect()
}

/// How long something has lasted, roughly: `42s`, `24m`, `4h`, `6d`.
pub fn lasted(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..90 => format!("{seconds}s"),
        seconds @ 90..5400 => format!("{}m", (seconds + 30) / 60),
        seconds @ 5400..129_600 => format!("{}h", (seconds + 1800) / 3600),
        seconds => format!("{}d", (seconds + 43_200) / 86_400),
    }
}

/// How long something took, to the digit that matters: `0.4s`, `64s`, `2m12s`.
pub fn took(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        10_000..90_000 => format!("{}s", (millis + 500) / 1000),
        _ => {
            let seconds = (millis + 500) / 1000;
            format!("{}m{}s", seconds / 60, seconds % 60)
        }
    }
}

/// A text without control characters, which on a terminal would be orders.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Would this text, without quotes, be read as something else than a text? Then it keeps them: `"3"` is not `3`.
pub fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || serde_json::from_str::<Value>(text).is_ok_and(|value| !value.is_string())
        || text.starts_with(' ')
        || text.ends_with(' ')
}

/// A value on one line, cut at 60 characters.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) if needs_quotes(text) => format!("\"{}\"", plain(text)),
        Value::String(text) => plain(text),
        other => other.to_string(),
    };
    if text.chars().count() > LONGEST {
        let cut: String = text.chars().take(LONGEST - 1).collect();
        format!("{cut}…")
    } else {
        text
    }
}

/// One side of a change: the value, nothing, or that it is not shown.
pub fn side(side: Option<&Value>, sensitive: bool) -> String {
    match side {
        Some(found) => value(found),
        None if sensitive => "(not shown)".to_owned(),
        None => "–".to_owned(),
    }
}

/// A field manager in words: `kubectl scale`, `kubectl-edit`.
pub fn writer(writer: &Writer) -> String {
    match &writer.subresource {
        Some(subresource) => format!("{} {}", plain(&writer.manager), plain(subresource)),
        None => plain(&writer.manager),
    }
}

/// The commits of an app: `8c1d0be`, or `6d20f9b → 4f2a9c1` while a newer one is on its way.
pub fn commits(app: &AppSummary) -> String {
    match (&app.live, &app.wanted) {
        (Some(live), Some(wanted)) if live.sha != wanted.sha => {
            format!("{} → {}", live.short, wanted.short)
        }
        (Some(commit), _) | (None, Some(commit)) => commit.short.clone(),
        (None, None) => "–".to_owned(),
    }
}

fn since(app: &AppSummary, now: Time) -> String {
    now.millis_since(app.since)
        .map_or_else(|| "0s".to_owned(), lasted)
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// The status of many apps for people: by environment, urgent ones first, synced ones on one line.
pub fn status(overview: &Overview, apps: &[AppSummary]) -> String {
    let mut out = format!("{}\n", plain(&overview.headline));
    for notice in &overview.notices {
        let _ = writeln!(out, "warning: {}", plain(&notice.text));
        if let Some(next) = &notice.next {
            let _ = writeln!(out, "  next   {}", plain(next));
        }
    }
    let name = widest(apps.iter().map(|app| app.name.as_str())).max(6);
    let commit = apps
        .iter()
        .map(|app| commits(app).chars().count())
        .max()
        .unwrap_or(0);
    let mut next = None;
    for environment in &overview.environments {
        let mut here: Vec<_> = apps
            .iter()
            .filter(|app| app.env == environment.name)
            .collect();
        if here.is_empty() {
            continue;
        }
        here.sort_by(|a, b| (a.state, &a.name).cmp(&(b.state, &b.name)));
        let policy = environment
            .policy
            .as_deref()
            .unwrap_or("each app by its own policy");
        let _ = writeln!(out, "\n{}  {policy}", pad(&environment.name, 8));
        for app in here.iter().filter(|app| app.state != State::Synced) {
            if next.is_none() {
                next = app.next.as_ref().and_then(|next| next.command.clone());
            }
            let line = format!(
                "{} {}  {}  {}  {}  {:>4}   {}",
                glyph(app.state),
                pad(app.state.text(), 8),
                pad(&app.name, name),
                pad(&commits(app), commit),
                strip(app),
                since(app, overview.at),
                app.reason
                    .as_ref()
                    .map_or_else(String::new, |why| plain(&why.text)),
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
        let synced: Vec<&str> = here
            .iter()
            .filter(|app| app.state == State::Synced)
            .map(|app| app.name.as_str())
            .collect();
        if !synced.is_empty() {
            let more = if synced.len() == here.len() {
                ""
            } else {
                " more"
            };
            let count = pad(&format!("{}{more}", synced.len()), name);
            let _ = writeln!(out, "● Synced    {count}  {}", synced.join(" "));
        }
    }
    if let Some(next) = next {
        let _ = writeln!(out, "\nnext: {}", plain(&next));
    }
    out
}

/// The status of many apps for machines that read columns: one line an app, no folding, absolute times.
pub fn status_wide(apps: &[AppSummary]) -> String {
    let mut rows: Vec<[String; 10]> = vec![
        [
            "ENV", "APP", "STATE", "SINCE", "LIVE", "WANTED", "STEP", "DRIFT", "AUTHOR", "REASON",
        ]
        .map(str::to_owned),
    ];
    for app in apps {
        let short = |commit: &Option<crate::app::Commit>| {
            commit
                .as_ref()
                .map_or_else(|| "-".to_owned(), |commit| commit.short.clone())
        };
        let names = ["commit", "render", "diff", "apply", "health"];
        let step = app
            .strip
            .iter()
            .position(|outcome| !matches!(outcome, StepOutcome::Done | StepOutcome::Skipped))
            .and_then(|at| names.get(at))
            .map_or("-", |name| name);
        let author = app
            .wanted
            .as_ref()
            .or(app.live.as_ref())
            .map(|commit| plain(&commit.author));
        rows.push([
            app.env.clone(),
            app.name.clone(),
            app.state.text().to_owned(),
            app.since.to_string(),
            short(&app.live),
            short(&app.wanted),
            step.to_owned(),
            app.drift_fields.to_string(),
            author
                .filter(|author| !author.is_empty())
                .unwrap_or_else(|| "-".to_owned()),
            app.reason
                .as_ref()
                .map_or_else(|| "-".to_owned(), |why| plain(&why.text)),
        ]);
    }
    table(&rows)
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut out = String::new();
    let widths: Vec<usize> = (0..N)
        .map(|column| widest(rows.iter().map(|row| row[column].as_str())))
        .collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| pad(cell, *width))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// One app: the top of its page in text.
pub fn app(app: &App, now: Time) -> String {
    let summary = &app.summary;
    let mut out = format!(
        "{} in {}: {} {} for {}\n",
        summary.name,
        summary.env,
        glyph(summary.state),
        summary.state.text(),
        since(summary, now)
    );
    if let Some(reason) = &summary.reason {
        let _ = writeln!(out, "{}", plain(&reason.text));
    }
    for one in &app.strips {
        out.push('\n');
        if app.strips.len() > 1 {
            out.push_str(if one.kind == StripKind::Next {
                "next\n"
            } else {
                "live\n"
            });
        }
        out.push_str(&strip_lines(one));
        if one.kind == StripKind::Live && summary.drift_fields > 0 {
            let first = format!("◆ drifted   {}", summary.since.clock());
            let _ = writeln!(out, "{}  {}", pad(&first, 30), fields(summary.drift_fields));
        }
    }
    for condition in &app.conditions {
        let _ = writeln!(
            out,
            "\n{}: {}",
            plain(&condition.kind),
            plain(&condition.message)
        );
    }
    if !app.commands.is_empty() {
        out.push('\n');
        let width = widest(app.commands.iter().map(|command| command.label.as_str()));
        for command in &app.commands {
            let _ = writeln!(
                out,
                "{}  {}",
                pad(&command.label, width),
                plain(&command.command)
            );
        }
    } else if let Some(who) = summary.next.as_ref().and_then(|next| next.who.as_ref()) {
        let _ = writeln!(out, "\nnext: {}", plain(who));
    }
    out
}

/// `1 field`, `3 fields`.
pub fn fields(count: u64) -> String {
    count_of(count, "field")
}

/// `1 object`, `3 objects`.
pub fn objects(count: u64) -> String {
    count_of(count, "object")
}

fn count_of(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// What a step is called once it is done: `render` is `rendered`.
pub fn step_done(name: &str) -> &str {
    match name {
        "render" => "rendered",
        "diff" => "diffed",
        "apply" => "applied",
        "health" => "healthy",
        other => other,
    }
}

fn strip_lines(strip: &Strip) -> String {
    let mut out = String::new();
    for step in &strip.steps {
        let (mark, name) = match step.outcome {
            StepOutcome::Done | StepOutcome::Skipped => (' ', step_done(&step.name)),
            StepOutcome::Running => ('◐', step.name.as_str()),
            StepOutcome::Failed => ('✕', step.name.as_str()),
            StepOutcome::Held => ('‖', step.name.as_str()),
            StepOutcome::None => ('┄', step.name.as_str()),
        };
        let clock = step_time(step).map_or_else(String::new, Time::clock);
        let took = step.took_ms.map_or_else(String::new, took);
        let facts = if step.name == "commit" {
            let commit = &strip.commit;
            format!(
                "{} {} · {}",
                commit.short,
                plain(&commit.subject),
                plain(&commit.author)
            )
        } else {
            plain(&step.facts.join(", "))
        };
        let line = format!(
            "{mark} {}  {}  {took:>6}  {facts}",
            pad(name, 8),
            pad(&clock, 8)
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The clock time that a step is known by: its end, else its beginning.
pub fn step_time(step: &StripStep) -> Option<Time> {
    step.ended_at.or(step.started_at)
}

/// The drift ledger.
pub fn drift(drift: &Drift) -> String {
    let mut out = String::new();
    for object in &drift.objects {
        let _ = writeln!(out, "{}", plain(&object.id.short()));
        if object.missing {
            out.push_str("  is gone from the cluster\n");
            continue;
        }
        let rows: Vec<[String; 6]> = object.fields.iter().map(drift_row).collect();
        out.push_str(&table(&rows));
    }
    for others in &drift.others {
        let said = self::others(others);
        let _ = writeln!(out, "{}\n  {}", plain(&others.id.short()), plain(&said));
    }
    let objects_count = u64::try_from(drift.objects.len()).unwrap_or(u64::MAX);
    if objects_count == 0 {
        let _ = writeln!(
            out,
            "Nothing differs. {} compared.",
            objects(drift.objects_compared)
        );
    } else {
        let _ = writeln!(
            out,
            "{} in {}.",
            fields(drift.fields),
            objects(objects_count)
        );
    }
    out
}

/// What others wrote to an object, on one line: `2 fields of others: spec.replicas by kubectl (scale) and 1 more`.
pub fn others(others: &OtherFields) -> String {
    let named: Vec<String> = others
        .fields
        .iter()
        .take(2)
        .map(|field| format!("{} by {}", field.path, field.by))
        .collect();
    let rest = others
        .count
        .saturating_sub(u64::try_from(named.len()).unwrap_or(0));
    let more = match rest {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!(
        "{} of others: {}{more}",
        fields(others.count),
        named.join(", ")
    )
}

fn drift_row(field: &DriftField) -> [String; 6] {
    let by = field
        .by
        .first()
        .map_or_else(|| "not known".to_owned(), writer);
    [
        format!("  {}", plain(&field.path)),
        side(field.git.as_ref(), field.sensitive),
        side(field.live.as_ref(), field.sensitive),
        by,
        field.noticed_at.clock(),
        field
            .git_at
            .as_ref()
            .map_or_else(String::new, |at| plain(&at.to_string())),
    ]
}

/// What a step is called in a plan.
pub fn step_verb(step: &PlanStep) -> &'static str {
    match (step.action, step.reason.as_str()) {
        (StepAction::Prune, _) => "delete",
        (StepAction::Release, _) => "release",
        (StepAction::Apply, "create" | "recreate" | "namespace") => "create",
        (StepAction::Apply, _) => "update",
        (StepAction::Run, _) => "run",
        (StepAction::LetGo, _) => "let go",
    }
}

/// `2 objects to update, 0 to create, 0 to prune`, with the hooks where there are any.
pub fn plan_counts(plan: &PlanView) -> String {
    let hooks = match plan.hooks {
        0 => String::new(),
        1 => ", 1 hook to run".to_owned(),
        many => format!(", {many} hooks to run"),
    };
    format!(
        "{} to update, {} to create, {} to prune{hooks}",
        objects(plan.update),
        plan.create,
        plan.delete
    )
}

/// A plan: what a sync would do.
pub fn plan(plan: &PlanView) -> String {
    let mut out = format!("Plan: {}", plan_counts(plan));
    if let Some(revision) = &plan.revision {
        let _ = write!(out, ", at {}", revision.get(..7).unwrap_or(revision));
    }
    out.push('\n');
    let width = plan
        .steps
        .iter()
        .map(|step| step.id.short().chars().count())
        .max()
        .unwrap_or(0);
    for step in &plan.steps {
        let mark = match step_verb(step) {
            "create" => '+',
            "update" => '~',
            "delete" => '-',
            "run" => '!',
            _ => ' ',
        };
        let changes: Vec<String> = step
            .changes
            .iter()
            .map(|change| {
                format!(
                    "{} {} → {}",
                    plain(&change.path),
                    side(change.before.as_ref(), change.sensitive),
                    side(change.after.as_ref(), change.sensitive)
                )
            })
            .collect();
        let said = if changes.is_empty() {
            step.because.clone()
        } else {
            changes.join(", ")
        };
        let waits = step
            .waits_for
            .as_ref()
            .map_or_else(String::new, |on| format!(" (waits for {on})"));
        let line = format!(
            "  {mark} {}  {}{}",
            pad(&step.id.short(), width),
            said,
            waits
        );
        out.push_str(plain(&line).trim_end());
        out.push('\n');
        for taken in &step.taken {
            let _ = writeln!(out, "      takes {}", plain(&taken.text));
        }
    }
    for left in &plan.left {
        let _ = writeln!(
            out,
            "    {}  {}",
            pad(&left.id.short(), width),
            plain(&left.text)
        );
    }
    out
}

/// An error, as a terminal shows it.
pub fn problem(problem: &Problem) -> String {
    let mut out = format!("error: {}\n", plain(&problem.title));
    if !problem.detail.is_empty() {
        let _ = writeln!(out, "  why    {}", plain(&problem.detail));
    }
    if let Some(next) = &problem.next {
        let _ = writeln!(out, "  next   {}", plain(next));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_never_reaches_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn durations_are_said_with_the_digit_that_matters() {
        let said: Vec<String> = [380, 3_600, 64_000, 132_000].map(took).into();
        assert_eq!(said, ["0.3s", "3.6s", "64s", "2m12s"]);
        let said: Vec<String> = [42_000, 1_440_000, 15_060_000, 518_400_000]
            .map(lasted)
            .into();
        assert_eq!(said, ["42s", "24m", "4h", "6d"]);
    }
}
