//! `lockstep drift`: what differs from git, and who wrote it.

use lockstep_api::{Drift, text};

use crate::cli::{DriftArgs, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Purpose, Written};

/// Prints the ledger; exit code 1 when there is something in it.
pub(super) async fn run(
    args: DriftArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Read)
        .await?;
    let answer = server.part::<Drift>(&target, "drift").await?;
    match args.output {
        Output::Json => screen.raw(&answer.text),
        Output::Text => screen.out(&text::drift(&answer.value)),
    }
    Ok(if answer.value.fields == 0 {
        Exit::Yes
    } else {
        Exit::No
    })
}
