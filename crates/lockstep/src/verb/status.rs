//! `lockstep status`: what state apps are in, why, and what to do next.

use lockstep_api::{App, AppList, AppSummary, Overview, State, text};

use crate::cli::{StatusArgs, StatusOutput};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::{Answer, Server};
use crate::target::{Target, Written};

/// Prints apps; with `--check`, exit code 1 unless all of them are Synced.
pub(super) async fn run(
    args: StatusArgs,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    if args.output == Some(StatusOutput::Json) {
        screen.only_json();
    }
    let written: Vec<Written> = args
        .apps
        .iter()
        .map(|app| Written::parse(app, args.env.as_deref()))
        .collect::<Result<_, _>>()?;
    let states = states(&args.state)?;
    if let (
        [
            Written {
                env: Some(env),
                app,
            },
        ],
        true,
    ) = (written.as_slice(), states.is_empty())
        && args.output != Some(StatusOutput::Wide)
    {
        let target = Target {
            env: env.clone(),
            app: app.clone(),
        };
        return one(&args, &target, server, screen).await;
    }
    let overview = server.overview().await?;
    let all = server.apps(args.env.as_deref()).await?;
    let mut shown = select(&all, &written, &states)?;
    if shown.is_empty() && written.is_empty() {
        known_environment(args.env.as_deref(), &overview.value)?;
    }
    if let ([app], [_]) = (shown.as_slice(), written.as_slice())
        && args.output != Some(StatusOutput::Wide)
    {
        let target = Target {
            env: app.env.clone(),
            app: app.name.clone(),
        };
        return one(&args, &target, server, screen).await;
    }
    let hidden = usize::try_from(overview.value.counts.total)
        .unwrap_or(usize::MAX)
        .saturating_sub(shown.len());
    let exit = check(args.check, &shown);
    match args.output.unwrap_or(if screen.terminal {
        StatusOutput::Table
    } else {
        StatusOutput::Wide
    }) {
        StatusOutput::Table => screen.out(&table(overview, &shown, hidden)),
        StatusOutput::Wide => {
            shown.sort_by(|a, b| (&a.env, &a.name).cmp(&(&b.env, &b.name)));
            screen.out(&text::status_wide(&shown));
        }
        StatusOutput::Json => {
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let list = AppList {
                total: count(shown.len()),
                hidden: count(hidden),
                cursor: None,
                items: shown,
            };
            let json = serde_json::to_string(&list).map_err(|error| {
                Failure::new(
                    Exit::Unexpected,
                    "the list could not be written",
                    "report it: this is a bug",
                )
                .why(error.to_string())
            })?;
            screen.raw(&(json + "\n"));
        }
    }
    Ok(exit)
}

async fn one(
    args: &StatusArgs,
    target: &Target,
    server: &Server,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let Answer {
        text: json,
        value,
        now,
    }: Answer<App> = server.app(target).await?;
    if args.output == Some(StatusOutput::Json) {
        screen.raw(&json);
    } else {
        screen.out(&text::app(&value, now));
    }
    Ok(check(args.check, std::slice::from_ref(&value.summary)))
}

fn check(asked: bool, shown: &[AppSummary]) -> Exit {
    if asked && shown.iter().any(|app| app.state != State::Synced) {
        Exit::No
    } else {
        Exit::Yes
    }
}

/// The table, its first line saying so when something is left out of it.
fn table(overview: Answer<Overview>, shown: &[AppSummary], hidden: usize) -> String {
    let mut overview = overview.value;
    if hidden > 0 {
        let look = shown.iter().filter(|app| app.state.needs_a_look()).count();
        let look = match look {
            0 => String::new(),
            1 => "; 1 needs a look".to_owned(),
            look => format!("; {look} need a look"),
        };
        overview.headline = format!(
            "Showing {} of {} apps{look}",
            shown.len(),
            overview.counts.total
        );
    }
    text::status(&overview, shown)
}

fn states(written: &[String]) -> Result<Vec<State>, Failure> {
    let all = State::ALL.map(State::code).join(", ");
    written
        .iter()
        .map(|code| {
            State::from_code(code.trim()).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("{code:?} is no state"),
                    format!("choose from: {all}"),
                )
            })
        })
        .collect()
}

/// Those that were asked for. Errors: a name that nobody has.
fn select(
    all: &[AppSummary],
    written: &[Written],
    states: &[State],
) -> Result<Vec<AppSummary>, Failure> {
    for name in written {
        if !all.iter().any(|app| name.is(app)) {
            let place = name
                .env
                .as_ref()
                .map_or_else(String::new, |env| format!(" in {env}"));
            return Err(Failure::new(
                Exit::NotFound,
                format!("no app called {:?}{place}", name.app),
                "see what there is: lockstep status",
            ));
        }
    }
    let wanted = |app: &&AppSummary| {
        (written.is_empty() || written.iter().any(|name| name.is(app)))
            && (states.is_empty() || states.contains(&app.state))
    };
    Ok(all.iter().filter(wanted).cloned().collect())
}

fn known_environment(env: Option<&str>, overview: &Overview) -> Result<(), Failure> {
    let Some(env) = env else { return Ok(()) };
    let names: Vec<&str> = overview
        .environments
        .iter()
        .map(|known| known.name.as_str())
        .collect();
    if names.contains(&env) {
        return Ok(());
    }
    let known = if names.is_empty() {
        "none yet".to_owned()
    } else {
        names.join(", ")
    };
    Err(Failure::new(
        Exit::NotFound,
        format!("no environment called {env:?}"),
        "name one of those, or none",
    )
    .why(format!("the environments are: {known}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(env: &str, name: &str, state: &str) -> AppSummary {
        let json = format!(
            r#"{{"key":"{env}/{name}","env":"{env}","name":"{name}","version":1,"state":"{state}",
                "since":"2026-03-12T14:30:00.000Z","reason":null,"next":null,"live":null,"wanted":null,
                "strip":["done","done","done","done","done"],"sync":"inSync","health":"healthy","driftFields":0,
                "links":{{"html":"/apps/{env}/{name}"}}}}"#
        );
        serde_json::from_str(&json).expect("it is an app")
    }

    #[test]
    fn a_name_without_environment_means_all_of_that_name() {
        let all = [
            app("dev", "shop", "synced"),
            app("prod", "shop", "held"),
            app("prod", "search", "synced"),
        ];
        let shop = Written::parse("shop", None).expect("it is a name");
        let keys =
            |shown: Vec<AppSummary>| shown.into_iter().map(|app| app.key).collect::<Vec<_>>();
        assert_eq!(
            select(&all, &[shop], &[]).map(keys),
            Ok(vec!["dev/shop".to_owned(), "prod/shop".to_owned()])
        );
        assert_eq!(
            select(&all, &[], &[State::Held]).map(keys),
            Ok(vec!["prod/shop".to_owned()])
        );
        let missing = Written::parse("staging/shop", None).expect("it is a name");
        assert_eq!(
            select(&all, &[missing], &[])
                .expect_err("it is not there")
                .exit,
            Exit::NotFound
        );
    }

    #[test]
    fn check_answers_no_as_soon_as_one_app_is_not_synced() {
        assert_eq!(
            check(
                true,
                &[app("dev", "a", "synced"), app("dev", "b", "syncing")]
            ),
            Exit::No
        );
        assert_eq!(check(true, &[app("dev", "a", "synced")]), Exit::Yes);
        assert_eq!(check(false, &[app("dev", "a", "failing")]), Exit::Yes);
    }
}
