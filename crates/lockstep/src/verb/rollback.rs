//! `lockstep rollback`: back to what was deployed before, and stay there.

use lockstep_api::RollbackRequest;
use lockstep_api::operation::Past;
use tokio::time::Instant;

use super::follow;
use super::operation::{Following, refused};
use crate::cli::{Output, RollbackArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Purpose, Written};

/// A commit is named by this many digits or more: what is shorter is the number of a deployment.
const SHORTEST_COMMIT: usize = 7;

/// Rolls one app back, and follows it until it is healthy.
pub(super) async fn run(
    args: RollbackArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let started = Instant::now();
    let to = args.to.as_ref().or(args.deployment.as_ref());
    let to = to.map(|to| past(to)).transpose()?;
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Write)
        .await?;
    let request = RollbackRequest {
        to,
        reason: args.reason,
        until: args.until,
        prune: args.prune,
        skip_hooks: args.skip_hooks,
        dry_run: args.dry_run,
    };
    let operation = match server.order(&target, "rollback", &request).await? {
        Ok(operation) => operation,
        Err(problem) => return Err(refused(&problem, &target, screen)),
    };
    let following = Following {
        target: &target,
        output: args.output,
        started,
        deadline: started + args.timeout.0,
        whole: true,
        server,
        screen,
    };
    let again = format!("lockstep wait {}/{} --for healthy", target.env, target.app);
    if args.dry_run {
        let tried = following.tried(operation);
        return follow::interruptible("nothing is changed", "lockstep rollback", tried).await;
    }
    if args.no_wait {
        following.begun(&operation);
        return Ok(Exit::Yes);
    }
    let finish = following.finish(operation);
    follow::interruptible("the rollback goes on", &again, finish).await
}

/// A deployment as people name it. Errors: neither a number nor a commit.
fn past(text: &str) -> Result<Past, Failure> {
    let is_commit = (SHORTEST_COMMIT..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit {
        return Ok(Past::Commit(text.to_owned()));
    }
    text.parse().map(Past::Number).map_err(|_| {
        Failure::new(
            Exit::Invalid,
            format!("{text:?} is no deployment"),
            "give its number or 7 digits of its commit: lockstep history APP -e ENV",
        )
        .state("nothing was changed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_a_number_or_seven_digits_of_a_commit() {
        assert_eq!(past("46"), Ok(Past::Number(46)));
        assert_eq!(past("a3f19d7"), Ok(Past::Commit("a3f19d7".to_owned())));
        for wrong in ["HEAD", "a3f19", "-1", ""] {
            assert_eq!(
                past(wrong).expect_err("it is none").exit,
                Exit::Invalid,
                "{wrong}"
            );
        }
    }
}
