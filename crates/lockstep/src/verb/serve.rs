//! `lockstep serve`: the daemon, its log, its signals.

use std::io::IsTerminal as _;

use lockstep_daemon::{Options, RunError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, ServeArgs};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;

/// kube and hyper print addresses at debug, and are not ours to be read.
const FILTER: &str = "lockstep=info,warn";

/// Where git objects are kept when nobody says where.
const CACHE: &str = ".lockstep-cache";

/// Runs until it is told to stop.
pub(super) fn run(args: ServeArgs, environment: &Environment) -> Result<Exit, Failure> {
    log(args.log_format, environment)?;
    let options = Options {
        config: args.config,
        kubeconfig: args.kubernetes.kubeconfig,
        context: args.kubernetes.context,
        listen: args.listen,
        cache: args.cache.unwrap_or_else(|| CACHE.into()),
        identity: args.identity,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // What blocks is git's object store and rendering: computation, of which more at once only takes memory. With
        // 300 apps the default of 512 threads would be one for each app, with a heap of its own.
        .max_blocking_threads(8)
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::Unexpected,
                "the daemon could not start its threads",
                "raise the limit of threads",
            )
            .why(error.to_string())
        })?;
    let exit = runtime.block_on(until_stopped(options));
    // What is left are blocking calls to git hosts; they are not waited for.
    runtime.shutdown_background();
    exit
}

async fn until_stopped(options: Options) -> Result<Exit, Failure> {
    let unheard = |error: std::io::Error| {
        Failure::new(
            Exit::Unexpected,
            "signals cannot be heard",
            "run it as an ordinary process",
        )
        .why(error.to_string())
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let stop = CancellationToken::new();
    let daemon = lockstep_daemon::run(options, stop.clone());
    tokio::pin!(daemon);
    loop {
        let second = tokio::select! {
            biased;
            ended = &mut daemon => return ended.map(|()| Exit::Yes).map_err(|error| failure(&error)),
            _ = terminate.recv() => stopped_before(&stop, "SIGTERM"),
            _ = interrupt.recv() => stopped_before(&stop, "SIGINT"),
        };
        if second {
            return Ok(Exit::Interrupted);
        }
    }
}

/// What a daemon that ended has to say to whoever started it.
fn failure(error: &RunError) -> Failure {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    match error {
        RunError::Config { file, problems } => {
            let first = problems.first().map_or("", String::as_str);
            let more = problems.len().saturating_sub(1);
            let why = if more == 0 {
                first.to_owned()
            } else {
                format!("{first}; and {more} more")
            };
            let file = file.display();
            Failure::new(
                Exit::Invalid,
                format!("the configuration {file} can't be used"),
                format!("see every mistake with its place: lockstep validate {file}"),
            )
            .why(why)
        }
        RunError::Cluster(cluster) => Failure::new(
            Exit::Invalid,
            "the API server can't be named",
            cluster
                .hint()
                .unwrap_or_else(|| "give one by --kubeconfig and --context".to_owned()),
        )
        .why(cause),
        RunError::Source(_) => Failure::new(
            Exit::Invalid,
            "the folder for git objects can't be used",
            "name another by --cache: one that can be written, and that no other process uses",
        )
        .why(cause),
        RunError::Listen { address, .. } => Failure::new(
            Exit::Invalid,
            format!("nothing can listen on {address}"),
            "choose another by --listen, or end what listens there",
        )
        .why(cause),
        RunError::Task(task) => Failure::new(
            Exit::Unexpected,
            "a part of the daemon ended by itself",
            "start it again, and report it with the log above",
        )
        .why(task.to_string())
        .state("what was claimed is taken up again at the next start"),
    }
}

/// The first signal stops cleanly, the second at once. Is it the second?
fn stopped_before(stop: &CancellationToken, signal: &'static str) -> bool {
    let second = stop.is_cancelled();
    tracing::info!(signal, at_once = second, "stopping");
    stop.cancel();
    second
}

fn log(format: LogFormat, environment: &Environment) -> Result<(), Failure> {
    let written = environment.log.as_deref().unwrap_or(FILTER);
    let filter = EnvFilter::try_new(written).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("LOCKSTEP_LOG={written} is no filter"),
            "write it as lockstep=debug,warn",
        )
        .why(error.to_string())
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => log
            .with_ansi(std::io::stderr().is_terminal() && !environment.no_color)
            .try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    set.map_err(|error| {
        Failure::new(Exit::Unexpected, "the log could not be set up", "try again")
            .why(error.to_string())
    })
}
