//! Environment variables: all that are read, in one table, and read once.

use std::env;

/// Every variable with its meaning; the table of `lockstep help environment` and of `docs/configuration.md`.
pub(crate) const TABLE: [(&str, &str); 9] = [
    ("LOCKSTEP_SERVER", "the daemon that is asked; like --server"),
    (
        "LOCKSTEP_TOKEN",
        "the bearer token that is shown to it; like --token, and better, as flags are seen by others",
    ),
    (
        "LOCKSTEP_LOG",
        "what `serve` logs, such as lockstep=debug,warn (default lockstep=info,warn)",
    ),
    (
        "KUBECONFIG",
        "the kubeconfig of `serve` and `token`; like --kubeconfig",
    ),
    (
        "HOSTNAME",
        "the beginning of the name that `serve` has in its Lease; like --identity",
    ),
    ("NO_COLOR", "when it is set and not empty: no colours"),
    (
        "CLICOLOR_FORCE",
        "when it is set and not 0: colours also into a pipe",
    ),
    ("TERM", "dumb: no colours"),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "the first that is set decides: without UTF-8 in it, shapes are ASCII",
    ),
];

/// What the environment says about the terminal and the log; the rest is read by the flags themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `NO_COLOR`, or a terminal that knows none.
    pub(crate) no_color: bool,
    /// `CLICOLOR_FORCE`.
    pub(crate) force_color: bool,
    /// Does the locale take more than ASCII?
    pub(crate) unicode: bool,
    /// `LOCKSTEP_LOG`.
    pub(crate) log: Option<String>,
}

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(text)
            .unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            no_color: text("NO_COLOR").is_some() || text("TERM").is_some_and(|term| term == "dumb"),
            force_color: text("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            log: text("LOCKSTEP_LOG"),
        }
    }
}
