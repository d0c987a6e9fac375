//! The strip: commit, rendered, diffed, applied, healthy, since then; and where the time went.

use lockstep_api::app::{App, State, StepOutcome, Strip, StripKind, StripStep};
use lockstep_api::text;

use super::reached;
use crate::http::words::{self, Now};

/// How wide the bar is drawn, in its own units.
const WIDTH: u64 = 720;

/// One strip, as drawn.
pub(in crate::http) struct StripBox {
    pub(in crate::http) title: &'static str,
    pub(in crate::http) label: &'static str,
    pub(in crate::http) short: String,
    pub(in crate::http) about: String,
    pub(in crate::http) cells: Vec<Cell>,
    pub(in crate::http) took: Option<Took>,
}

/// One step.
pub(in crate::http) struct Cell {
    pub(in crate::http) role: &'static str,
    pub(in crate::http) name: String,
    pub(in crate::http) number: String,
    pub(in crate::http) clock: String,
    pub(in crate::http) lines: Vec<Line>,
}

pub(in crate::http) struct Line {
    pub(in crate::http) class: &'static str,
    pub(in crate::http) text: String,
}

/// From seen to healthy, as a proportional bar.
pub(in crate::http) struct Took {
    pub(in crate::http) total: String,
    pub(in crate::http) label: String,
    pub(in crate::http) most: String,
    pub(in crate::http) bars: Vec<Bar>,
}

pub(in crate::http) struct Bar {
    pub(in crate::http) class: &'static str,
    pub(in crate::http) x: u64,
    pub(in crate::http) width: u64,
}

fn line(class: &'static str, text: impl Into<String>) -> Line {
    Line {
        class,
        text: text.into(),
    }
}

impl StripBox {
    pub(in crate::http) fn new(strip: &Strip, app: &App, now: Now) -> Self {
        let next = strip.kind == StripKind::Next;
        let mut cells: Vec<Cell> = strip
            .steps
            .iter()
            .map(|step| cell(step, strip, now))
            .collect();
        cells.push(since_then(strip, app, now));
        Self {
            title: if next { "Next" } else { "Live" },
            label: if next {
                "The next commit"
            } else {
                "From commit to cluster"
            },
            short: strip.commit.short.clone(),
            about: if next {
                "takes the place of the live one when it is applied".to_owned()
            } else {
                strip.commit.subject.clone()
            },
            cells,
            took: took(strip),
        }
    }
}

fn cell(step: &StripStep, strip: &Strip, now: Now) -> Cell {
    let clock = text::step_time(step).map_or_else(String::new, |at| now.clock(&at));
    if step.name == "commit" {
        let commit = &strip.commit;
        let at = commit
            .committed_at
            .map_or_else(String::new, |at| now.clock(&at));
        let mut lines = vec![
            line("msg", commit.subject.clone()),
            line("", format!("{} · {}", commit.short, commit.author)),
        ];
        lines.extend(
            step.facts
                .iter()
                .take(1)
                .map(|fact| line("q", fact.clone())),
        );
        return Cell {
            role: words::step_role(step.outcome),
            name: name(step).to_owned(),
            number: at,
            clock: String::new(),
            lines,
        };
    }
    let mut lines: Vec<Line> = step
        .facts
        .iter()
        .take(2)
        .enumerate()
        .map(|(at, fact)| line(if at == 0 { "" } else { "q" }, fact.clone()))
        .collect();
    if !reached(step.outcome) && lines.is_empty() {
        lines.push(line("", "not reached"));
    }
    let number = match (step.took_ms, step.outcome) {
        (Some(took), StepOutcome::Done | StepOutcome::Failed) => words::took(took),
        (_, StepOutcome::Running) => step.started_at.map_or_else(String::new, |at| now.ago(&at)),
        _ => String::new(),
    };
    let (number, clock) = if number.is_empty() {
        (clock, String::new())
    } else {
        (number, clock)
    };
    Cell {
        role: words::step_role(step.outcome),
        name: name(step).to_owned(),
        number,
        clock,
        lines,
    }
}

