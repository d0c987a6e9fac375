//! `lockstep release`, `terminate` and `abandon`: what is said, done at once, and shown as the app is then.

use lockstep_api::app::{Object, ObjectRef};
use lockstep_api::operation::AbandonRequest;
use lockstep_api::{App, OperationPhase, text};
use serde::Deserialize;

use crate::cli::{AbandonArgs, OneAppArgs, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::{Answer, Server};
use crate::target::{Purpose, Target, Written};

/// An order without anything to say besides.
#[derive(serde::Serialize)]
struct Nothing {}

/// Lets an app follow its target again.
pub(super) async fn release(
    args: OneAppArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let (target, answer) = order(&args, "release", server, screen).await?;
    show(args.output, &answer, screen, |app| {
        let summary = &app.summary;
        let reason = summary.reason.as_ref();
        let reason = reason.map_or_else(String::new, |why| format!(": {}", text::plain(&why.text)));
        let state = summary.state.text().to_lowercase();
        format!("{target} follows its target again and is {state}{reason}\n")
    });
    Ok(Exit::Yes)
}

/// Ends the sync that runs.
pub(super) async fn terminate(
    args: OneAppArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let (target, answer) = order(&args, "terminate", server, screen).await?;
    show(args.output, &answer, screen, |app| match &app.operation {
        Some(operation) if operation.phase == OperationPhase::Terminating => format!(
            "{target}: {} is being ended; its hooks are tidied up\n",
            text::plain(&operation.id)
        ),
        Some(operation) => format!("{target}: {} was ended\n", text::plain(&operation.id)),
        None => format!("{target}: the sync was ended\n"),
    });
    Ok(Exit::Yes)
}

async fn order(
    args: &OneAppArgs,
    verb: &str,
    server: &Server,
    screen: &Screen,
) -> Result<(Target, Answer<App>), Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Write)
        .await?;
    let answer = server.tell(&target, verb, &Nothing {}).await?;
    Ok((target, answer))
}

/// The objects of an app, as far as they are needed to name one.
#[derive(Deserialize)]
struct Objects {
    items: Vec<Object>,
}

/// Gives objects up.
pub(super) async fn abandon(
    args: AbandonArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Write)
        .await?;
    let known: Answer<Objects> = server.part(&target, "objects").await?;
    let known: Vec<ObjectRef> = known.value.items.into_iter().map(|one| one.id).collect();
    let objects: Vec<ObjectRef> = args
        .objects
        .iter()
        .map(|written| written.among(&known, &target))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = objects.iter().map(|id| text::plain(&id.short())).collect();
    let answer = server
        .tell(&target, "abandon", &AbandonRequest { objects })
        .await?;
    show(args.output, &answer, screen, |_| {
        format!(
            "{target} no longer looks after {}; what of it is in the cluster stays as it is\n",
            names.join(", ")
        )
    });
    Ok(Exit::Yes)
}

fn show(output: Output, answer: &Answer<App>, screen: &Screen, say: impl FnOnce(&App) -> String) {
    match output {
        Output::Json => screen.raw(&answer.text),
        Output::Text => screen.out(&say(&answer.value)),
    }
}
