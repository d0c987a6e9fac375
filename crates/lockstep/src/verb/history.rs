//! `lockstep history`: the deployments one can go back to, and everything that was done.

use lockstep_api::past::{History, Log, Rollback};
use lockstep_api::text;

use crate::cli::{HistoryArgs, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Purpose, Target, Written};

/// Prints both.
pub(super) async fn run(
    args: HistoryArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Read)
        .await?;
    let limit = args.limit.max(1).to_string();
    let query = [("limit", limit.as_str())];
    let history = server
        .part_of::<History>(&target, "history", &query)
        .await?;
    let log = server.part_of::<Log>(&target, "log", &query).await?;
    if args.output == Output::Json {
        screen.raw(&format!(
            "{{\"history\":{},\"log\":{}}}\n",
            history.text.trim_end(),
            log.text.trim_end()
        ));
        return Ok(Exit::Yes);
    }
    let app = server.app(&target).await?.value;
    let live = app.summary.live.as_ref().map(|live| live.sha.as_str());
    if let Some(rollback) = &app.rollback {
        screen.out(&kept(rollback, &target));
    }
    screen.out(&format!(
        "Deployments\n{}\nLog\n{}",
        text::past::history(&history.value, live),
        text::past::log(&log.value)
    ));
    Ok(Exit::Yes)
}

/// That an app is kept where it was rolled back to, with how that is ended.
fn kept(rollback: &Rollback, target: &Target) -> String {
    let reason = match rollback.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", text::plain(reason)),
    };
    format!(
        "{target} is kept at {} {}, rolled back by {}{reason}\n  next   lockstep release {}/{}\n\n",
        text::plain(rollback.to.get(..7).unwrap_or(&rollback.to)),
        rollback.until_in_words(),
        text::plain(&rollback.by),
        target.env,
        target.app
    )
}
