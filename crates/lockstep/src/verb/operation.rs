//! Following an operation: its hooks as they go, its end, and the app until it is healthy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lockstep_api::app::ObjectRef;
use lockstep_api::operation::{HookState, OperationPhase};
use lockstep_api::{Operation, Problem, State, text};
use tokio::time::Instant;

use super::follow::{self, Wish};
use crate::cli::{Goal, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::Target;

/// An operation that is followed.
pub(super) struct Following<'a> {
    pub(super) target: &'a Target,
    pub(super) output: Output,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// Is it of everything? Then its commit is live when it has ended.
    pub(super) whole: bool,
    pub(super) server: &'a Server,
    pub(super) screen: &'a Screen,
}

/// What was said already of the hooks of an operation: each change is said once.
#[derive(Default)]
pub(super) struct Hooks(BTreeMap<(String, ObjectRef), HookState>);

impl Hooks {
    /// The lines that are news.
    pub(super) fn news(&mut self, operation: &Operation) -> Vec<String> {
        let mut lines = Vec::new();
        for result in &operation.results {
            let (Some(state), Some(line)) = (result.hook, text::past::hook(result)) else {
                continue;
            };
            let key = (result.phase.clone(), result.id.clone());
            if self.0.insert(key, state) != Some(state) {
                lines.push(line);
            }
        }
        lines
    }

    /// Takes what is over already as said: whoever begins to watch now asks for what comes.
    pub(super) fn skip_what_is_over(&mut self, operation: &Operation) {
        for result in &operation.results {
            if let Some(state) = result.hook.filter(|state| *state != HookState::Running) {
                self.0
                    .insert((result.phase.clone(), result.id.clone()), state);
            }
        }
    }
}

impl Following<'_> {
    /// Says that it has begun, for somebody who does not wait.
    pub(super) fn begun(&self, operation: &Operation) {
        let target = self.target;
        match self.output {
            Output::Json => print_json(operation, self.screen),
            Output::Text => {
                self.screen.out(&format!(
                    "{target}: begun as {}; wait for it with: lockstep wait {}/{}\n",
                    text::plain(&operation.id),
                    target.env,
                    target.app
                ));
            }
        }
    }

    /// Follows the operation to its end, then the app until it is healthy.
    pub(super) async fn finish(&self, operation: Operation) -> Result<Exit, Failure> {
        let (target, screen) = (self.target, self.screen);
        let operation = self.ended(operation).await?;
        if operation.phase == OperationPhase::Failed {
            return Err(failed(target, &operation));
        }
        if self.output == Output::Text {
            let objects = operation.results.iter().filter(|one| one.hook.is_none());
            let count = text::objects(u64::try_from(objects.count()).unwrap_or(u64::MAX));
            progress(screen, "applied", &count, operation.took_ms);
        }
        let applied = Instant::now();
        let wish = Wish {
            goal: Goal::Healthy,
            revision: operation.revision.clone().filter(|_| self.whole),
        };
        let app = follow::until(target, &wish, self.deadline, self.server, screen).await?;
        if self.output == Output::Json {
            print_json(&operation, screen);
            return Ok(Exit::Yes);
        }
        progress(screen, "healthy", "", Some(millis(applied.elapsed())));
        let commit = app
            .live
            .as_ref()
            .map_or_else(String::new, |commit| format!(" at {}", commit.short));
        let took = text::took(millis(self.started.elapsed()));
        screen.out(&match (app.state, &app.reason) {
            (State::Synced, _) | (_, None) => format!("{target} matches git{commit}. {took}\n"),
            // Something is left: an object that waits for approval to be deleted, drift that is only reported.
            (state, Some(reason)) => {
                format!(
                    "{target} is healthy{commit} and {}: {}. {took}\n",
                    state.text().to_lowercase(),
                    text::plain(&reason.text)
                )
            }
        });
        Ok(Exit::Yes)
    }

    /// Follows one that is only tried, and says what would be done: exit code 1 when that is something.
    pub(super) async fn tried(&self, operation: Operation) -> Result<Exit, Failure> {
        let operation = self.ended(operation).await?;
        match self.output {
            Output::Json => print_json(&operation, self.screen),
            Output::Text => self.screen.out(&results(&operation)),
        }
        Ok(match operation.phase {
            OperationPhase::Failed => Exit::SyncFailed,
            _ if operation.results.is_empty() => Exit::Yes,
            _ => Exit::No,
        })
    }

    /// Waits until the operation has ended, and says each change of its hooks once.
    async fn ended(&self, mut operation: Operation) -> Result<Operation, Failure> {
        let (target, screen) = (self.target, self.screen);
        let mut said = operation.message.clone();
        let mut hooks = Hooks::default();
        let mut doorbell = None;
        loop {
            for line in hooks.news(&operation) {
                screen.err(&format!("{target}: {line}\n"));
            }
            if !operation.is_running() {
                return Ok(operation);
            }
            if operation.message != said && !operation.message.is_empty() {
                said.clone_from(&operation.message);
                screen.err(&format!("{target}: {}\n", text::plain(&said)));
            }
            // The bell is hung before the next look, so that no change falls between the two.
            let bell = match &mut doorbell {
                Some(bell) => bell,
                none => none.insert(self.server.doorbell().await?),
            };
            let late = Instant::now() >= self.deadline;
            let rung = tokio::time::timeout_at(self.deadline, bell.rings()).await;
            if late || rung.is_err() {
                return Err(Failure::new(
                    Exit::Timeout,
                    format!("{target} is still being synced"),
                    format!("lockstep wait {}/{}", target.env, target.app),
                )
                .why(&operation.message)
                .state("the sync goes on"));
            }
            operation = self.server.operation(&operation.id).await?.value;
        }
    }
}

