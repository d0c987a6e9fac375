//! All apps at a glance: the headline, the counts, the repositories, the environments.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_api::overview::{
    Cell, Counts, Environment, Environments, Notice, Overview, Repository,
};
use lockstep_api::time::Time;
use lockstep_app::config;
use lockstep_app::{DeletionPolicy, DriftPolicy, Fault, NewCommitPolicy};
use lockstep_reconcile::view::AppView;

use super::{commit, count, state};
use crate::board::{Board, RepositoryView};
use crate::http::words;

/// What paints the top of the front page.
pub(in crate::http) fn overview(board: &Board, now: Timestamp) -> Overview {
    let mut counts = Counts::default();
    for app in board.apps.values() {
        counts.add(state(app.word));
    }
    Overview {
        headline: headline(board, &counts),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        board: board.version,
        at: now.into(),
        counts,
        repositories: repositories(board),
        environments: environments(board).items,
        notices: notices(board),
        leading: board.leading,
        complete: board.complete,
        server: board.server.clone(),
        permissive_projects: board.permissive_projects.clone(),
    }
}

/// The answer as a sentence: the first that applies.
fn headline(board: &Board, counts: &Counts) -> String {
    let total = counts.total;
    let look = counts.need_a_look();
    if board.cluster_fault.is_some() {
        return format!("Lockstep can’t see {}", board.server);
    }
    match (total, look, counts.syncing) {
        (0, _, _) => "No apps yet".to_owned(),
        (1, 0, 0) => "The one app matches git".to_owned(),
        (_, 0, 0) => format!("All {total} apps match git"),
        (_, 0, 1) => "1 app is syncing".to_owned(),
        (_, 0, syncing) => format!("{syncing} apps are syncing"),
        (_, 1, _) if look == counts.failing => format!("1 of {total} apps is failing"),
        (_, _, _) if look == counts.failing => format!("{look} of {total} apps are failing"),
        (_, 1, _) => format!("1 of {total} apps needs a look"),
        (_, _, _) => format!("{look} of {total} apps need a look"),
    }
}

fn notice(fault: &Fault, before: &str) -> Notice {
    Notice {
        code: fault.code.clone(),
        text: format!("{before}: {}", fault.message),
        next: fault.hint.clone(),
    }
}

fn notices(board: &Board) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(fault) = &board.cluster_fault {
        let before = format!("{} does not answer", board.server);
        let mut notice = notice(fault, &before);
        notice.text.push_str(
            "; what is below was last seen there, and nothing is synced until it answers",
        );
        notices.push(notice);
    }
    if let Some(fault) = &board.config_fault {
        notices.push(notice(
            fault,
            "The configuration file is wrong, so the last good one stays in force",
        ));
    }
    for repository in &board.repositories {
        if let Some(fault) = &repository.fault {
            let before = format!(
                "{} cannot be read, so nothing of it is changed",
                repository.remote
            );
            notices.push(notice(fault, &before));
        }
    }
    if !board.leading && board.complete {
        notices.push(Notice {
            code: "lockstep.standby".to_owned(),
            text: "This replica stands by; another one holds the lease and does the work"
                .to_owned(),
            next: None,
        });
    }
    notices
}

fn repositories(board: &Board) -> Vec<Repository> {
    let mut views: Vec<&RepositoryView> = board.repositories.iter().collect();
    views.sort_by_key(|view| {
        std::cmp::Reverse(view.head.as_ref().and_then(|head| head.committed_at))
    });
    views
        .into_iter()
        .map(|view| Repository {
            url: view.remote.to_string(),
            target: view.target.clone(),
            head: view.head.as_ref().map(commit),
            reach: reach(board, view),
            asked_at: view.asked_at.map(Time::from),
            webhook_at: view.webhook_at.map(Time::from),
            fault: view
                .fault
                .as_ref()
                .map(|fault| notice(fault, "cannot be read")),
        })
        .collect()
}

