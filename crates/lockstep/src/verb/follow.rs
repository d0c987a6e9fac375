//! Waiting for one app: what counts as there, what counts as lost, and what is said meanwhile.

use std::future::Future;
use std::time::Duration;

use lockstep_api::app::SyncState;
use lockstep_api::operation::VerifiedState;
use lockstep_api::{AppSummary, HealthState, Operation, State, StepOutcome, text};
use tokio::time::Instant;

use super::operation::Hooks;
use crate::cli::Goal;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::Target;

/// After this long without news, what is waited for is said.
const SILENCE: Duration = Duration::from_secs(2);

/// The reason of drift that is put back after a while.
const REVERTING: &str = "drift.reverting_after";

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The condition.
    pub(super) goal: Goal,
    /// The beginning of the commit that is to be live.
    pub(super) revision: Option<String>,
}

/// How an app stands to a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is so.
    Met,
    /// It will not be so by waiting.
    Lost(Exit),
    /// Not yet, and why.
    NotYet(String),
}

/// The reason of an app that is kept where it was rolled back to.
const ROLLED_BACK: &str = "held.rollback";

/// Decides from the app and its last operation alone.
pub(super) fn judge(app: &AppSummary, operation: Option<&Operation>, wish: &Wish) -> Verdict {
    if let Some(wanted) = &wish.revision {
        let is = |commit: &Option<lockstep_api::Commit>| {
            commit
                .as_ref()
                .is_some_and(|commit| commit.sha.starts_with(wanted.as_str()))
        };
        if !is(&app.live) {
            if is(&app.wanted) {
                return unmet(app, wish.goal);
            }
            let now = app
                .wanted
                .as_ref()
                .map_or_else(|| "no commit".to_owned(), |commit| commit.short.clone());
            return Verdict::NotYet(format!("git's target is at {now}"));
        }
    }
    let met = match wish.goal {
        Goal::Synced => app.state == State::Synced,
        Goal::Healthy => app.health == Some(HealthState::Healthy),
        Goal::NoDrift => app.sync == SyncState::InSync && app.drift_fields == 0,
        Goal::Verified => match verified(app, operation) {
            Some(VerifiedState::Verified) => true,
            Some(VerifiedState::NotVerified) => return Verdict::Lost(Exit::Unhealthy),
            Some(VerifiedState::Pending) => false,
            // A commit that changed nothing here was not applied: it is as good as the one before.
            None => app.state == State::Synced,
        },
    };
    if met {
        Verdict::Met
    } else {
        unmet(app, wish.goal)
    }
}

/// How it stands with what was applied last; none where no sync of the live commit has ended well.
fn verified(app: &AppSummary, operation: Option<&Operation>) -> Option<VerifiedState> {
    let operation = operation.filter(|operation| !operation.dry_run)?;
    if operation.is_running() {
        return Some(VerifiedState::Pending);
    }
    let live = app.live.as_ref().map(|live| live.sha.as_str());
    let state = operation.verified.as_ref().map(|verified| verified.state);
    state.filter(|_| operation.revision.as_deref() == live)
}

fn unmet(app: &AppSummary, goal: Goal) -> Verdict {
    let code = app
        .reason
        .as_ref()
        .map_or("", |reason| reason.code.as_str());
    match app.state {
        State::Failing => Verdict::Lost(match Exit::of_reason(code) {
            Exit::Unexpected if app.strip.last() == Some(&StepOutcome::Failed) => Exit::Unhealthy,
            Exit::Unexpected => Exit::SyncFailed,
            exit => exit,
        }),
        // Drift that is put back by itself, only not yet.
        State::Drifted if code == REVERTING => Verdict::NotYet(reason(app)),
        // It is kept there, and that says nothing of how it is doing.
        State::Held if code == ROLLED_BACK && goal != Goal::Synced => {
            Verdict::NotYet(format!("not {} yet", goal.text()))
        }
        State::Held => Verdict::Lost(Exit::of_reason(code)),
        State::Drifted => Verdict::Lost(Exit::NeedsAPerson),
        // What cannot be seen may be seen in a moment.
        State::Unknown | State::Syncing | State::Synced => Verdict::NotYet(reason(app)),
    }
}

