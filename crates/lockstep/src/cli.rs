//! Every verb and every flag.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::object::Object;
use crate::period::Period;
use crate::screen::Color;

mod past;

pub(crate) use past::{AbandonArgs, HistoryArgs, OneAppArgs, RollbackArgs};

/// What stands above the flags that every verb has.
const EVERYWHERE: &str = "Everywhere";

/// Keeps clusters in lockstep with git.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    disable_help_subcommand = true,
    propagate_version = true,
    after_help = "Examples:\n  lockstep                              what needs a look\n  lockstep diff checkout -e prod        what would a sync do?\n  lockstep sync prod/checkout           do it, and wait until it is healthy\n\nMore: lockstep help exit-codes, lockstep help environment, lockstep help words"
)]
pub(crate) struct Cli {
    /// The daemon to ask
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "URL",
        env = "LOCKSTEP_SERVER",
        hide_env = true,
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) server: String,
    /// The token to show to it
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "TOKEN", env = "LOCKSTEP_TOKEN", hide_env = true, hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// When to colour: auto, always or never
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", value_enum, hide_possible_values = true, default_value_t)]
    pub(crate) color: Color,
    /// Shapes for terminals that know only ASCII
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) ascii: bool,
    /// What to do; without one: status
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    App(AppVerb),
    /// The same verbs in Argo CD's order: `lockstep app sync checkout`
    #[command(subcommand, name = "app")]
    AppAlias(AppVerb),
    /// Print what a directory renders to, without a server
    #[command(
        after_help = "Examples:\n  lockstep render deploy/prod\n  lockstep render deploy/prod --provenance | grep image:\n  lockstep render deploy/prod --provenance -o json | jq -r '.items[].from.file'"
    )]
    Render(RenderArgs),
    /// Check configuration and Application files: every error at once, with its place
    Validate(ValidateArgs),
    /// Run the daemon
    Serve(ServeArgs),
    /// Make and list the tokens that may sync
    #[command(subcommand)]
    Token(TokenVerb),
    /// Print the custom resource definitions
    Crds,
    /// Print the version, of the daemon too where it answers
    Version(VersionArgs),
    /// Print help about a verb or a topic: exit-codes, environment, words
    Help {
        /// A verb or a topic
        topic: Vec<String>,
    },
}

/// What can be asked of one app, or of several.
#[derive(Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// What state apps are in, why, and what to do next
    #[command(
        alias = "list",
        alias = "get",
        after_help = "Examples:\n  lockstep status\n  lockstep status checkout -e prod\n  lockstep status -e prod --check && echo all synced"
    )]
    Status(StatusArgs),
    /// What differs from git, field by field, and who wrote it; exit code 1 when something does
    Drift(DriftArgs),
    /// What a sync would do; exit code 1 when it would do something
    #[command(
        after_help = "Examples:\n  lockstep diff checkout -e prod\n  lockstep diff prod/checkout --stat\n  lockstep diff prod/checkout -o json | jq .digest"
    )]
    Diff(DiffArgs),
    /// Do it: print the plan, send it back as seen, follow it until it is healthy
    #[command(
        after_help = "Examples:\n  lockstep sync checkout -e prod\n  lockstep sync prod/checkout --dry-run\n  lockstep sync prod/checkout --resource Deployment/web --no-wait"
    )]
    Sync(SyncArgs),
    /// Wait until apps are as asked
    #[command(
        after_help = "Examples:\n  lockstep wait -e dev --revision 4f2a9c1\n  lockstep wait prod/checkout --for synced --timeout 2m"
    )]
    Wait(WaitArgs),
    /// The deployments one can go back to, and everything that was done
    History(HistoryArgs),
    /// Go back to what was deployed before, and stay there until a newer commit
    #[command(
        after_help = "Examples:\n  lockstep rollback checkout -e prod --reason 'errors since 14:00'\n  lockstep rollback prod/checkout --to 46 --until 2h\n  lockstep rollback prod/checkout --to a3f19d7 --dry-run"
    )]
    Rollback(RollbackArgs),
    /// Follow git's target again after a rollback
    Release(OneAppArgs),
    /// End the sync that runs; its hooks are tidied up
    #[command(alias = "terminate-op")]
    Terminate(OneAppArgs),
    /// Look after objects no longer: they stay in the cluster as they are
    #[command(
        after_help = "Examples:\n  lockstep abandon checkout -e prod ConfigMap/old\n  lockstep abandon prod/checkout /ConfigMap/shop/old batch/Job/shop/seed"
    )]
    Abandon(AbandonArgs),
}

/// How to print apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusOutput {
    /// For people.
    Table,
    /// One line an app.
    Wide,
    /// As the server says it.
    Json,
}

/// How to print one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    #[value(alias = "table")]
    Text,
    /// As the server says it.
    Json,
}

/// Flags of `status`.
#[derive(Debug, Default, Args)]
pub(crate) struct StatusArgs {
    /// Apps, as NAME or ENV/NAME; without: all
    pub(crate) apps: Vec<String>,
    /// Only this environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// Only these states, such as failing,drifted
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    pub(crate) state: Vec<String>,
    /// Exit with 1 unless everything asked about is Synced
    #[arg(long)]
    pub(crate) check: bool,
    /// table (on a terminal), wide (elsewhere) or json
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM"
    )]
    pub(crate) output: Option<StatusOutput>,
}

/// Flags of `drift`.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
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