/// Where the newest commit is live, in words: per environment, whether all apps that follow this target run it.
fn reach(board: &Board, repository: &RepositoryView) -> Option<String> {
    let head = repository.head.as_ref()?;
    let mut live: BTreeMap<&str, bool> = BTreeMap::new();
    for app in board.apps.values() {
        let follows = repository.remote.same_repository(&app.source.remote)
            && app
                .wanted
                .as_ref()
                .is_some_and(|wanted| wanted.revision == head.revision);
        if follows {
            let runs = app
                .live
                .as_ref()
                .is_some_and(|live| live.revision == head.revision);
            let all = live.entry(app.environment.as_str()).or_insert(true);
            *all = *all && runs;
        }
    }
    let order = environment_order(board);
    let with = |wanted: bool| -> Vec<&str> {
        order
            .iter()
            .map(String::as_str)
            .filter(|env| live.get(env) == Some(&wanted))
            .collect()
    };
    let (yes, no) = (with(true), with(false));
    match (yes.len(), no.len()) {
        (0, 0) => None,
        (0, _) => Some("It is not live anywhere yet".to_owned()),
        (_, 0) => Some("It is live everywhere".to_owned()),
        (_, _) if yes.len() > no.len() => {
            Some(format!("It is live everywhere except {}", words::list(&no)))
        }
        (_, _) => Some(format!(
            "It is live in {}, not yet in {}",
            words::list(&yes),
            words::list(&no)
        )),
    }
}

/// The environments as they are shown: the configuration's last one first, since it is where production stands; then
/// whatever else apps belong to.
pub(in crate::http) fn environment_order(board: &Board) -> Vec<String> {
    let mut order: Vec<String> = board
        .config
        .environments
        .names()
        .map(str::to_owned)
        .collect();
    order.reverse();
    for (env, _) in board.apps.keys() {
        if !order.contains(env) {
            order.push(env.clone());
        }
    }
    order
}

/// The environments with their policy and their apps.
pub(in crate::http) fn environments(board: &Board) -> Environments {
    let mut here: BTreeMap<&str, Vec<&Arc<AppView>>> = BTreeMap::new();
    for app in board.apps.values() {
        here.entry(app.environment.as_str()).or_default().push(app);
    }
    let items: Vec<Environment> = environment_order(board)
        .into_iter()
        .map(|name| {
            let mut apps = here.remove(name.as_str()).unwrap_or_default();
            apps.sort_by(|a, b| (state(a.word), &a.name).cmp(&(state(b.word), &b.name)));
            let mut counts = Counts::default();
            for app in &apps {
                counts.add(state(app.word));
            }
            let last = apps
                .iter()
                .filter_map(|app| app.history.front())
                .map(|h| h.deployed_at)
                .max();
            Environment {
                policy: board.config.environments.get(&name).and_then(policy),
                counts,
                last_deployment_at: last.map(Time::from),
                apps: apps
                    .iter()
                    .map(|app| Cell {
                        name: app.name.clone(),
                        state: state(app.word),
                    })
                    .collect(),
                name,
            }
        })
        .collect();
    let total = count(items.len());
    Environments { items, total }
}

/// What an environment does by itself, in words; none where it leaves everything to the Applications.
fn policy(environment: &config::Environment) -> Option<String> {
    let commits = environment.new_commit.map(|policy| match policy {
        NewCommitPolicy::Apply => "applies new commits by itself".to_owned(),
        NewCommitPolicy::Approve => "new commits wait for a person".to_owned(),
        NewCommitPolicy::Hold => "new commits are held".to_owned(),
    });
    let drift = environment.drift.map(|policy| match policy {
        DriftPolicy::Heal => "puts drift back".to_owned(),
        DriftPolicy::HealAfter(wait) => {
            format!("puts drift back after {}", words::span(wait))
        }
        DriftPolicy::Report => "reports drift and leaves it".to_owned(),
    });
    let deletion = environment.deletion.map(|policy| match policy {
        DeletionPolicy::Prune => "deletes what git dropped".to_owned(),
        DeletionPolicy::Approve => "deletions wait for a person".to_owned(),
        DeletionPolicy::Keep => "keeps what git dropped".to_owned(),
    });
    let parts: Vec<String> = [commits, drift, deletion].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}
