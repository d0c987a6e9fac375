//! What an error looks like: what did not happen, why, what was changed, what to do next.

use std::fmt::Write as _;

use lockstep_api::{Problem, text};

use crate::exit::Exit;

/// An error, told to a person: first what did not happen, then labelled lines, only those that apply.
///
/// Shape: one without a next step cannot be made. Whatever came from elsewhere has lost its control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    title: String,
    lines: Vec<(Label, String)>,
    next: String,
    problem: Option<Box<serde_json::Value>>,
}

/// The label of a line, in the order in which lines stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Why,
    From,
    State,
}

impl Label {
    fn text(self) -> &'static str {
        match self {
            Self::Why => "why",
            Self::From => "from",
            Self::State => "state",
        }
    }
}

impl Failure {
    /// An error with its first line and its next step.
    pub(crate) fn new(exit: Exit, title: impl AsRef<str>, next: impl AsRef<str>) -> Self {
        Self {
            exit,
            title: text::plain(title.as_ref()),
            lines: Vec::new(),
            next: text::plain(next.as_ref()),
            problem: None,
        }
    }

    /// Why.
    pub(crate) fn why(self, said: impl AsRef<str>) -> Self {
        self.line(Label::Why, said.as_ref())
    }

    /// Which file, line, commit.
    pub(crate) fn from(self, said: impl AsRef<str>) -> Self {
        self.line(Label::From, said.as_ref())
    }

    /// What was changed and what was not.
    pub(crate) fn state(self, said: impl AsRef<str>) -> Self {
        self.line(Label::State, said.as_ref())
    }

    fn line(mut self, label: Label, said: &str) -> Self {
        if !said.is_empty() {
            self.lines.push((label, text::plain(said)));
            self.lines.sort_by_key(|(label, _)| *label);
        }
        self
    }

    /// What the server said, kept for `-o json`.
    pub(crate) fn of_problem(problem: &Problem) -> Self {
        let exit = match problem.code.split_once('.') {
            // A plan has to be looked at before it is approved.
            _ if problem.plan.is_some() => Exit::NeedsAPerson,
            Some((
                "held" | "health" | "render" | "diff" | "apply" | "repo" | "spec" | "project"
                | "plan",
                _,
            )) => Exit::of_reason(&problem.code),
            _ => Exit::of_status(problem.status),
        };
        let fallback = match exit {
            Exit::NotAllowed => {
                "make a token with: lockstep token create NAME, then export LOCKSTEP_TOKEN=…"
            }
            Exit::NotFound => "see what there is: lockstep status",
            Exit::Unreachable => "try again in a moment",
            _ => "look at the app: lockstep status",
        };
        let mut failure = Self::new(
            exit,
            &problem.title,
            problem.next.as_deref().unwrap_or(fallback),
        )
        .why(&problem.detail);
        if exit == Exit::Unexpected && !problem.request_id.is_empty() {
            failure = failure.from(format!(
                "request {} in the server's log",
                problem.request_id
            ));
        }
        failure.problem = serde_json::to_value(problem).ok().map(Box::new);
        failure
    }

    /// As JSON: the server's problem as it came, else the same members.
    pub(crate) fn json(&self) -> serde_json::Value {
        if let Some(problem) = &self.problem {
            return (**problem).clone();
        }
        let line = |wanted: Label| {
            self.lines
                .iter()
                .find(|(label, _)| *label == wanted)
                .map(|(_, said)| said.clone())
        };
        serde_json::json!({
            "title": self.title,
            "code": format!("cli.{}", self.exit.code()),
            "detail": line(Label::Why).unwrap_or_default(),
            "next": self.next,
        })
    }

    /// As text, the first word for colouring apart from the rest.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("error: {}\n", self.title);
        for (label, said) in &self.lines {
            let _ = writeln!(out, "  {:<6} {said}", label.text());
        }
        let _ = writeln!(out, "  {:<6} {}", "next", self.next);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_error_stand_in_their_order_whatever_the_order_of_writing() {
        let failure = Failure::new(
            Exit::SyncFailed,
            "Kubernetes refused Deployment/ledger in prod",
            "put it back",
        )
        .state("nothing was applied")
        .why("a selector cannot change");
        assert_eq!(
            failure.text(),
            "error: Kubernetes refused Deployment/ledger in prod\n  why    a selector cannot \
             change\n  state  nothing was applied\n  next   put it back\n"
        );
    }

    #[test]
    fn a_text_from_elsewhere_cannot_drive_the_terminal() {
        let failure = Failure::new(Exit::Unexpected, "a\u{1b}[2J", "b\u{7}").why("c\rd");
        assert!(!failure.text().chars().any(|c| c.is_control() && c != '\n'));
    }
}
