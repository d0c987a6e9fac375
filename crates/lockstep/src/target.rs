//! Which app is meant: `checkout -e prod`, or `prod/checkout`.

use std::fmt;

use lockstep_api::AppSummary;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::server::Server;

/// One app in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The environment.
    pub(crate) env: String,
    /// The app.
    pub(crate) app: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.app, self.env)
    }
}

/// An app as written: its name, and its environment where that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The environment.
    pub(crate) env: Option<String>,
    /// The app.
    pub(crate) app: String,
}

/// What is to be done with it: nobody guesses where to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is looked at.
    Read,
    /// It is changed.
    Write,
}

impl Written {
    /// Puts the two ways of naming an environment together. Errors: they say different things.
    pub(crate) fn parse(text: &str, env: Option<&str>) -> Result<Self, Failure> {
        let (before, app) = match text.split_once('/') {
            Some((before, app)) => (Some(before), app),
            None => (None, text),
        };
        if app.is_empty() || before == Some("") || app.contains('/') {
            return Err(Failure::new(
                Exit::Usage,
                format!("{text} is no name of an app"),
                "write it as NAME -e ENV, or as ENV/NAME",
            ));
        }
        match (before, env) {
            (Some(before), Some(env)) if before != env => Err(Failure::new(
                Exit::Usage,
                format!("{text} and -e {env} name two environments"),
                format!("keep one of them: {app} -e {env}, or {text}"),
            )),
            (before, env) => Ok(Self {
                env: before.or(env).map(str::to_owned),
                app: app.to_owned(),
            }),
        }
    }

    /// Is it this one?
    pub(crate) fn is(&self, app: &AppSummary) -> bool {
        app.name == self.app && self.env.as_ref().is_none_or(|env| *env == app.env)
    }

    /// Finds the environment where none is said. Errors: there are several to choose from.
    pub(crate) async fn resolve(
        self,
        server: &Server,
        purpose: Purpose,
    ) -> Result<Target, Failure> {
        let Self { env: None, app } = self else {
            return Ok(Target {
                env: self.env.unwrap_or_default(),
                app: self.app,
            });
        };
        let apps = server.apps(None).await?;
        choose(&apps, app, purpose)
    }
}

fn choose(apps: &[AppSummary], app: String, purpose: Purpose) -> Result<Target, Failure> {
    let mut all: Vec<&str> = apps.iter().map(|one| one.env.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    let of_app: Vec<&str> = apps
        .iter()
        .filter(|one| one.name == app)
        .map(|one| one.env.as_str())
        .collect();
    match (of_app.as_slice(), purpose) {
        ([], _) => {
            let near = nearest(apps, &app);
            let next = near.map_or_else(
                || "see what there is: lockstep status".to_owned(),
                |near| format!("did you mean {near}?  lockstep status {near}"),
            );
            Err(Failure::new(
                Exit::NotFound,
                format!("no app called {app:?}"),
                next,
            ))
        }
        ([env], Purpose::Read) => Ok(Target {
            env: (*env).to_owned(),
            app,
        }),
        ([env], Purpose::Write) if all.len() == 1 => Ok(Target {
            env: (*env).to_owned(),
            app,
        }),
        (envs, purpose) => {
            let what = match purpose {
                Purpose::Read => format!("{app} is in several environments"),
                Purpose::Write => format!("nothing is written to {app} without an environment"),
            };
            let first = envs.first().copied().unwrap_or_default();
            let verb = if purpose == Purpose::Write {
                "sync"
            } else {
                "status"
            };
            let failure = Failure::new(
                Exit::Usage,
                what,
                format!("name one: lockstep {verb} {app} -e {first}"),
            )
            .why(format!("it is in: {}", envs.join(", ")));
            Err(if purpose == Purpose::Write {
                failure.state("nothing was changed")
            } else {
                failure
            })
        }
    }
}

/// The app whose name is closest, when it is close: a letter or two.
fn nearest<'a>(apps: &'a [AppSummary], name: &str) -> Option<&'a str> {
    apps.iter()
        .map(|app| (distance(&app.name, name), app.name.as_str()))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, near)| near)
}

/// How many letters have to be written, taken away or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (at, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *at;
            left = (above + 1)
                .min(left + 1)
                .min(diagonal + usize::from(x != *y));
            diagonal = above;
            *at = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_in_two_ways_that_may_not_disagree() {
        let both = Written {
            env: Some("prod".to_owned()),
            app: "checkout".to_owned(),
        };
        assert_eq!(Written::parse("prod/checkout", None), Ok(both.clone()));
        assert_eq!(Written::parse("checkout", Some("prod")), Ok(both.clone()));
        assert_eq!(Written::parse("prod/checkout", Some("prod")), Ok(both));
        let failure = Written::parse("prod/checkout", Some("dev")).expect_err("they disagree");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(Written::parse("a/b/c", None).is_err());
        assert!(Written::parse("/b", None).is_err());
    }

    #[test]
    fn a_slip_of_two_letters_is_understood() {
        assert_eq!(distance("checkout", "chekout"), 1);
        assert_eq!(distance("search", "serach"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
