//! `lockstep help [VERB or TOPIC]`.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::environment::TABLE;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Prints help.
pub(super) fn run(topic: &[String], screen: &Screen) -> Result<Exit, Failure> {
    let words: Vec<&str> = topic.iter().map(String::as_str).collect();
    let said = match words.as_slice() {
        [] => Cli::command().render_long_help().to_string(),
        ["exit-codes"] => exit_codes(),
        ["environment"] => variables(),
        ["words"] => WORDS.to_owned(),
        path => verb(path)?,
    };
    screen.out(&said);
    Ok(Exit::Yes)
}

fn exit_codes() -> String {
    let line = |(exit, meaning): &(Exit, &str)| format!("{:>4}  {meaning}\n", exit.code());
    Exit::TABLE.iter().map(line).collect()
}

fn variables() -> String {
    let width = TABLE.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, meaning) in TABLE {
        let _ = writeln!(out, "{name:<width$}  {meaning}");
    }
    out
}

/// The six words, in the order in which they are shown.
const WORDS: &str = "\
✕ Failing   the wanted commit failed at a step, or an object is degraded
◆ Drifted   the latest commit is applied, and the cluster differs from it
‖ Held      there is something to do, and something forbids it: a policy, an approval
◌ Unknown   Lockstep can't see what it needs: cluster, repository, a right
◐ Syncing   a commit is between seen and healthy, or drift is being put back
● Synced    the cluster equals the wanted commit and is healthy
";

fn verb(path: &[&str]) -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut at = &mut command;
    for name in path {
        let names: Vec<String> = at
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        at = at.find_subcommand_mut(name).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("there is no help about {name:?}"),
                "lockstep help, or one of the topics exit-codes, environment, words",
            )
            .why(format!("the verbs are: {}", names.join(", ")))
        })?;
    }
    Ok(at.render_long_help().to_string())
}
