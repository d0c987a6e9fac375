//! `lockstep sync`: print the plan, send it back as seen, follow it until it is healthy.

use lockstep_api::plan::{LeftAlone, StepAction};
use lockstep_api::{PlanView, SyncRequest, text};
use serde::Deserialize;
use tokio::time::Instant;

use super::follow;
use super::operation::{Following, refused};
use crate::cli::{Output, SyncArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::object::Object;
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
    let following = Following {
        target: &target,
        output: args.output,
        started,
        deadline: started + args.timeout.0,
        whole: args.resources.is_empty(),
        server,
        screen,
    };
    let mut request = SyncRequest {
        // Whoever sends a plan back means its deletions, too, unless they say otherwise.
        prune: args.no_prune.then_some(false),
        resources: args.resources.iter().map(Object::pick).collect(),
        skip_hooks: args.skip_hooks,
        force: args.force,
        ..SyncRequest::default()
    };
    if let Some(revision) = revision
        && is_another(&revision, &target, server).await?
    {
        // What a sync to another commit would do is in no plan yet: the server has to be asked.
        request.revision = Some(revision);
        request.prune = Some(!args.no_prune);
        request.dry_run = args.dry_run;
        return order(&args, &following, &request).await;
    }
    let plan = server.part::<PlanView>(&target, "plan").await?.value;
    let digest = plan.digest.clone();
    let plan = narrowed(plan, &args);
    known(&plan, &args, &target, server).await?;
    let steps = !plan.steps.is_empty();
    // What failed for good is left out of the plan until somebody asks again, and this is asking.
    let failed = |left: &LeftAlone| matches!(left.code.as_str(), "failed" | "hookFailed");
    let again = plan.left.iter().any(failed);
    if args.output == Output::Text && (steps || again) {
        screen.out(&text::plan(&plan));
    }
    if args.dry_run || !(steps || again) {
        if args.output == Output::Json {
            screen.raw(&(serde_json::to_string(&plan).unwrap_or_default() + "\n"));
        } else if !(steps || again) {
            screen.out(&nothing_to_do(&args, &target));
        }
        return Ok(if args.dry_run && steps {
            Exit::No
        } else {
            Exit::Yes
        });
    }
    request.plan = Some(digest);
    if plan.revision.is_none() {
        return let_leave(&args, &following, &request).await;
    }
    order(&args, &following, &request).await
}

/// Asks for the sync, and follows it as far as that is wanted.
async fn order(
    args: &SyncArgs,
    following: &Following<'_>,
    request: &SyncRequest,
) -> Result<Exit, Failure> {
    let (target, server) = (following.target, following.server);
    let operation = match server.order(target, "sync", request).await? {
        Ok(operation) => operation,
        Err(problem) => return Err(refused(&problem, target, following.screen)),
    };
    let again = format!("lockstep wait {}/{}", target.env, target.app);
    if request.dry_run {
        let tried = following.tried(operation);
        return follow::interruptible("nothing is changed", &again, tried).await;
    }
    if args.no_wait {
        following.begun(&operation);
        return Ok(Exit::Yes);
    }
    let finish = following.finish(operation);
    follow::interruptible("the sync goes on", &again, finish).await
}

/// Lets an app that is being deleted go on with that: there is nothing that could become healthy.
async fn let_leave(
    args: &SyncArgs,
    following: &Following<'_>,
    request: &SyncRequest,
) -> Result<Exit, Failure> {
    let target = following.target;
    match following.server.order(target, "sync", request).await? {
        Ok(operation) if args.output == Output::Json => following.begun(&operation),
        Ok(_) => following.screen.out(&format!(
            "{target} is being deleted, and that goes on; see how far it is: lockstep status {}/{}\n",
            target.env, target.app
        )),
        Err(problem) => return Err(refused(&problem, target, following.screen)),
    }
    Ok(Exit::Yes)
}

/// Is it another commit than the one that git's target names?
async fn is_another(revision: &str, target: &Target, server: &Server) -> Result<bool, Failure> {
    let app = server.app(target).await?.value.summary;
    let wanted = app.wanted.or(app.live);
    Ok(wanted.is_none_or(|wanted| wanted.sha != revision))
}

fn nothing_to_do(args: &SyncArgs, target: &Target) -> String {
    if args.resources.is_empty() {
        format!("{target} matches git; there is nothing to do\n")
    } else {
        let names: Vec<String> = args.resources.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        format!("{names} of {target}: there is nothing to do\n")
    }
}

/// The part of the plan that is asked for: these objects, and hooks only where they run.
fn narrowed(mut plan: PlanView, args: &SyncArgs) -> PlanView {
    let whole = args.resources.is_empty();
    let has_hooks = whole && !args.skip_hooks;
    if has_hooks {
        return plan;
    }
    let picks = |id: &lockstep_api::app::ObjectRef| {
        whole || args.resources.iter().any(|written| written.is(id))
    };
    plan.steps.retain(|step| match step.action {
        StepAction::Run | StepAction::LetGo => has_hooks,
        StepAction::Apply | StepAction::Prune | StepAction::Release => picks(&step.id),
    });
    plan.left.retain(|left| picks(&left.id));
    let count = |verb: &str| {
        let steps = plan.steps.iter();
        let count = steps.filter(|step| text::step_verb(step) == verb).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    (plan.create, plan.update, plan.delete, plan.hooks) = (
        count("create"),
        count("update"),
        count("delete"),
        count("run"),
    );
    plan
}

/// The objects of an app, as far as they are needed to know one.
#[derive(Deserialize)]
struct Objects {
    items: Vec<lockstep_api::app::Object>,
}

/// Sees to it that the app has every object that is named: a slip is no sync of nothing.
async fn known(
    plan: &PlanView,
    args: &SyncArgs,
    target: &Target,
    server: &Server,
) -> Result<(), Failure> {
    let is_planned = |written: &&Object| {
        plan.steps.iter().any(|step| written.is(&step.id))
            || plan.left.iter().any(|left| written.is(&left.id))
    };
    let doubtful: Vec<_> = args
        .resources
        .iter()
        .filter(|one| !is_planned(one))
        .collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    let objects: Objects = server.part(target, "objects").await?.value;
    let is_there = |written: &Object| objects.items.iter().any(|object| written.is(&object.id));
    match doubtful.iter().find(|written| !is_there(written)) {
        Some(missing) => Err(missing.unknown(target)),
        None => Ok(()),
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
    fn only_a_complete_commit_is_synced_to() {
        assert!(complete("8c1d0be4a0b1c2d3e4f5061728394a5b6c7d8e9f").is_ok());
        assert_eq!(
            complete("main").expect_err("a branch moves").exit,
            Exit::Invalid
        );
    }
}