/// Why the app is not there yet, in its own words.
fn reason(app: &AppSummary) -> String {
    app.reason.as_ref().map_or_else(
        || app.state.text().to_lowercase(),
        |reason| text::plain(&reason.text),
    )
}

/// The failure of an app that will not get there by waiting.
pub(super) fn lost(app: &AppSummary, exit: Exit) -> Failure {
    let what = match exit {
        Exit::Unhealthy => "was applied but isn't healthy",
        Exit::NeedsAPerson => "waits for a person",
        Exit::Blocked => "is held",
        Exit::Unreachable => "can't be seen",
        _ => "failed",
    };
    let next = app
        .next
        .as_ref()
        .and_then(|next| next.command.clone().or_else(|| next.who.clone()));
    let next = next.unwrap_or_else(|| format!("lockstep status {}", app.key));
    let state = match (&app.live, &app.wanted) {
        (Some(live), Some(wanted)) if live.sha != wanted.sha => {
            format!("{} is live, {} is not", live.short, wanted.short)
        }
        (Some(live), _) => format!("{} is live", live.short),
        (None, _) => "nothing of it is live".to_owned(),
    };
    Failure::new(exit, format!("{} in {} {what}", app.name, app.env), next)
        .why(app.reason.as_ref().map_or("", |reason| &reason.text))
        .state(state)
}

/// Waits until the app is as wished, says each change once, and gives up early when waiting cannot help.
pub(super) async fn until(
    target: &Target,
    wish: &Wish,
    deadline: Instant,
    server: &Server,
    screen: &Screen,
) -> Result<AppSummary, Failure> {
    let started = Instant::now();
    let mut doorbell = server.doorbell().await?;
    let mut said = String::new();
    let mut said_hooks: Option<Hooks> = None;
    loop {
        let whole = server.app(target).await?.value;
        if let Some(operation) = &whole.operation {
            if said_hooks.is_none() {
                let hooks = said_hooks.insert(Hooks::default());
                hooks.skip_what_is_over(operation);
            }
            for line in said_hooks
                .iter_mut()
                .flat_map(|hooks| hooks.news(operation))
            {
                screen.err(&format!("{target}: {line}\n"));
            }
        }
        let app = whole.summary;
        let why = match judge(&app, whole.operation.as_ref(), wish) {
            Verdict::Met => return Ok(app),
            Verdict::Lost(exit) => return Err(lost(&app, exit)),
            Verdict::NotYet(why) => why,
        };
        if started.elapsed() >= SILENCE && why != said {
            screen.err(&format!("{target}: {why}\n"));
            said.clone_from(&why);
        }
        // Looked at first, because a bell that never stops would be answered before the clock is.
        let late = Instant::now() >= deadline;
        if late
            || tokio::time::timeout_at(deadline, doorbell.rings())
                .await
                .is_err()
        {
            return Err(Failure::new(
                Exit::Timeout,
                format!("{target} is not there yet"),
                format!(
                    "lockstep wait {}/{}, or look: lockstep status {}/{}",
                    target.env, target.app, target.env, target.app
                ),
            )
            .why(why)
            .state("nothing was undone; Lockstep goes on by itself"));
        }
    }
}

