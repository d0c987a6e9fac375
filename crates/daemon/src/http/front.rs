//! What the front page shows, worked out before the template writes it.

use std::collections::BTreeMap;

use lockstep_api::app::{AppSummary, Commit, State, StepOutcome};
use lockstep_api::overview::{Counts, Overview, Repository};
use lockstep_api::time::Time;

use super::rest::{Filter, STATES};
use super::words::{self, Now};
use crate::board::Board;

/// From this many rows in an environment, the synced ones fold.
const FOLD: usize = 50;

/// From this many rows in all, the page is cut.
const LARGEST: usize = 500;

/// How many rows a page of a cut list has.
const PAGE: usize = 200;

/// How many repositories are shown.
const REPOSITORIES: usize = 3;

/// How many glyphs of synced apps an environment's column shows.
const CELLS: usize = 200;

/// The heading, the counts, the repositories, the fleet: one piece, since any change of an app changes it.
pub(super) struct Head {
    pub(super) now: Now,
    /// The page's title: how many need somebody, or the heading.
    pub(super) title: String,
    pub(super) heading: String,
    pub(super) counts: Vec<Count>,
    pub(super) filtered: bool,
    pub(super) total: u64,
    pub(super) repositories: Vec<RepositoryLine>,
    pub(super) more_repositories: usize,
    pub(super) fleet: Vec<Column>,
}

pub(super) struct Count {
    pub(super) code: &'static str,
    pub(super) role: &'static str,
    pub(super) text: String,
}

pub(super) struct RepositoryLine {
    /// The last two parts of its address.
    pub(super) name: String,
    pub(super) target: String,
    pub(super) head: Option<Commit>,
    pub(super) reach: Option<String>,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) synced: u64,
    pub(super) total: u64,
    pub(super) cells: Vec<CellLink>,
    pub(super) more: usize,
    pub(super) last: Option<Time>,
}

pub(super) struct CellLink {
    pub(super) name: String,
    pub(super) word: &'static str,
    pub(super) role: &'static str,
    pub(super) href: String,
}

impl Head {
    pub(super) fn new(overview: &Overview, filter: &Filter, matching: usize, now: Now) -> Self {
        let counts = &overview.counts;
        let filtered = !filter.is_empty();
        let heading = if filtered {
            format!("Showing {matching} of {}", counts.total)
        } else {
            overview.headline.clone()
        };
        let title = match counts.need_a_look() {
            0 => heading.clone(),
            1 => "1 needs a look".to_owned(),
            look => format!("{look} need a look"),
        };
        Self {
            now,
            title,
            heading,
            counts: counted(counts),
            filtered,
            total: counts.total,
            repositories: overview
                .repositories
                .iter()
                .take(REPOSITORIES)
                .map(line)
                .collect(),
            more_repositories: overview.repositories.len().saturating_sub(REPOSITORIES),
            fleet: if counts.total == 0 {
                Vec::new()
            } else {
                fleet(overview)
            },
        }
    }
}

fn counted(counts: &Counts) -> Vec<Count> {
    STATES
        .into_iter()
        .filter(|state| counts.of(*state) > 0)
        .map(|state| Count {
            code: state.code(),
            role: words::role(state),
            text: format!("{} {}", counts.of(state), state.code()),
        })
        .collect()
}

fn line(repository: &Repository) -> RepositoryLine {
    let path = repository
        .url
        .split_once("://")
        .map_or(repository.url.as_str(), |(_, rest)| rest);
    let parts: Vec<&str> = path.trim_end_matches(".git").split('/').collect();
    let name = match parts.as_slice() {
        [_, .., owner, name] => format!("{owner}/{name}"),
        [_, name] => (*name).to_owned(),
        _ => path.to_owned(),
    };
    let target = if repository.target.is_empty() {
        "HEAD"
    } else {
        &repository.target
    };
    RepositoryLine {
        name,
        target: target.to_owned(),
        head: repository.head.clone(),
        reach: repository.reach.clone(),
    }
}

fn fleet(overview: &Overview) -> Vec<Column> {
    overview
        .environments
        .iter()
        .map(|environment| {
            let link = |cell: &lockstep_api::overview::Cell| CellLink {
                name: cell.name.clone(),
                word: cell.state.text(),
                role: words::role(cell.state),
                href: words::app_href(&environment.name, &cell.name),
            };
            let apps = &environment.apps;
            // Urgent ones come first, so what is left out is synced unless hundreds are not.
            Column {
                name: environment.name.clone(),
                href: format!("#env-{}", words::segment(&environment.name)),
                synced: environment.counts.synced,
                total: environment.counts.total,
                cells: apps.iter().take(CELLS).map(link).collect(),
                more: apps.len().saturating_sub(CELLS),
                last: environment.last_deployment_at,
            }
        })
        .collect()
}

/// One row, and its second line when somebody has to look.
pub(super) struct Row {
    pub(super) app: AppSummary,
    pub(super) now: Now,
    pub(super) id: String,
    pub(super) role: &'static str,
    pub(super) hot: bool,
    /// The live commit, when a newer one is wanted.
    pub(super) from: Option<String>,
    /// The wanted commit, else the live one.
    pub(super) commit: Option<Commit>,
    pub(super) strip: Vec<Mini>,
    pub(super) strip_text: String,
    pub(super) why: String,
    pub(super) command: Option<String>,
    pub(super) who: Option<String>,
}

/// One step of the small strip.
pub(super) struct Mini {
    pub(super) shape: char,
    pub(super) x: usize,
}

