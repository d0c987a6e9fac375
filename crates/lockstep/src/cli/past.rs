//! The flags of going back, of letting go, and of what was done before.

use clap::Args;

use super::Output;
use crate::object::Object;
use crate::period::Period;

/// Flags of `rollback`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a flag on a command line is there or not"
)]
pub(crate) struct RollbackArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// The same as --to, in Argo CD's order
    #[arg(value_name = "DEPLOYMENT", conflicts_with = "to", hide = true)]
    pub(crate) deployment: Option<String>,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// Where to: a number of lockstep history, or 7 digits of its commit; without: the deployment before the last
    #[arg(long, value_name = "DEPLOYMENT")]
    pub(crate) to: Option<String>,
    /// Why, for whoever finds it rolled back
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// How long to stay: newer-commit, release, a length of time such as 2h, or a time
    #[arg(long, value_name = "WHEN", default_value = "newer-commit")]
    pub(crate) until: String,
    /// Delete what was not there then
    #[arg(long)]
    pub(crate) prune: bool,
    /// Run no hooks
    #[arg(long)]
    pub(crate) skip_hooks: bool,
    /// Say what would be done, and do nothing: exit code 0 when that is nothing, 1 otherwise
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Return once it has begun
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) timeout: Period,
    /// text or json: the operation at its end
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM",
        default_value_t
    )]
    pub(crate) output: Output,
}

/// Flags of `release` and `terminate`.
#[derive(Debug, Args)]
pub(crate) struct OneAppArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// text or json: the app as it is then
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM",
        default_value_t
    )]
    pub(crate) output: Output,
}

/// Flags of `abandon`.
#[derive(Debug, Args)]
pub(crate) struct AbandonArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// The objects, as KIND/NAME or GROUP/KIND/NAMESPACE/NAME
    #[arg(value_name = "OBJECT", required = true)]
    pub(crate) objects: Vec<Object>,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// text or json: the app as it is then
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM",
        default_value_t
    )]
    pub(crate) output: Output,
}

/// Flags of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// How many lines of each table
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: u32,
    /// text or json
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM",
        default_value_t
    )]
    pub(crate) output: Output,
}