/// Lets Ctrl-C end the waiting, and says that it ends nothing else.
pub(super) async fn interruptible<T>(
    goes_on: &str,
    again: &str,
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "Stopped watching", again).state(goes_on)),
        ended = waiting => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(state: &str, reason: &str, live: &str, wanted: &str) -> AppSummary {
        let commit = |sha: &str| {
            format!(
                r#"{{"sha":"{sha}","short":"{sha}","subject":"s","author":"a","committedAt":null}}"#
            )
        };
        let json = format!(
            r#"{{"key":"prod/shop","env":"prod","name":"shop","version":1,"state":"{state}",
                "since":"2026-03-12T14:30:00.000Z","reason":{{"code":"{reason}","text":"because"}},"next":null,
                "live":{},"wanted":{},"strip":["done","done","done","done","none"],"sync":"inSync",
                "health":"progressing","driftFields":0,"links":{{"html":"/"}}}}"#,
            commit(live),
            commit(wanted)
        );
        serde_json::from_str(&json).expect("it is an app")
    }

    fn wish(revision: Option<&str>) -> Wish {
        Wish {
            goal: Goal::Synced,
            revision: revision.map(str::to_owned),
        }
    }

    #[test]
    fn synced_at_an_older_commit_is_not_yet_the_commit_that_was_asked_for() {
        let old = app("synced", "x.y", "aaaaaaa", "aaaaaaa");
        assert_eq!(judge(&old, None, &wish(None)), Verdict::Met);
        assert_eq!(
            judge(&old, None, &wish(Some("bbbbbbb"))),
            Verdict::NotYet("git's target is at aaaaaaa".to_owned())
        );
        assert_eq!(
            judge(
                &app("synced", "x.y", "bbbbbbb", "bbbbbbb"),
                None,
                &wish(Some("bbbbbbb"))
            ),
            Verdict::Met
        );
    }

    #[test]
    fn a_failure_is_told_at_once_and_not_at_the_timeout() {
        let failing = app("failing", "render.field_unknown", "aaaaaaa", "bbbbbbb");
        assert_eq!(
            judge(&failing, None, &wish(Some("bbbbbbb"))),
            Verdict::Lost(Exit::SyncFailed)
        );
        let crashing = app("failing", "health.crashloop", "bbbbbbb", "bbbbbbb");
        assert_eq!(
            judge(&crashing, None, &wish(None)),
            Verdict::Lost(Exit::Unhealthy)
        );
        let held = app("held", "held.approval", "aaaaaaa", "bbbbbbb");
        assert_eq!(
            judge(&held, None, &wish(Some("bbb"))),
            Verdict::Lost(Exit::NeedsAPerson)
        );
        let unseen = app("unknown", "unknown.first_check", "aaaaaaa", "bbbbbbb");
        assert_eq!(
            judge(&unseen, None, &wish(None)),
            Verdict::NotYet("because".to_owned())
        );
    }

    fn synced_by(verified: &str, revision: &str) -> Operation {
        let json = format!(
            r#"{{"id":"op-1","key":"prod/shop","phase":"succeeded","message":"","revision":"{revision}","by":"x",
                "startedAt":"2026-03-12T14:30:00.000Z","finishedAt":null,"tookMs":null,"results":[],
                "verified":{{"state":"{verified}","at":null,"why":null}}}}"#
        );
        serde_json::from_str(&json).expect("it is an operation")
    }

    #[test]
    fn verified_is_what_was_applied_and_became_healthy_in_time() {
        let wish = Wish {
            goal: Goal::Verified,
            revision: None,
        };
        let live = app("syncing", "syncing", "aaaaaaa", "aaaaaaa");
        let judged = |verified: &str, revision: &str| {
            judge(&live, Some(&synced_by(verified, revision)), &wish)
        };
        assert_eq!(judged("verified", "aaaaaaa"), Verdict::Met);
        assert_eq!(
            judged("notVerified", "aaaaaaa"),
            Verdict::Lost(Exit::Unhealthy)
        );
        assert!(matches!(judged("pending", "aaaaaaa"), Verdict::NotYet(_)));
        assert!(matches!(judged("verified", "bbbbbbb"), Verdict::NotYet(_)));
        let synced = app("synced", "x.y", "aaaaaaa", "aaaaaaa");
        assert_eq!(judge(&synced, None, &wish), Verdict::Met);
    }

    #[test]
    fn a_rolled_back_app_can_become_healthy_but_not_synced_by_waiting() {
        let held = app("held", "held.rollback", "aaaaaaa", "bbbbbbb");
        assert_eq!(
            judge(&held, None, &wish(None)),
            Verdict::Lost(Exit::Blocked)
        );
        let healthy = Wish {
            goal: Goal::Healthy,
            revision: Some("aaaaaaa".to_owned()),
        };
        assert!(matches!(judge(&held, None, &healthy), Verdict::NotYet(_)));
    }

    #[test]
    fn what_is_live_is_said_when_a_commit_fails() {
        let failing = app("failing", "apply.immutable_field", "aaaaaaa", "bbbbbbb");
        assert_eq!(
            lost(&failing, Exit::SyncFailed).text(),
            "error: shop in prod failed\n  why    because\n  state  aaaaaaa is live, bbbbbbb is not\n  next   lockstep \
             status prod/shop\n"
        );
    }
}