/// Flags of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// One line an object
    #[arg(long, conflicts_with = "name_only")]
    pub(crate) stat: bool,
    /// Only the objects' names
    #[arg(long)]
    pub(crate) name_only: bool,
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

/// Flags of `sync`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a flag on a command line is there or not"
)]
pub(crate) struct SyncArgs {
    /// The app, as NAME or ENV/NAME
    pub(crate) app: String,
    /// Its environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// Sync to this commit, with all its digits, instead of the target's; where new commits are applied by themselves
    /// it has to be the target's
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
    /// Only this object, as KIND/NAME or GROUP/KIND/NAMESPACE/NAME; may be given several times. Runs no hooks
    #[arg(long = "resource", alias = "only", value_name = "OBJECT")]
    pub(crate) resources: Vec<Object>,
    /// Run no hooks
    #[arg(long)]
    pub(crate) skip_hooks: bool,
    /// Delete and make again what cannot be changed
    #[arg(long)]
    pub(crate) force: bool,
    /// Stop after the plan: exit code 0 when there is nothing to do, 1 otherwise
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what the plan deletes (the default)
    #[arg(long, conflicts_with = "no_prune")]
    pub(crate) prune: bool,
    /// Delete nothing, whatever the plan deletes
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Wait until it is healthy (the default)
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) wait: bool,
    /// Return once the sync has begun
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) timeout: Period,
    /// Ask no question; none is asked today, and scripts may already say so
    #[arg(short, long)]
    pub(crate) yes: bool,
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

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// Equal to git and healthy.
    #[default]
    Synced,
    /// Healthy, drift or not.
    #[value(alias = "health")]
    Healthy,
    /// Equal to git, healthy or not.
    NoDrift,
    /// What the last sync applied became healthy in time.
    Verified,
}

impl Goal {
    /// As it is written.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Healthy => "healthy",
            Self::NoDrift => "without drift",
            Self::Verified => "verified",
        }
    }
}

/// Flags of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Apps, as NAME or ENV/NAME; without: all of the environment
    pub(crate) apps: Vec<String>,
    /// Their environment
    #[arg(short, long, value_name = "ENV")]
    pub(crate) env: Option<String>,
    /// Until this commit is the live one; 7 digits or more
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
    /// synced, healthy, verified (what was applied became healthy in time) or no-drift
    #[arg(long = "for", value_enum, value_name = "GOAL", default_value_t)]
    pub(crate) goal: Goal,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) timeout: Period,
}

/// Flags of `render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The directory: a kustomization, or YAML and JSON files. Bases may lie anywhere in its git repository
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Take it as a kustomization whatever is in it, as `kustomize build` does
    #[arg(long, conflicts_with_all = ["recurse", "include", "exclude"])]
    pub(crate) kustomize: bool,
    /// For a directory of files: also the folders below
    #[arg(long)]
    pub(crate) recurse: bool,
    /// For a directory of files: only these, a glob
    #[arg(long, value_name = "GLOB", default_value = "")]
    pub(crate) include: String,
    /// For a directory of files: not these, a glob
    #[arg(long, value_name = "GLOB", default_value = "")]
    pub(crate) exclude: String,
    /// With each object and each value, say which file and line it comes from, and what that overrides
    #[arg(long)]
    pub(crate) provenance: bool,
    /// text (YAML) or json
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

/// Flags of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Files or directories; without: config/lockstep.yaml and the Applications that it names
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// How Kubernetes is reached by the verbs that speak to it themselves.
#[derive(Debug, Args)]
pub(crate) struct Kubernetes {
    /// The kubeconfig; without: KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON map a line.
    Json,
}

/// Flags of `serve`: only what differs from replica to replica; the rest is in the file.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration, read again on change
    #[arg(long, value_name = "FILE", default_value = "config/lockstep.yaml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) kubernetes: Kubernetes,
    /// Where to listen, instead of the configuration's `http.listen`; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where git objects are kept; may be lost
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// This replica's name in leases; without: the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// text or json, on standard error
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM",
        default_value_t
    )]
    pub(crate) log_format: LogFormat,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token, store its SHA-256 in the Secret lockstep-tokens, and print it once
    Create {
        /// Whose it is: a person, a pipeline
        name: String,
        /// Replace the token of that name, which then is worth nothing
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        place: TokenPlace,
    },
    /// List the names of the tokens there are
    List {
        #[command(flatten)]
        place: TokenPlace,
    },
    /// Take a token away
    Delete {
        /// Whose it was
        name: String,
        #[command(flatten)]
        place: TokenPlace,
    },
}

/// Where tokens are.
#[derive(Debug, Args)]
pub(crate) struct TokenPlace {
    #[command(flatten)]
    pub(crate) kubernetes: Kubernetes,
    /// The daemon's namespace
    #[arg(short, long, value_name = "NAMESPACE", default_value = "argocd")]
    pub(crate) namespace: String,
}

/// Flags of `version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Only this program's
    #[arg(long)]
    pub(crate) client: bool,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn argo_cds_order_of_words_is_understood() {
        let cli = Cli::try_parse_from(["lockstep", "app", "sync", "checkout", "-e", "prod"]);
        let verb = cli.expect("it is a command").verb;
        assert!(matches!(verb, Some(Verb::AppAlias(AppVerb::Sync(_)))));
    }

    #[test]
    fn a_token_is_never_printed_by_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(!help.contains("[env:"), "{help}");
    }
}
