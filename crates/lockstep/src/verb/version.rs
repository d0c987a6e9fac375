//! `lockstep version`.

use crate::cli::{Output, VersionArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;

/// The version of the REST contract: raised when something in it changes its meaning.
const API_VERSION: &str = "v1";

/// Prints both versions; a daemon that does not answer is no error.
pub(super) async fn run(
    args: VersionArgs,
    connect: impl FnOnce() -> Result<Server, Failure>,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let client = env!("CARGO_PKG_VERSION");
    let server = if args.client { None } else { Some(connect()?) };
    let answer = match &server {
        Some(server) => Some((server, server.overview().await)),
        None => None,
    };
    match args.output {
        Output::Json => {
            let version = answer.as_ref().and_then(|(_, answer)| answer.as_ref().ok());
            let json = serde_json::json!({
                "client": {"version": client, "apiVersion": API_VERSION},
                "server": version.map(|answer| serde_json::json!({"version": answer.value.version})),
            });
            screen.raw(&format!("{json}\n"));
        }
        Output::Text => {
            screen.out(&format!("lockstep  {client}\n"));
            match answer {
                Some((server, Ok(answer))) => {
                    screen.out(&format!(
                        "server    {} at {}\n",
                        answer.value.version,
                        server.address()
                    ));
                }
                Some((server, Err(failure))) => {
                    screen.out(&format!(
                        "server    not known: {} did not tell\n",
                        server.address()
                    ));
                    screen.failure(&failure);
                }
                None => {}
            }
        }
    }
    Ok(Exit::Yes)
}
