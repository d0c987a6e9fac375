//! How things are said on the page: durations, lists, addresses, the roles of colour.

use std::time::Duration;

use lockstep_api::app::{State, StepOutcome};
use lockstep_api::time::Time;

/// How long, roughly, as the page says it: `42 s`, `24 min`, `4 h`, `6 d`. The script says it the same way.
pub(super) fn rough(millis: u64) -> String {
    match (millis + 500) / 1000 {
        seconds @ 0..60 => format!("{} s", seconds.max(1)),
        seconds @ 60..5400 => format!("{} min", (seconds + 30) / 60),
        seconds @ 5400..129_600 => format!("{} h", (seconds + 1800) / 3600),
        seconds => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// How long something took: `0.4 s`, `64 s`, `1 min 12 s`.
pub(super) fn took(millis: u64) -> String {
    match millis {
        0..100 => format!("{millis} ms"),
        100..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        10_000..90_000 => format!("{} s", (millis + 500) / 1000),
        90_000..3_600_000 => {
            let seconds = (millis + 500) / 1000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        _ => rough(millis),
    }
}

/// A duration from the configuration, exactly: `5 min`, `90 s`.
pub(super) fn span(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// `prod`, `staging and dev`, `prod, staging and dev`.
pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The moment that the page is for; everything relative is relative to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now(pub(super) Time);

impl Now {
    /// How long ago, roughly.
    pub(super) fn ago(&self, at: &Time) -> String {
        rough(self.0.millis_since(*at).unwrap_or(0))
    }

    /// The day of something: `Today 13:59`, `10 Mar 09:14`.
    pub(super) fn day(&self, at: &Time) -> String {
        let (now, at) = (self.0.timestamp(), at.timestamp());
        let same =
            |format: &str| now.strftime(format).to_string() == at.strftime(format).to_string();
        if same("%Y-%m-%d") {
            at.strftime("Today %H:%M").to_string()
        } else if same("%Y") {
            at.strftime("%-d %b %H:%M").to_string()
        } else {
            at.strftime("%-d %b %Y").to_string()
        }
    }

    /// The clock time alone when it is of the same day, else with the day.
    pub(super) fn clock(&self, at: &Time) -> String {
        let (now, then) = (self.0.timestamp(), at.timestamp());
        if now.strftime("%F").to_string() == then.strftime("%F").to_string() {
            at.clock()
        } else {
            then.strftime("%-d %b %H:%M").to_string()
        }
    }
}

/// The class that gives a state its colour and its glyph.
pub(super) fn role(state: State) -> &'static str {
    match state {
        State::Failing => "fail",
        State::Drifted => "drift",
        State::Held => "held",
        State::Unknown => "unk",
        State::Syncing => "run",
        State::Synced => "ok",
    }
}

/// The class that gives a step its colour and its glyph.
pub(super) fn step_role(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done | StepOutcome::Skipped => "ok",
        StepOutcome::Running => "run",
        StepOutcome::Failed => "fail",
        StepOutcome::Held => "held",
        StepOutcome::None => "none",
    }
}

/// A text as one segment of a path: everything but unreserved characters is escaped (RFC 3986, 2.3).
pub(super) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The address of an app's page.
pub(super) fn app_href(env: &str, name: &str) -> String {
    format!("/apps/{}/{}", segment(env), segment(name))
}

/// How many single-character changes turn one name into the other, by the optimal string alignment; names are short.
pub(super) fn distance(a: &str, b: &str) -> usize {
    /// Longer names are no misspellings of anything, and the table grows with the product.
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let mut before: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut line = Vec::with_capacity(b.len() + 1);
        line.push(row + 1);
        for (column, (y, above)) in b.iter().zip(before.iter().skip(1)).enumerate() {
            let diagonal = before.get(column).copied().unwrap_or(usize::MAX - 1);
            let left = line.last().copied().unwrap_or(usize::MAX - 1);
            let replaced = diagonal + usize::from(x != y);
            line.push(replaced.min(above + 1).min(left + 1));
        }
        before = line;
    }
    before.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_one_or_two_changes_away() {
        assert_eq!(distance("chekout", "checkout"), 1);
        assert_eq!(distance("checkout", "checkout"), 0);
        assert_eq!(distance("ledger", "search"), 5);
        assert_eq!(distance("", "ab"), 2);
    }

    #[test]
    fn a_name_cannot_leave_its_segment_of_the_path() {
        assert_eq!(
            app_href("prod", "../a?b#c\"d"),
            "/apps/prod/..%2Fa%3Fb%23c%22d"
        );
    }

    #[test]
    fn durations_are_said_roughly_in_a_row_and_exactly_in_a_step() {
        assert_eq!(
            [0, 42_000, 1_440_000, 15_060_000].map(rough),
            ["1 s", "42 s", "24 min", "4 h"]
        );
        assert_eq!(
            [380, 3_600, 64_000, 102_000].map(took),
            ["0.3 s", "3.6 s", "64 s", "1 min 42 s"]
        );
        assert_eq!(span(Duration::from_mins(5)), "5 min");
    }
}
