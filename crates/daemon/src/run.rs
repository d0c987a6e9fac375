//! Puts the daemon together, and keeps it together until it is told to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::Fault;
use lockstep_app::config::{self, Config};
use lockstep_cluster::lease::{Ended, Lease};
use lockstep_cluster::{Apps, Cluster, Connect, Seen as Watched};
use lockstep_source::Sources;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Faces};
use crate::engine::{self, Engine, Feed, News, Parts};
use crate::metrics::Metrics;
use crate::tasks::{Cause, TaskEnded, Tasks};
use crate::{files, http, reload};

/// The Lease that says who acts.
const LEASE: &str = "lockstep";
/// How long the tasks may take to end: what is under way, statuses, the lease.
const GRACE: Duration = Duration::from_secs(9);
/// Commands that wait for the engine: more than people and webhooks of one moment make.
const COMMANDS: usize = 256;

/// How the daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// This kubeconfig and no other; none: in-cluster, else the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// This context of it.
    pub context: Option<String>,
    /// Where to listen, instead of where the configuration says.
    pub listen: Option<SocketAddr>,
    /// Where fetched repositories are kept.
    pub cache: PathBuf,
    /// What this replica is called in the lease; it must differ with every process.
    pub identity: Option<String>,
}

/// The daemon could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is not usable.
    #[error("the configuration {} cannot be used:\n{}", file.display(), problems.join("\n"))]
    Config {
        /// The file.
        file: PathBuf,
        /// Every mistake, with its place.
        problems: Vec<String>,
    },
    /// No API server can be named.
    #[error("cannot set up the connection to the cluster")]
    Cluster(#[source] lockstep_cluster::ClusterError),
    /// The cache directory cannot be used.
    #[error("cannot set up git")]
    Source(#[source] lockstep_source::SetupError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A task ended that should not have.
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Reads the configuration; every mistake comes back with its place.
pub(crate) fn read_config(file: &std::path::Path) -> Result<Config, Vec<String>> {
    let text = std::fs::read(file).map_err(|error| vec![format!("{}: {error}", file.display())])?;
    config::parse(&text, &file.display().to_string())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Runs the daemon until `stop`, and ends within ten seconds of it.
///
/// Errors: it could not start, or a part of it ended by itself; the process should then be started again.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), RunError> {
    let text = std::fs::read(&options.config).ok();
    let config = read_config(&options.config).map_err(|problems| RunError::Config {
        file: options.config.clone(),
        problems,
    })?;
    let config = Arc::new(config);
    let connect = Connect {
        kubeconfig: options.kubeconfig.clone(),
        context: options.context.clone(),
        ..Connect::default()
    };
    let cluster = Cluster::unconnected(&connect)
        .await
        .map_err(RunError::Cluster)?;
    let mut source = lockstep_source::Options::new(options.cache.join("git"));
    source.timeout = config.git.timeout;
    source.largest_repository_bytes = config.git.limits.size.0;
    source.most_files = config.git.limits.files;
    source.fetches_at_once = config.git.limits.fetches;
    let sources = Sources::new(source).map_err(RunError::Source)?;
    let address = options.listen.unwrap_or(config.http.listen);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|cause| RunError::Listen { address, cause })?;
    let address = listener.local_addr().unwrap_or(address);
    let metrics = Arc::new(Metrics::new());
    metrics.config_read(true);
    let counted = Arc::clone(&metrics);
    sources.witness(move |remote, request| {
        let request = match request {
            lockstep_source::Request::Listing => "ls-remote",
            lockstep_source::Request::Fetch => "fetch",
        };
        counted.git_requested(remote.as_str(), request);
    });
    let identity = options.identity.clone().unwrap_or_else(identity);
    let lease = Arc::new(Lease::new(
        cluster.clone(),
        &config.namespace,
        LEASE,
        &identity,
    ));
    let (board, seen) = watch::channel(Arc::new(first_board(&config, &cluster)));
    let (commands, orders) = mpsc::channel(COMMANDS);
    let (news, inbox) = engine::channel();
    let faces = Faces {
        board: seen,
        commands,
    };

    let mut tasks = Tasks::new(stop.clone());
    // The lease outlives the engine: what the engine still ends, it ends as the holder.
    let engine_ended = CancellationToken::new();
    tasks.run(
        "http",
        serve_http(listener, faces, Arc::clone(&metrics), stop.clone()),
    );
    tasks.run(
        "config",
        reload::follow(options.config.clone(), text, news.clone(), stop.clone()),
    );
    let apps = Apps::new(cluster.clone(), config.namespace.clone());
    tasks.run(
        "files",
        files::follow(
            config.applications.clone(),
            apps.clone(),
            Arc::clone(&lease),
            stop.clone(),
        ),
    );
    tasks.run(
        "lease",
        hold_lease(
            Arc::clone(&lease),
            apps,
            news.clone(),
            stop.clone(),
            engine_ended.clone(),
        ),
    );
    let parts = Parts {
        config,
        cluster,
        lease,
        sources,
        metrics,
        board,
        commands: orders,
        news,
        inbox,
    };
    let engine_stop = stop.clone();
    tasks.run("engine", async move {
        let ended = Engine::new(parts, engine_stop).start().await;
        engine_ended.cancel();
        ended
    });
    tracing::info!(%address, identity, "listening");
    Ok(tasks.until_first_end(GRACE).await?)
}

async fn serve_http(
    listener: TcpListener,
    faces: Faces,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), Cause> {
    http::serve(listener, faces, metrics, stop)
        .await
        .map_err(Into::into)
}

/// Waits for the lease, says so, keeps it, and gives it back when the engine has ended.
async fn hold_lease(
    lease: Arc<Lease>,
    apps: Apps,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
    engine_ended: CancellationToken,
) -> Result<(), Cause> {
    if lease.acquire(&stop).await.is_none() {
        return Ok(());
    }
    match apps.ensure_project_default().await {
        Ok(Some(made)) => {
            tracing::info!("AppProject default created, permissive as Argo CD's");
            // The watch may say so only after the first app has asked for it.
            let seen = Watched::Applied(Box::new(made));
            if news
                .send(News::Watched(Feed::Projects, seen))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "AppProject default could not be made"),
    }
    if news.send(News::Leading(true)).await.is_err() {
        return Ok(());
    }
    match lease.keep(&engine_ended).await {
        Ended::Stopped => Ok(()),
        Ended::Taken => Err("another replica holds the lease now".into()),
        Ended::Expired => Err("the lease could not be renewed in time".into()),
    }
}

/// A name that no other process has, also not this one after a restart.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "lockstep".to_owned());
    format!("{host}_{:016x}", fastrand::u64(..))
}

/// What faces show before the engine has said anything.
pub(crate) fn first_board(config: &Arc<Config>, cluster: &Cluster) -> Board {
    let now = crate::clock::now();
    Board {
        version: 0,
        at: now,
        started_at: now,
        apps: BTreeMap::new(),
        changed: BTreeMap::new(),
        repositories: Vec::new(),
        operations: BTreeMap::new(),
        config: Arc::clone(config),
        config_fault: None,
        server: cluster.server().to_owned(),
        cluster_fault: None::<Fault>,
        leading: false,
        complete: false,
        permissive_projects: Vec::new(),
        tokens: Arc::new(BTreeMap::new()),
        webhook_secret: None,
    }
}
