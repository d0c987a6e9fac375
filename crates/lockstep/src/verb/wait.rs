//! `lockstep wait`: until apps are as asked.

use tokio::time::Instant;

use super::follow::{self, Wish};
use crate::cli::WaitArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Target, Written};

/// Waits for one app after the other; the most urgent end is the command's.
pub(super) async fn run(args: WaitArgs, server: &Server, screen: &Screen) -> Result<Exit, Failure> {
    let revision = args.revision.as_deref().map(beginning).transpose()?;
    let targets = targets(&args, server).await?;
    let deadline = Instant::now() + args.timeout.0;
    let wish = Wish {
        goal: args.goal,
        revision,
    };
    let all = async {
        let mut worst: Option<Failure> = None;
        for target in &targets {
            match follow::until(target, &wish, deadline, server, screen).await {
                Ok(app) => {
                    let live = app
                        .live
                        .as_ref()
                        .map_or_else(String::new, |commit| format!(" at {}", commit.short));
                    screen.out(&format!(
                        "{target}: {}{live}\n",
                        app.state.text().to_lowercase()
                    ));
                }
                Err(failure) => {
                    // The last one is printed by whoever prints failures.
                    let (first, last) = match worst.take() {
                        Some(before) if before.exit.urgency() >= failure.exit.urgency() => {
                            (Some(failure), before)
                        }
                        before => (before, failure),
                    };
                    if let Some(first) = first {
                        screen.failure(&first);
                    }
                    worst = Some(last);
                }
            }
        }
        worst.map_or(Ok(Exit::Yes), Err)
    };
    follow::interruptible("what was begun goes on", "lockstep status", all).await
}

/// A commit as people shorten it: 7 to 64 hex digits.
fn beginning(text: &str) -> Result<String, Failure> {
    let digits = text.to_ascii_lowercase();
    if (7..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err(Failure::new(
        Exit::Invalid,
        format!("{text:?} is no commit"),
        "give 7 digits of it or more: git rev-parse --short HEAD",
    ))
}

async fn targets(args: &WaitArgs, server: &Server) -> Result<Vec<Target>, Failure> {
    let written: Vec<Written> = args
        .apps
        .iter()
        .map(|app| Written::parse(app, args.env.as_deref()))
        .collect::<Result<_, _>>()?;
    let all = server.apps(args.env.as_deref()).await?;
    let mut targets = Vec::new();
    for app in &all {
        if written.is_empty() || written.iter().any(|name| name.is(app)) {
            targets.push(Target {
                env: app.env.clone(),
                app: app.name.clone(),
            });
        }
    }
    let missing = written
        .iter()
        .find(|name| !all.iter().any(|app| name.is(app)));
    match (missing, targets.is_empty()) {
        (None, false) => Ok(targets),
        (missing, _) => {
            let what = missing.map_or_else(
                || "no app to wait for".to_owned(),
                |m| format!("no app called {:?}", m.app),
            );
            Err(Failure::new(
                Exit::NotFound,
                what,
                "see what there is: lockstep status",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hex_digits_name_a_commit() {
        assert_eq!(beginning("4F2A9C1"), Ok("4f2a9c1".to_owned()));
        for wrong in ["HEAD", "4f2a9c", "main", ""] {
            assert_eq!(
                beginning(wrong).expect_err("it is no commit").exit,
                Exit::Invalid,
                "{wrong}"
            );
        }
    }
}
