//! How text becomes a terminal's: colours by meaning, shapes for terminals that know only ASCII.
//!
//! The text itself comes from `lockstep_api::text`, the same for everybody; here is only what depends on who looks.

use std::io::{IsTerminal as _, Write as _};

use lockstep_api::{State, text};

use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that wants it.
    #[default]
    Auto,
    /// Also into a pipe.
    Always,
    /// Not at all.
    Never,
}

/// Are there colours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colors {
    On,
    Off,
}

/// Standard output and standard error, as this reader wants them.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    color_out: Colors,
    color_err: Colors,
    ascii: bool,
    /// Is standard output a terminal? If not, columns are for machines.
    pub(crate) terminal: bool,
    json: std::cell::Cell<bool>,
}

impl Screen {
    /// From flags and environment.
    pub(crate) fn new(environment: &Environment, color: Color, ascii: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let wanted = |terminal: bool| match color {
            Color::Always => Colors::On,
            Color::Auto if environment.force_color || (terminal && !environment.no_color) => {
                Colors::On
            }
            Color::Auto | Color::Never => Colors::Off,
        };
        Self {
            color_out: wanted(terminal),
            color_err: wanted(std::io::stderr().is_terminal()),
            ascii: ascii || !environment.unicode,
            terminal,
            json: std::cell::Cell::new(false),
        }
    }

    /// From now on only JSON goes to standard output, and errors are JSON, too.
    pub(crate) fn only_json(&self) {
        self.json.set(true);
    }

    /// Prints a result.
    pub(crate) fn out(&self, said: &str) {
        let said = self.dress(said, self.color_out);
        let mut out = std::io::stdout().lock();
        // A reader that closes the pipe (`| head`) has seen enough.
        let _closed = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints bytes as they are: JSON, YAML.
    #[expect(
        clippy::unused_self,
        reason = "whoever prints does so through the screen"
    )]
    pub(crate) fn raw(&self, said: &str) {
        let mut out = std::io::stdout().lock();
        let _closed = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    }

    /// What stands between a place and what it overrides.
    pub(crate) fn arrow_back(&self) -> &'static str {
        if self.ascii { "<-" } else { "←" }
    }

    /// Prints progress, a hint, a warning.
    pub(crate) fn err(&self, said: &str) {
        let said = self.dress(said, self.color_err);
        let _closed = std::io::stderr().lock().write_all(said.as_bytes());
    }

    /// Prints an error.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json.get() {
            self.err(&format!("{}\n", failure.json()));
        } else if failure.exit == Exit::Interrupted {
            self.err(&failure.text().replacen("error: ", "", 1));
        } else {
            self.err(&failure.text());
        }
    }

    /// The text in this reader's shapes and colours.
    fn dress(&self, said: &str, colors: Colors) -> String {
        let mut said = match colors {
            Colors::On => paint(said),
            Colors::Off => said.to_owned(),
        };
        if self.ascii && !self.json.get() {
            said = said.chars().map(ascii).collect();
        }
        said
    }
}

/// Colours status words, and nothing else. The words stay: colour is never the only sign.
fn paint(said: &str) -> String {
    let mut out = said.to_owned();
    for state in State::ALL {
        let shape = text::glyph(state);
        let word = format!("{shape} {}", state.text());
        let painted = match state {
            State::Failing => format!("\u{1b}[31m{word}\u{1b}[0m"),
            State::Drifted => format!("\u{1b}[33m{word}\u{1b}[0m"),
            State::Held => format!("\u{1b}[35m{word}\u{1b}[0m"),
            State::Syncing => format!("\u{1b}[1;34m{word}\u{1b}[0m"),
            State::Unknown => format!("\u{1b}[2m{word}\u{1b}[0m"),
            State::Synced => format!("\u{1b}[32m{shape}\u{1b}[0m {}", state.text()),
        };
        out = out.replace(&word, &painted);
    }
    if let Some(rest) = out.strip_prefix("error:") {
        out = format!("\u{1b}[31merror:\u{1b}[0m{rest}");
    }
    out
}

/// One character for one, so that columns stay where they are.
fn ascii(c: char) -> char {
    match c {
        '●' => '*',
        '◐' | '┅' | '…' => '~',
        '◆' => '#',
        '‖' => '=',
        '✕' => 'x',
        '◌' => '?',
        '━' | '·' | '–' => '-',
        '┄' => '.',
        '→' => '>',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_ever_adds_to_the_words() {
        let said = "✕ Failing   ledger\n● Synced    4 more\n";
        let painted = paint(said);
        assert_eq!(
            painted,
            "\u{1b}[31m✕ Failing\u{1b}[0m   ledger\n\u{1b}[32m●\u{1b}[0m Synced    4 more\n"
        );
    }

    #[test]
    fn ascii_shapes_keep_the_columns() {
        let said: String = "◆ Drifted  8c1d0be → 4f2a9c1  ━━━━◆"
            .chars()
            .map(ascii)
            .collect();
        assert_eq!(said, "# Drifted  8c1d0be > 4f2a9c1  ----#");
    }
}