fn print_json(operation: &Operation, screen: &Screen) {
    // Plain data: it cannot fail.
    screen.raw(&(serde_json::to_string(operation).unwrap_or_default() + "\n"));
}

fn progress(screen: &Screen, step: &str, facts: &str, took: Option<u64>) {
    let took = took.map_or_else(String::new, text::took);
    screen.err(&format!("{step:<9} {facts:<12} {took:>6}\n"));
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What would be done, object by object.
fn results(operation: &Operation) -> String {
    let mut out = format!("Dry run: {}", text::plain(&operation.message));
    if let Some(revision) = &operation.revision {
        let _ = write!(out, ", at {}", revision.get(..7).unwrap_or(revision));
    }
    out.push('\n');
    let width = operation.results.iter().map(|one| one.id.short().len());
    let width = width.max().unwrap_or(0);
    for one in &operation.results {
        let name = text::plain(&one.id.short());
        let _ = writeln!(out, "  {name:<width$}  {}", text::plain(&one.message));
    }
    out
}

/// The failure of an operation, with the objects that failed.
fn failed(target: &Target, operation: &Operation) -> Failure {
    let bad: Vec<String> = operation
        .results
        .iter()
        .filter(|result| result.status == "SyncFailed" || result.hook == Some(HookState::Failed))
        .map(|result| match result.hook {
            Some(_) => text::past::hook(result).unwrap_or_default(),
            None => format!("{}: {}", result.id.short(), result.message),
        })
        .collect();
    let applied = operation
        .results
        .iter()
        .filter(|result| result.status == "Synced" && result.hook.is_none())
        .count();
    let why = match bad.as_slice() {
        [] => operation.message.clone(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    };
    let applied = u64::try_from(applied).unwrap_or(u64::MAX);
    Failure::new(
        Exit::SyncFailed,
        format!("the sync of {target} failed"),
        format!("lockstep status {}/{}", target.env, target.app),
    )
    .why(why)
    .state(match (applied, bad.len()) {
        (0, _) => "nothing was applied".to_owned(),
        (applied, 0) => format!("{} applied", text::objects(applied)),
        (applied, not) => format!("{} applied, {not} not", text::objects(applied)),
    })
}

/// The failure of a request; a newer plan is printed, because it has to be looked at.
pub(super) fn refused(problem: &Problem, target: &Target, screen: &Screen) -> Failure {
    match &problem.plan {
        Some(plan) => {
            screen.err(&format!(
                "The plan is another one by now:\n{}",
                text::plan(plan)
            ));
            Failure::new(
                Exit::NeedsAPerson,
                format!("{target} was not synced"),
                format!(
                    "look at the new plan, then: lockstep sync {}/{}",
                    target.env, target.app
                ),
            )
            .why("the plan changed between looking and syncing")
            .state("nothing was changed")
        }
        None => Failure::of_problem(problem).state("nothing was changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(phase: &str, hook: &str) -> Operation {
        let json = format!(
            r#"{{"id":"op-1","key":"prod/shop","phase":"{phase}","message":"1 of 2 objects failed","revision":null,"by":"x",
                "startedAt":"2026-03-12T14:30:00.000Z","finishedAt":"2026-03-12T14:30:01.000Z","tookMs":1000,
                "results":[
                  {{"ref":{{"group":"","kind":"Service","namespace":"s","name":"a"}},"status":"Synced","message":"configured"}},
                  {{"ref":{{"group":"batch","kind":"Job","namespace":"s","name":"seed"}},"status":"Synced",
                   "message":"exit code 1","phase":"PreSync","hook":"{hook}"}},
                  {{"ref":{{"group":"apps","kind":"Deployment","namespace":"s","name":"b"}},"status":"SyncFailed",
                   "message":"spec.selector never changes"}}]}}"#
        );
        serde_json::from_str(&json).expect("it is an operation")
    }

    fn target() -> Target {
        Target {
            env: "prod".to_owned(),
            app: "shop".to_owned(),
        }
    }

    #[test]
    fn a_failed_sync_names_the_object_and_what_was_applied() {
        let failure = failed(&target(), &operation("failed", "succeeded"));
        assert_eq!(
            failure.text(),
            "error: the sync of shop in prod failed\n  why    Deployment/b: spec.selector never changes\n  state  1 \
             object applied, 1 not\n  next   lockstep status prod/shop\n"
        );
        assert_eq!(failure.exit, Exit::SyncFailed);
        let hook = failed(&target(), &operation("failed", "failed")).text();
        assert!(
            hook.contains("why    PreSync hook Job/seed failed: exit code 1; and 1 more"),
            "{hook}"
        );
    }

    #[test]
    fn each_change_of_a_hook_is_said_once() {
        let mut hooks = Hooks::default();
        let running = operation("running", "running");
        assert_eq!(hooks.news(&running), ["PreSync hook Job/seed runs"]);
        assert_eq!(hooks.news(&running), [] as [&str; 0]);
        let over = operation("running", "succeeded");
        assert_eq!(
            hooks.news(&over),
            ["PreSync hook Job/seed has done its work"]
        );
        let mut late = Hooks::default();
        late.skip_what_is_over(&over);
        assert_eq!(late.news(&over), [] as [&str; 0]);
    }
}
