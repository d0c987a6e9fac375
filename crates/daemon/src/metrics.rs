//! What Prometheus reads: Argo CD's names, so that its dashboards and alerts keep working, and ours.
//!
//! Shape: the OpenMetrics text format. Counters get their `_total` from the encoder, so they are registered without
//! it. What the board knows is read from the board at the moment of the scrape, so nothing can be left behind there.

use std::sync::Arc;

use jiff::Timestamp;
use lockstep_manifest::Health;
use lockstep_reconcile::view::{AppView, OperationPhase, Word};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::board::Board;

/// Argo CD's buckets of `argocd_app_reconcile`, in seconds; dashboards draw them as a heat map.
const RECONCILE_BUCKETS: [f64; 7] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// From hand edit to healed, in seconds: the goal is 0.03 at the median and 0.1 at the 99th percentile, the back-off
/// of a fight over a field ends at 300.
const HEAL_BUCKETS: [f64; 12] = [
    0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 300.0,
];

/// The labels by which Argo CD names an app in its counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AppLabels {
    /// The namespace of the Application.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its AppProject.
    pub project: String,
    /// The API server it goes to.
    pub dest_server: String,
}

impl AppLabels {
    /// The labels of one app.
    pub fn of(app: &AppView) -> Self {
        Self {
            namespace: app.key.namespace.clone(),
            name: app.key.name.clone(),
            project: app.project.clone(),
            dest_server: app.destination.clone(),
        }
    }
}

/// How a webhook's delivery ended: a closed set, whatever its sender writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// A push: the repository is looked at.
    Accepted,
    /// GitHub's hello.
    Ping,
    /// Another event, or a push that names no repository.
    Ignored,
    /// No signature, or a wrong one.
    BadSignature,
    /// A good signature over something that is no JSON of GitHub's.
    BadBody,
    /// No secret is configured.
    NoSecret,
    /// The engine had too much to do.
    Busy,
}

