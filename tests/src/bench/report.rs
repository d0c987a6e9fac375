//! Figures as a table for people and as JSON for comparing.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Many times of one thing, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        let at = self
            .0
            .partition_point(|known| *known < time.as_secs_f64() * 1000.0);
        self.0.insert(at, time.as_secs_f64() * 1000.0);
    }

    /// The smallest value that at least this share of all does not exceed (nearest rank).
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few hundreds"
    )]
    pub fn share(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.share(0.5)
    }
}

/// What should be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// It is only told.
    None,
    /// A single figure, not more.
    AtMost(f64),
    /// A single figure, not less.
    AtLeast(f64),
    /// Times: their median and their 99th percentile.
    Below {
        /// In milliseconds.
        median: f64,
        /// In milliseconds.
        p99: f64,
    },
}

struct Line {
    part: char,
    what: String,
    unit: String,
    figure: Figure,
    goal: Goal,
}

enum Figure {
    One(f64),
    Many(Times),
}

/// Everything that was measured.
pub struct Report {
    lines: Vec<Line>,
    facts: Map<String, Value>,
}

impl Report {
    /// An empty one, with the facts of this machine.
    pub fn new() -> Self {
        let mut report = Self {
            lines: Vec::new(),
            facts: Map::new(),
        };
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let processors = read("/proc/cpuinfo");
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        report.fact(
            "machine",
            json!({
                "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
                "processor": model.map(|(_, model)| model),
                "memoryKiB": memory.lines().find_map(|line| {
                    line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok()
                }),
                "kernel": read("/proc/sys/kernel/osrelease").trim(),
                "loadBefore": read("/proc/loadavg").split(' ').next(),
                "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
            }),
        );
        report
    }

    /// A single figure.
    pub fn one(&mut self, part: char, what: &str, unit: &str, value: f64, goal: Goal) {
        let (what, unit) = (what.to_owned(), unit.to_owned());
        self.lines.push(Line {
            part,
            what,
            unit,
            figure: Figure::One(value),
            goal,
        });
    }

    /// Many times.
    pub fn times(&mut self, part: char, what: &str, times: &Times, goal: Goal) {
        let (what, unit) = (what.to_owned(), "ms".to_owned());
        self.lines.push(Line {
            part,
            what,
            unit,
            figure: Figure::Many(times.clone()),
            goal,
        });
    }

    /// Something for the JSON alone.
    pub fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// How many goals were missed.
    pub fn missed(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.met() == Some(false))
            .count()
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |cells: [&str; 9]| {
            let [part, what, n, min, median, p99, max, goal, met] = cells;
            let line = format!(
                "{part:<2} {what:<36} {n:>5} {min:>9} {median:>9} {p99:>9} {max:>9}  {goal:<24} {met}"
            );
            // Writing into a string cannot fail.
            let _written = writeln!(text, "{}", line.trim_end());
        };
        row(["", "", "n", "min", "median", "p99", "max", "goal", ""]);
        for line in &self.lines {
            let met = line
                .met()
                .map_or("", |met| if met { "met" } else { "MISSED" });
            let unit = if line.unit.is_empty() {
                String::new()
            } else {
                format!(", {}", line.unit)
            };
            let what = format!("{}{unit}", line.what);
            let part = line.part.to_string();
            match &line.figure {
                Figure::One(value) => {
                    row([
                        &part,
                        &what,
                        "",
                        "",
                        &number(*value),
                        "",
                        "",
                        &line.goal(),
                        met,
                    ]);
                }
                Figure::Many(times) => row([
                    &part,
                    &what,
                    &times.0.len().to_string(),
                    &number(times.share(0.0)),
                    &number(times.median()),
                    &number(times.share(0.99)),
                    &number(times.share(1.0)),
                    &line.goal(),
                    met,
                ]),
            }
        }
        text
    }

    /// The same and more, for machines.
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let mut value = json!({
                    "part": line.part.to_string(),
                    "what": line.what.trim(),
                    "unit": line.unit,
                    "goal": line.goal(),
                    "met": line.met(),
                });
                match &line.figure {
                    Figure::One(one) => value["value"] = json!(one),
                    Figure::Many(times) => {
                        for (name, share) in [
                            ("min", 0.0),
                            ("median", 0.5),
                            ("p90", 0.9),
                            ("p99", 0.99),
                            ("max", 1.0),
                        ] {
                            value[name] = json!(times.share(share));
                        }
                        value["n"] = json!(times.0.len());
                    }
                }
                value
            })
            .collect();
        json!({"figures": lines, "facts": self.facts})
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    fn met(&self) -> Option<bool> {
        match (&self.figure, self.goal) {
            (Figure::One(value), Goal::AtMost(goal)) => Some(*value <= goal),
            (Figure::One(value), Goal::AtLeast(goal)) => Some(*value >= goal),
            (Figure::Many(times), Goal::Below { median, p99 }) => {
                Some(times.median() < median && times.share(0.99) < p99)
            }
            _ => None,
        }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::None => String::new(),
            Goal::AtMost(goal) => format!("at most {goal}"),
            Goal::AtLeast(goal) => format!("at least {goal}"),
            Goal::Below { median, p99 } => format!("below {median}, p99 {p99}"),
        }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: impl Iterator<Item = u64>) -> Times {
        let mut times = Times::default();
        for one in milliseconds {
            times.add(Duration::from_millis(one));
        }
        times
    }

    #[test]
    fn the_99th_percentile_of_two_hundred_is_the_third_largest_but_one() {
        let times = times((1..=200).rev());
        let all = [0.0, 0.5, 0.99, 1.0].map(|share| times.share(share).round());
        assert_eq!(all.map(|one| format!("{one}")), ["1", "100", "198", "200"]);
    }

    #[test]
    fn a_goal_of_two_is_missed_when_one_is() {
        let mut report = Report::new();
        report.times(
            'a',
            "x",
            &times(1..=100),
            Goal::Below {
                median: 60.0,
                p99: 99.0,
            },
        );
        report.times(
            'a',
            "y",
            &times(1..=100),
            Goal::Below {
                median: 60.0,
                p99: 100.0,
            },
        );
        assert_eq!(report.missed(), 1);
    }
}