/// What a step is called by how far it got.
fn name(step: &StripStep) -> &str {
    match (step.name.as_str(), step.outcome) {
        ("commit", _) => "Commit",
        ("render", StepOutcome::Running) => "Rendering",
        ("render", StepOutcome::Failed) => "Render failed",
        ("render", StepOutcome::None) => "Render",
        ("render", _) => "Rendered",
        ("diff", StepOutcome::Running) => "Diffing",
        ("diff", StepOutcome::Failed) => "Diff failed",
        ("diff", StepOutcome::None) => "Diff",
        ("diff", _) => "Diffed",
        ("apply", StepOutcome::Running) => "Applying",
        ("apply", StepOutcome::Failed) => "Apply failed",
        ("apply", StepOutcome::Held) => "Apply is held",
        ("apply", StepOutcome::None) => "Apply",
        ("apply", _) => "Applied",
        ("health", StepOutcome::Running) => "Becoming healthy",
        ("health", StepOutcome::Failed) => "Not healthy",
        ("health", _) => "Healthy",
        (other, _) => other,
    }
}

fn since_then(strip: &Strip, app: &App, now: Now) -> Cell {
    let summary = &app.summary;
    let bare = |role, lines| Cell {
        role,
        name: "Since then".to_owned(),
        number: String::new(),
        clock: String::new(),
        lines,
    };
    if strip.kind == StripKind::Next {
        let stays = summary
            .live
            .as_ref()
            .map(|live| line("", format!("{} stays live", live.short)));
        return bare("none", stays.into_iter().collect());
    }
    let healthy = strip
        .steps
        .last()
        .is_some_and(|step| matches!(step.outcome, StepOutcome::Done | StepOutcome::Skipped));
    if summary.drift_fields > 0 {
        return Cell {
            number: text::fields(summary.drift_fields),
            clock: now.clock(&summary.since),
            ..bare("drift", vec![line("", "changed outside git")])
        };
    }
    match strip
        .steps
        .last()
        .and_then(text::step_time)
        .filter(|_| healthy)
    {
        Some(at) if summary.state == State::Synced => Cell {
            number: now.ago(&at),
            ..bare("ok", vec![line("", "unchanged")])
        },
        _ => bare("none", Vec::new()),
    }
}

/// Where the time went. Nothing is drawn until the commit is healthy.
fn took(strip: &Strip) -> Option<Took> {
    let total = strip.total_ms.filter(|total| *total > 0)?;
    let spent = |names: &[&str]| -> u64 {
        strip
            .steps
            .iter()
            .filter(|step| names.contains(&step.name.as_str()))
            .filter_map(|step| step.took_ms)
            .sum()
    };
    let parts = [
        ("k1", spent(&["render", "diff"]), "rendering and diffing"),
        ("k3", spent(&["apply"]), "applying"),
        ("k4", spent(&["health"]), "until healthy"),
    ];
    let known: u64 = parts.iter().map(|(_, millis, _)| millis).sum();
    let waiting = ("k0", total.saturating_sub(known), "waiting");
    let whole = total.max(known);
    let mut bars = Vec::new();
    let mut x = 0;
    for (class, millis, _) in std::iter::once(waiting)
        .chain(parts)
        .filter(|(_, millis, _)| *millis > 0)
    {
        let width = (millis * WIDTH / whole).max(2);
        bars.push(Bar {
            class,
            x,
            width: width.saturating_sub(2).max(1),
        });
        x += width;
    }
    let said: Vec<String> = std::iter::once(waiting)
        .chain(parts)
        .filter(|(_, millis, _)| *millis > 0)
        .map(|(_, millis, what)| format!("{} {what}", words::took(millis)))
        .collect();
    let most = std::iter::once(waiting)
        .chain(parts)
        .max_by_key(|(_, millis, _)| *millis)
        .filter(|(_, millis, _)| millis * 10 >= whole * 6)
        .map_or_else(String::new, |(_, _, what)| format!("most of it {what}"));
    Some(Took {
        total: words::took(total),
        label: format!("Of {}: {}", words::took(total), said.join(", ")),
        most,
        bars,
    })
}