impl Delivery {
    const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Ping,
        Self::Ignored,
        Self::BadSignature,
        Self::BadBody,
        Self::NoSecret,
        Self::Busy,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ping => "ping",
            Self::Ignored => "ignored",
            Self::BadSignature => "bad_signature",
            Self::BadBody => "bad_body",
            Self::NoSecret => "no_secret",
            Self::Busy => "busy",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    namespace: String,
    name: String,
    project: String,
    dest_server: String,
    phase: String,
    dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    namespace: String,
    dest_server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GitLabels {
    repo: String,
    request_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    server: String,
    k8s_version: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvariantLabel {
    invariant: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    namespace: String,
    name: String,
    project: String,
    autosync_enabled: bool,
    repo: String,
    dest_server: String,
    dest_namespace: String,
    sync_status: &'static str,
    health_status: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WordLabel {
    word: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProjectLabel {
    project: String,
}

/// Everything counted. Its methods are cheap and may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    syncs: Family<SyncLabels, Counter>,
    reconciles: Family<ReconcileLabels, Histogram>,
    git_requests: Family<GitLabels, Counter>,
    clusters: Family<ClusterLabels, Gauge>,
    heals: Histogram,
    reload_failures: Counter,
    config_valid: Gauge,
    apply_requests: Family<RequestLabels, Counter>,
    http_requests: Family<HttpLabels, Counter>,
    webhooks: Family<ResultLabel, Counter>,
    violations: Family<InvariantLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet. What has no labels, or a closed set of them, stands at zero from the start, so that an
    /// alarm on it can tell nothing from nothing yet.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let syncs = Family::default();
        registry.register(
            "argocd_app_sync",
            "Syncs of an app, by how they ended",
            syncs.clone(),
        );
        let reconciles = Family::new_with_constructor(
            (|| Histogram::new(RECONCILE_BUCKETS)) as fn() -> Histogram,
        );
        registry.register(
            "argocd_app_reconcile",
            "Seconds that one comparison of an app took",
            reconciles.clone(),
        );
        let git_requests = Family::default();
        registry.register(
            "argocd_git_request",
            "Requests to git hosts",
            git_requests.clone(),
        );
        let clusters = Family::default();
        registry.register(
            "argocd_cluster_info",
            "The clusters in use",
            clusters.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        build
            .get_or_create(&BuildLabels {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        registry.register("lockstep_build_info", "The version that runs", build);
        let heals = Histogram::new(HEAL_BUCKETS);
        registry.register(
            "lockstep_heal_seconds",
            "Seconds from a drift being noticed to its being put back",
            heals.clone(),
        );
        let reload_failures = Counter::default();
        registry.register(
            "lockstep_config_reload_failures",
            "Configuration files that were refused",
            reload_failures.clone(),
        );
        let config_valid = Gauge::default();
        config_valid.set(1);
        registry.register(
            "lockstep_config_valid",
            "1 while the configuration file on disk is the one in force",
            config_valid.clone(),
        );
        let apply_requests = Family::default();
        registry.register(
            "lockstep_apply_requests",
            "Writes of managed objects to the API server, by its answer",
            apply_requests.clone(),
        );
        let http_requests = Family::default();
        registry.register(
            "lockstep_http_requests",
            "Requests to Lockstep, by route and answer",
            http_requests.clone(),
        );
        let webhooks = Family::<ResultLabel, Counter>::default();
        for result in Delivery::ALL {
            drop(webhooks.get_or_create(&ResultLabel {
                result: result.text(),
            }));
        }
        registry.register(
            "lockstep_webhooks",
            "Webhook deliveries, by result",
            webhooks.clone(),
        );
        let violations = Family::default();
        registry.register(
            "lockstep_invariant_violations",
            "Bugs of Lockstep that it noticed itself; anything but 0 is worth a report",
            violations.clone(),
        );
        Self {
            registry,
            syncs,
            reconciles,
            git_requests,
            clusters,
            heals,
            reload_failures,
            config_valid,
            apply_requests,
            http_requests,
            webhooks,
            violations,
        }
    }

    /// A sync ended.
    pub fn synced(&self, app: &AppLabels, phase: OperationPhase, dry_run: bool) {
        self.syncs
            .get_or_create(&sync_labels(app, phase, dry_run))
            .inc();
    }

    /// An app is gone: its counters go with it, so that labels do not pile up.
    pub fn forget(&self, app: &AppLabels) {
        for phase in [
            OperationPhase::Running,
            OperationPhase::Succeeded,
            OperationPhase::Failed,
        ] {
            for dry_run in [false, true] {
                self.syncs.remove(&sync_labels(app, phase, dry_run));
            }
        }
    }

    /// One comparison of an app took this long.
    pub fn reconciled(&self, namespace: &str, dest_server: &str, seconds: f64) {
        let labels = ReconcileLabels {
            namespace: namespace.to_owned(),
            dest_server: dest_server.to_owned(),
        };
        self.reconciles.get_or_create(&labels).observe(seconds);
    }

    /// Drift was put back this long after it was noticed.
    pub fn healed(&self, seconds: f64) {
        self.heals.observe(seconds);
    }

    /// A git host was asked: `ls-remote` or `fetch`.
    pub fn git_requested(&self, repository: &str, request_type: &'static str) {
        let labels = GitLabels {
            repo: repository.to_owned(),
            request_type,
        };
        self.git_requests.get_or_create(&labels).inc();
    }

    /// The API server was reached and said its version.
    pub fn cluster(&self, server: &str, version: &str, name: &str) {
        self.clusters.clear();
        let labels = ClusterLabels {
            server: server.to_owned(),
            k8s_version: version.to_owned(),
            name: name.to_owned(),
        };
        self.clusters.get_or_create(&labels).set(1);
    }

    /// A managed object was written: `apply` or `delete`, and the status that the API server answered.
    pub fn apply_requested(&self, verb: &'static str, code: u16) {
        self.apply_requests
            .get_or_create(&RequestLabels { verb, code })
            .inc();
    }

    /// The configuration file was read: is it the one in force now?
    pub fn config_read(&self, valid: bool) {
        self.config_valid.set(i64::from(valid));
        if !valid {
            self.reload_failures.inc();
        }
    }

    /// A webhook was answered.
    pub fn webhook(&self, result: Delivery) {
        self.webhooks
            .get_or_create(&ResultLabel {
                result: result.text(),
            })
            .inc();
    }

    /// A request was answered. The route is a template, never a path, so labels stay few.
    pub fn http_answered(&self, route: &str, code: u16) {
        self.http_requests
            .get_or_create(&HttpLabels {
                route: route.to_owned(),
                code,
            })
            .inc();
    }

    /// Something happened that must not.
    pub fn violated(&self, invariant: &'static str) {
        self.violations
            .get_or_create(&InvariantLabel { invariant })
            .inc();
    }

    /// Everything, as OpenMetrics text.
    ///
    /// Errors: formatting into a text cannot fail; the encoder's signature says otherwise.
    pub fn encode(&self, board: &Board) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        text::encode_registry(&mut out, &of_board(board))?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

fn sync_labels(app: &AppLabels, phase: OperationPhase, dry_run: bool) -> SyncLabels {
    SyncLabels {
        namespace: app.namespace.clone(),
        name: app.name.clone(),
        project: app.project.clone(),
        dest_server: app.dest_server.clone(),
        phase: phase.text().to_owned(),
        dry_run,
    }
}

fn of_board(board: &Board) -> Registry {
    let mut registry = Registry::default();
    let infos = Family::<InfoLabels, Gauge>::default();
    let words = Family::<WordLabel, Gauge>::default();
    for word in [
        Word::Failing,
        Word::Drifted,
        Word::Held,
        Word::Unknown,
        Word::Syncing,
        Word::Synced,
    ] {
        let count = board.apps.values().filter(|app| app.word == word).count();
        let label = WordLabel { word: word.text() };
        words
            .get_or_create(&label)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for app in board.apps.values() {
        infos.get_or_create(&info_labels(app)).set(1);
    }
    registry.register("argocd_app_info", "Every app and how it is doing", infos);
    registry.register(
        "lockstep_apps",
        "Apps by the word that the status page shows",
        words,
    );
    let leading = Gauge::<i64>::default();
    leading.set(i64::from(board.leading));
    registry.register(
        "lockstep_leading",
        "1 on the replica that holds the lease",
        leading,
    );
    let reachable = Gauge::<i64>::default();
    reachable.set(i64::from(board.cluster_fault.is_none()));
    registry.register(
        "lockstep_cluster_reachable",
        "1 while the API server can be used",
        reachable,
    );
    let permissive = Family::<ProjectLabel, Gauge>::default();
    for project in &board.permissive_projects {
        permissive
            .get_or_create(&ProjectLabel {
                project: project.clone(),
            })
            .set(1);
    }
    registry.register(
        "lockstep_permissive_project",
        "AppProjects that allow every repository, cluster and kind",
        permissive,
    );
    of_process(&mut registry, board.started_at);
    registry
}

fn info_labels(app: &Arc<AppView>) -> InfoLabels {
    let running = app
        .operation
        .as_ref()
        .is_some_and(lockstep_reconcile::view::OperationView::is_running);
    InfoLabels {
        namespace: app.key.namespace.clone(),
        name: app.key.name.clone(),
        project: app.project.clone(),
        autosync_enabled: app.automated,
        repo: app.source.remote.clone(),
        dest_server: app.destination.clone(),
        dest_namespace: app.namespace.clone(),
        sync_status: app.sync.text(),
        health_status: match &app.health {
            // An app whose objects have no health rule is healthy, as in Argo CD.
            Health::None => "Healthy",
            health => health.word(),
        },
        operation: if running { "sync" } else { "" },
    }
}

/// What every process tells, under the names that dashboards ask for.
fn of_process(registry: &mut Registry, started_at: Timestamp) {
    let started = Gauge::<i64>::default();
    started.set(started_at.as_second());
    registry.register(
        "process_start_time_seconds",
        "When the process began",
        started,
    );
    if let Some(bytes) = resident_bytes() {
        let gauge = Gauge::<i64>::default();
        gauge.set(bytes);
        registry.register("process_resident_memory_bytes", "Memory in use", gauge);
    }
    if let Some(seconds) = cpu_seconds() {
        let counter = Counter::<f64, std::sync::atomic::AtomicU64>::default();
        counter.inc_by(seconds);
        registry.register("process_cpu_seconds", "Processor time spent", counter);
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace()
        .next()?
        .parse::<i64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Source: proc_pid_stat(5), fields 14 and 15, in ticks; the kernel fixes the tick that it shows to programs at 100 a
/// second on every architecture that this runs on.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / 100.0)
}