impl Row {
    pub(super) fn new(app: AppSummary, now: Now) -> Self {
        let from = match (&app.live, &app.wanted) {
            (Some(live), Some(wanted)) if live.sha != wanted.sha => Some(live.short.clone()),
            _ => None,
        };
        Self {
            id: format!("{}-{}", app.env, app.name),
            role: words::role(app.state),
            hot: app.state.needs_a_look(),
            from,
            commit: app.wanted.clone().or_else(|| app.live.clone()),
            strip: minis(&app),
            strip_text: strip_text(&app),
            why: app
                .reason
                .as_ref()
                .map_or_else(String::new, |why| why.text.clone()),
            command: app.next.as_ref().and_then(|next| next.command.clone()),
            who: app.next.as_ref().and_then(|next| next.who.clone()),
            now,
            app,
        }
    }
}

fn minis(app: &AppSummary) -> Vec<Mini> {
    let last = app.strip.len().saturating_sub(1);
    let shape = |at: usize, outcome: &StepOutcome| match outcome {
        StepOutcome::Done | StepOutcome::Skipped if at == last && app.state == State::Drifted => {
            'w'
        }
        StepOutcome::Done | StepOutcome::Skipped => 'd',
        StepOutcome::Running => 'r',
        StepOutcome::Failed => 'f',
        StepOutcome::Held => 'h',
        StepOutcome::None if app.state == State::Unknown => 'u',
        StepOutcome::None => 'n',
    };
    app.strip
        .iter()
        .enumerate()
        .map(|(at, outcome)| Mini {
            shape: shape(at, outcome),
            x: at * 19,
        })
        .collect()
}

/// The small strip in words.
fn strip_text(app: &AppSummary) -> String {
    let names = ["commit", "render", "diff", "apply", "health"];
    let first = app
        .strip
        .iter()
        .zip(names)
        .find(|(outcome, _)| !matches!(outcome, StepOutcome::Done | StepOutcome::Skipped));
    match first {
        None if app.state == State::Drifted => {
            "All steps done, then the cluster drifted".to_owned()
        }
        None => "All five steps done".to_owned(),
        Some((StepOutcome::Failed, name)) => format!("Failed at {name}"),
        Some((StepOutcome::Held, name)) => format!("Held before {name}"),
        Some((StepOutcome::Running, "health")) => "Applied, waiting for health".to_owned(),
        Some((StepOutcome::Running, name)) => format!("At {name}"),
        Some((_, name)) => format!("Not yet at {name}"),
    }
}

/// One environment's table.
pub(super) struct EnvBlock {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) rows: Vec<Row>,
    pub(super) rest: Vec<Row>,
}

/// Where one is in a list that is cut.
pub(super) struct Pages {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) of: usize,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

/// The rows in display order, cut when there are very many.
pub(super) fn paged(
    mut rows: Vec<AppSummary>,
    overview: &Overview,
    filter: &Filter,
    page: usize,
) -> (Vec<AppSummary>, Option<Pages>) {
    let order: BTreeMap<&str, usize> = overview
        .environments
        .iter()
        .enumerate()
        .map(|(at, environment)| (environment.name.as_str(), at))
        .collect();
    let place = |app: &AppSummary| order.get(app.env.as_str()).copied().unwrap_or(usize::MAX);
    rows.sort_by(|a, b| (place(a), a.state, &a.name).cmp(&(place(b), b.state, &b.name)));
    if rows.len() <= LARGEST {
        return (rows, None);
    }
    let of = rows.len();
    let page = page.clamp(1, of.div_ceil(PAGE));
    let from = (page - 1) * PAGE;
    let link = |page: usize| {
        let mut href = format!("/?page={page}");
        for (key, value) in [
            ("q", &filter.q),
            ("env", &filter.env),
            ("status", &filter.status),
        ] {
            if !value.is_empty() {
                href = format!("{href}&{key}={}", words::segment(value));
            }
        }
        href
    };
    let to = (from + PAGE).min(of);
    let pages = Pages {
        from: from + 1,
        to,
        of,
        previous: (page > 1).then(|| link(page - 1)),
        next: (to < of).then(|| link(page + 1)),
    };
    (
        rows.into_iter().skip(from).take(PAGE).collect(),
        Some(pages),
    )
}

/// The tables, one per environment that has rows.
pub(super) fn blocks(
    rows: Vec<AppSummary>,
    overview: &Overview,
    board: &Board,
    now: Now,
) -> Vec<EnvBlock> {
    let mut here: BTreeMap<String, Vec<AppSummary>> = BTreeMap::new();
    for row in rows {
        here.entry(row.env.clone()).or_default().push(row);
    }
    overview
        .environments
        .iter()
        .filter_map(|environment| {
            let apps = here.remove(&environment.name)?;
            let fold = apps.len() > FOLD;
            let (rest, rows): (Vec<_>, Vec<_>) = apps
                .into_iter()
                .partition(|app| fold && app.state == State::Synced);
            let row = |app| Row::new(app, now);
            Some(EnvBlock {
                about: about(environment.policy.as_deref(), &environment.name, board),
                name: environment.name.clone(),
                rows: rows.into_iter().map(row).collect(),
                rest: rest.into_iter().map(row).collect(),
            })
        })
        .collect()
}

/// The line beside an environment's name: where it is, and what it does by itself.
fn about(policy: Option<&str>, env: &str, board: &Board) -> String {
    let mut clusters: Vec<&str> = board
        .apps
        .iter()
        .filter(|((environment, _), _)| environment == env)
        .map(|(_, app)| app.destination.as_str())
        .collect();
    clusters.sort_unstable();
    clusters.dedup();
    let place = match clusters.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("{} clusters", many.len()),
    };
    format!(
        "{place} · {}",
        policy.unwrap_or("each app by its own policy")
    )
}
