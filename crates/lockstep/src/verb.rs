//! The verbs, one module each, and the way from a parsed command line to one of them.

mod crds;
mod diff;
mod drift;
mod follow;
mod help;
mod history;
mod let_go;
mod operation;
mod render;
mod rollback;
mod serve;
mod status;
mod sync;
mod token;
mod validate;
mod version;
mod wait;

use std::future::Future;

use lockstep_manifest::Sensitive;

use crate::cli::{AppVerb, Cli, StatusArgs, Verb};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;

/// Does what was asked.
pub(crate) fn run(cli: Cli, environment: &Environment, screen: &Screen) -> Result<Exit, Failure> {
    let Cli {
        server,
        token,
        verb,
        ..
    } = cli;
    let connect = || -> Result<Server, Failure> {
        let token = token.filter(|token| !token.is_empty()).map(Sensitive::new);
        let server = Server::new(&server, token.as_ref())?;
        if server.exposes_token() {
            screen.err(&format!(
                "warning: the token travels unencrypted to {}; use https, or a port-forward\n",
                server.address()
            ));
        }
        Ok(server)
    };
    match verb.unwrap_or_else(|| Verb::App(AppVerb::Status(StatusArgs::default()))) {
        Verb::App(verb) | Verb::AppAlias(verb) => {
            let server = connect()?;
            waited_for(async {
                match verb {
                    AppVerb::Status(args) => status::run(args, &server, screen).await,
                    AppVerb::Drift(args) => drift::run(args, &server, screen).await,
                    AppVerb::Diff(args) => diff::run(args, &server, screen).await,
                    AppVerb::Sync(args) => sync::run(args, &server, screen).await,
                    AppVerb::Wait(args) => wait::run(args, &server, screen).await,
                    AppVerb::History(args) => history::run(args, &server, screen).await,
                    AppVerb::Rollback(args) => rollback::run(args, &server, screen).await,
                    AppVerb::Release(args) => let_go::release(args, &server, screen).await,
                    AppVerb::Terminate(args) => let_go::terminate(args, &server, screen).await,
                    AppVerb::Abandon(args) => let_go::abandon(args, &server, screen).await,
                }
            })
        }
        Verb::Version(args) => waited_for(version::run(args, connect, screen)),
        Verb::Token(verb) => waited_for(token::run(verb, screen)),
        Verb::Render(args) => render::run(&args, screen),
        Verb::Validate(args) => validate::run(&args, screen),
        Verb::Serve(args) => serve::run(args, environment),
        Verb::Crds => crds::run(screen),
        Verb::Help { topic } => help::run(&topic, screen),
    }
}

/// Runs a verb that speaks to somebody: one thread is enough for a command line.
fn waited_for(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(Exit::Unexpected, "the program could not start", "try again")
                .why(error.to_string())
        })?
        .block_on(verb)
}
