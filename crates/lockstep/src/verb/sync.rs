//! `lockstep sync`: print the plan, send it back as seen, follow it until it is healthy.

use lockstep_api::operation::OperationPhase;
use lockstep_api::{Operation, PlanView, Problem, State, SyncRequest, text};
use tokio::time::Instant;

use super::follow::{self, Wish};
use crate::cli::{Goal, Output, SyncArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Purpose, Target, Written};

/// Syncs one app.
pub(super) async fn run(args: SyncArgs, server: &Server, screen: &Screen) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let started = Instant::now();
    let revision = args.revision.as_deref().map(complete).transpose()?;
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Write)
        .await?;
    let plan = server.part::<PlanView>(&target, "plan").await?.value;
    let steps = !plan.steps.is_empty();
    // What failed for good is left out of the plan until somebody asks again, and this is asking.
    let again = plan.left.iter().any(|left| left.code == "failed");
    if args.output == Output::Text && (steps || again) {
        screen.out(&text::plan(&plan));
    }
    if args.dry_run || !(steps || again) {
        if args.output == Output::Json {
            screen.raw(&(serde_json::to_string(&plan).unwrap_or_default() + "\n"));
        } else if !(steps || again) {
            screen.out(&format!("{target} matches git; there is nothing to do\n"));
        }
        return Ok(if args.dry_run && steps {
            Exit::No
        } else {
            Exit::Yes
        });
    }
    let request = SyncRequest {
        plan: Some(plan.digest),
        // Whoever sends a plan back means its deletions, too, unless they say otherwise.
        prune: args.no_prune.then_some(false),
        revision,
        ..SyncRequest::default()
    };
    let operation = match server.sync(&target, &request).await? {
        Ok(operation) => operation,
        Err(problem) => return Err(refused(&problem, &target, screen)),
    };
    if args.no_wait {
        begun(&args, &target, &operation, screen);
        return Ok(Exit::Yes);
    }
    let again = format!("lockstep wait {}/{}", target.env, target.app);
    let follow = finish(&args, &target, operation, started, server, screen);
    follow::interruptible("the sync goes on", &again, follow).await
}

fn begun(args: &SyncArgs, target: &Target, operation: &Operation, screen: &Screen) {
    match args.output {
        Output::Json => print_json(operation, screen),
        Output::Text => {
            screen.out(&format!(
                "{target}: begun as {}; wait for it with: lockstep wait {}/{}\n",
                text::plain(&operation.id),
                target.env,
                target.app
            ));
        }
    }
}

/// Follows the operation to its end, then the app until it is healthy.
async fn finish(
    args: &SyncArgs,
    target: &Target,
    operation: Operation,
    started: Instant,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let deadline = started + args.timeout.0;
    let operation = ended(target, operation, deadline, server, screen).await?;
    if operation.phase == OperationPhase::Failed {
        return Err(failed(target, &operation));
    }
    if !screen_is_json(args) {
        let count = text::objects(u64::try_from(operation.results.len()).unwrap_or(u64::MAX));
        progress(screen, "applied", &count, operation.took_ms);
    }
    let applied = Instant::now();
    let wish = Wish {
        goal: Goal::Healthy,
        revision: operation.revision.clone(),
    };
    let app = follow::until(target, &wish, deadline, server, screen).await?;
    if screen_is_json(args) {
        print_json(&operation, screen);
        return Ok(Exit::Yes);
    }
    progress(screen, "healthy", "", Some(millis(applied.elapsed())));
    let commit = app
        .live
        .as_ref()
        .map_or_else(String::new, |commit| format!(" at {}", commit.short));
    let took = text::took(millis(started.elapsed()));
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

fn screen_is_json(args: &SyncArgs) -> bool {
    args.output == Output::Json
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

/// Asks until the operation has ended; the server holds each question until there is news.
async fn ended(
    target: &Target,
    mut operation: Operation,
    deadline: Instant,
    server: &Server,
    screen: &Screen,
) -> Result<Operation, Failure> {
    let mut said = operation.message.clone();
    while operation.phase == OperationPhase::Running {
        let asked = tokio::time::timeout_at(deadline, server.operation(&operation.id)).await;
        let Ok(answer) = asked else {
            return Err(Failure::new(
                Exit::Timeout,
                format!("{target} is still being synced"),
                format!("lockstep wait {}/{}", target.env, target.app),
            )
            .why(&operation.message)
            .state("the sync goes on"));
        };
        operation = answer?.value;
        if operation.phase == OperationPhase::Running
            && operation.message != said
            && !operation.message.is_empty()
        {
            said.clone_from(&operation.message);
            screen.err(&format!("{target}: {}\n", text::plain(&said)));
        }
    }
    Ok(operation)
}

/// The failure of an operation, with the objects that failed.
fn failed(target: &Target, operation: &Operation) -> Failure {
    let bad: Vec<String> = operation
        .results
        .iter()
        .filter(|result| result.status == "SyncFailed")
        .map(|result| format!("{}: {}", result.id.short(), result.message))
        .collect();
    let applied = operation
        .results
        .iter()
        .filter(|result| result.status == "Synced")
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
    .state(match applied {
        0 => "nothing was applied".to_owned(),
        applied => format!("{} applied, {} not", text::objects(applied), bad.len()),
    })
}

/// The failure of a request; a newer plan is printed, because it has to be looked at.
fn refused(problem: &Problem, target: &Target, screen: &Screen) -> Failure {
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

/// A complete commit id. Errors: a branch, a tag, a short one.
fn complete(text: &str) -> Result<String, Failure> {
    text.parse::<lockstep_app::app::Revision>()
        .map(|revision| revision.as_str().to_owned())
        .map_err(|error| {
            Failure::new(
                Exit::Invalid,
                error.to_string(),
                "give all its digits: git rev-parse COMMIT",
            )
            .state("nothing was changed")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_names_the_object_and_what_was_applied() {
        let operation: Operation = serde_json::from_str(
            r#"{"id":"op-1","key":"prod/shop","phase":"failed","message":"1 of 2 objects failed","revision":null,"by":"x",
                "startedAt":"2026-03-12T14:30:00.000Z","finishedAt":"2026-03-12T14:30:01.000Z","tookMs":1000,
                "results":[
                  {"ref":{"group":"","kind":"Service","namespace":"s","name":"a"},"status":"Synced","message":"configured"},
                  {"ref":{"group":"apps","kind":"Deployment","namespace":"s","name":"b"},"status":"SyncFailed",
                   "message":"spec.selector never changes"}]}"#,
        )
        .expect("it is an operation");
        let target = Target {
            env: "prod".to_owned(),
            app: "shop".to_owned(),
        };
        let failure = failed(&target, &operation);
        assert_eq!(
            failure.text(),
            "error: the sync of shop in prod failed\n  why    Deployment/b: spec.selector never changes\n  state  1 \
             object applied, 1 not\n  next   lockstep status prod/shop\n"
        );
        assert_eq!(failure.exit, Exit::SyncFailed);
    }

    #[test]
    fn only_a_complete_commit_is_synced_to() {
        assert!(complete("8c1d0be4a0b1c2d3e4f5061728394a5b6c7d8e9f").is_ok());
        assert_eq!(
            complete("main").expect_err("a branch moves").exit,
            Exit::Invalid
        );
    }
}
