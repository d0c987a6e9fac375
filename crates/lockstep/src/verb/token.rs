//! `lockstep token`: who may sync.

use lockstep_daemon::token::{self, TokenError, TokenOptions};

use crate::cli::{TokenPlace, TokenVerb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Makes, lists and takes away tokens, with the rights of whoever runs it.
pub(super) async fn run(verb: TokenVerb, screen: &Screen) -> Result<Exit, Failure> {
    match verb {
        TokenVerb::Create {
            name,
            replace,
            place,
        } => {
            let token = token::create(options(place), &name, replace)
                .await
                .map_err(|e| failure(&e))?;
            // To standard output and nowhere else: the Secret holds only its digest.
            screen.raw(&format!("{}\n", token.expose()));
            screen.err("This is the only time it is shown. Use it by: export LOCKSTEP_TOKEN=…\n");
        }
        TokenVerb::List { place } => {
            let names = token::list(options(place)).await.map_err(|e| failure(&e))?;
            if names.is_empty() {
                screen.err("No tokens yet: lockstep token create NAME\n");
            }
            for name in names {
                screen.out(&format!("{name}\n"));
            }
        }
        TokenVerb::Delete { name, place } => {
            token::delete(options(place), &name)
                .await
                .map_err(|e| failure(&e))?;
            screen.out(&format!("{name} may not sync any more\n"));
        }
    }
    Ok(Exit::Yes)
}

fn options(place: TokenPlace) -> TokenOptions {
    TokenOptions {
        kubeconfig: place.kubernetes.kubeconfig,
        context: place.kubernetes.context,
        namespace: place.namespace,
    }
}

fn failure(error: &TokenError) -> Failure {
    let exit = match error {
        TokenError::Name { .. } => Exit::Invalid,
        TokenError::Taken { .. } => Exit::Blocked,
        TokenError::Missing { .. } => Exit::NotFound,
        TokenError::Random => Exit::Unexpected,
        TokenError::Read { .. } | TokenError::Write { .. } => {
            if error.forbidden() {
                Exit::NotAllowed
            } else {
                Exit::Unreachable
            }
        }
    };
    let failure = Failure::new(exit, error.to_string(), error.hint())
        .state("no token was made, changed or taken away");
    match std::error::Error::source(error) {
        Some(cause) => failure.why(cause.to_string()),
        None => failure,
    }
}
