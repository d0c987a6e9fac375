//! The board: one immutable snapshot of everything the faces show, published by the engine, read without a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::Fault;
use lockstep_app::app::RemoteUrl;
use lockstep_app::config::Config;
use lockstep_manifest::ObjectId;
use lockstep_reconcile::Order;
use lockstep_reconcile::view::{AppView, CommitView, OperationView};
use tokio::sync::{mpsc, oneshot, watch};

/// What a repository looks like from here.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryView {
    /// Its address.
    pub remote: RemoteUrl,
    /// The newest commit that an app's target names there.
    pub head: Option<CommitView>,
    /// The target that named it.
    pub target: String,
    /// When it was last asked.
    pub asked_at: Option<Timestamp>,
    /// When a webhook last named it.
    pub webhook_at: Option<Timestamp>,
    /// Why it cannot be read, when it cannot.
    pub fault: Option<Fault>,
}

/// Everything the faces show.
#[derive(Clone, Debug)]
pub struct Board {
    /// Counts up with every change; the page's ETag and the stream's event id.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// By environment and name.
    pub apps: BTreeMap<(String, String), Arc<AppView>>,
    /// The version at which each app last changed, by the same key.
    pub changed: BTreeMap<(String, String), u64>,
    /// The repositories in use.
    pub repositories: Vec<RepositoryView>,
    /// The last operations, by id; bounded by the engine.
    pub operations: BTreeMap<String, Arc<OperationView>>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Why the file on disk is not the configuration in force, when it is not.
    pub config_fault: Option<Fault>,
    /// The API server.
    pub server: String,
    /// Why the API server cannot be used, when it cannot.
    pub cluster_fault: Option<Fault>,
    /// Do we hold the lease? A second replica stays idle and says so.
    pub leading: bool,
    /// Has every Application been read once? Before that, an empty page means nothing.
    pub complete: bool,
    /// Projects that allow everything, by name: shown as permissive.
    pub permissive_projects: Vec<String>,
    /// Names and digests (hex SHA-256) of the tokens that may write.
    pub tokens: Arc<BTreeMap<String, String>>,
    /// The webhook's secret, when one is configured and found.
    pub webhook_secret: Option<lockstep_manifest::Sensitive<String>>,
}

/// What somebody asks of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The app's environment and name.
    pub app: (String, String),
    /// Whose token it was.
    pub by: String,
    /// What.
    pub what: What,
}

/// What may be asked of an app.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A sync, or a rollback.
    Sync(Box<Order>),
    /// The end of the sync that runs.
    Terminate,
    /// To follow its target again after a rollback.
    Release,
    /// To look after these objects no longer.
    Abandon(Vec<ObjectId>),
}

/// Why a sync was not begun.
#[derive(Clone, Debug, PartialEq)]
pub enum SyncRefused {
    /// No such app.
    NotFound,
    /// The plan is another one by now; the board has it.
    PlanChanged {
        /// The digest now.
        now: Option<String>,
    },
    /// A sync runs.
    Running {
        /// Its operation.
        operation: String,
    },
    /// Something stands in the way that a sync does not lift.
    Fault(Fault),
    /// This replica does not hold the lease.
    NotLeading,
}

/// What faces ask of the engine. Pokes carry no content: the engine looks for itself.
#[derive(Debug)]
pub enum Command {
    /// Somebody asks something of an app. The answer is the operation's id, where there is one.
    Demand(Demand, oneshot::Sender<Result<String, SyncRefused>>),
    /// A webhook named this repository (as written by its sender): look there.
    Pushed {
        /// The address in the payload.
        remote: String,
    },
    /// Look again at one app, as `?refresh=` asks.
    Refresh {
        /// The app's environment and name.
        app: (String, String),
    },
}

/// The faces' end of the board.
#[derive(Clone, Debug)]
pub struct Faces {
    /// Always the newest snapshot.
    pub board: watch::Receiver<Arc<Board>>,
    /// Bounded: 256 waiting commands are more than people and webhooks of one moment make; full means 503.
    pub commands: mpsc::Sender<Command>,
}
