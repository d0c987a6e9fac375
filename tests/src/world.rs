//! One test's world: its own namespaces, repository and daemon on the shared control plane.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::audit::{self, Mark, Request};
use crate::controlplane::{ControlPlane, shared, workspace};
use crate::daemon::{Daemon, Start, binary};
use crate::git::Repository;
use crate::kube::{Kube, PATIENCE};
use crate::proxy::Proxy;

/// How a run of the command line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside that.
    pub err: String,
}

/// The token that writes by REST in tests.
pub const TOKEN: &str = "a-token-of-this-test";

static COUNT: AtomicU32 = AtomicU32::new(0);
static PREPARED: OnceCell<()> = OnceCell::const_new();

/// One test's world.
pub struct World {
    /// The control plane, shared with other tests.
    pub plane: &'static ControlPlane,
    /// The administrator.
    pub kube: Kube,
    /// The namespace of the Applications: the daemon's own.
    pub apps: String,
    /// A namespace for objects; made already.
    pub target: String,
    /// Whom the daemon acts as, for the audit log.
    pub user: String,
    /// The repository.
    pub repository: Repository,
    /// The daemon, once started.
    pub daemon: Option<Daemon>,
    /// The configuration file.
    pub config: PathBuf,
    folder: tempfile::TempDir,
    client: reqwest::Client,
}

impl World {
    /// A world without a daemon. `name` is for people who read the API server's logs.
    pub async fn new(name: &str) -> Result<Self> {
        let plane = shared();
        let kube = Kube::admin(&plane.address)?;
        PREPARED.get_or_try_init(|| prepare(&kube)).await?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name: String = name.chars().take(30).collect();
        let apps = format!("apps-{name}-{number}");
        let target = format!("to-{name}-{number}");
        kube.namespace(&apps).await?;
        kube.namespace(&target).await?;
        let folder = tempfile::Builder::new()
            .prefix("world-")
            .tempdir_in(plane.folder())?;
        let repository =
            Repository::new(&plane.address, folder.path(), &format!("{name}-{number}"))?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
            "name": "lockstep-tokens", "namespace": apps}, "stringData": {"tester": sha256(TOKEN)}});
        kube.create(&secret).await?;
        let config = folder.path().join("etc/lockstep.yaml");
        std::fs::create_dir_all(folder.path().join("etc"))?;
        let world = Self {
            plane,
            kube,
            user: format!("lockstep-{number}"),
            apps,
            target,
            repository,
            daemon: None,
            config,
            folder,
            client: reqwest::Client::new(),
        };
        world.configure("")?;
        Ok(world)
    }

    /// A world with a daemon that runs.
    pub async fn started(name: &str) -> Result<Self> {
        let mut world = Self::new(name).await?;
        world.start()?;
        Ok(world)
    }

    /// Writes the configuration: dev, staging, prod as in the issue, page open, git asked every 2 s, and these lines.
    pub fn configure(&self, more: &str) -> Result<()> {
        self.configure_git("{poll: 2s, jitter: 0s}", more)
    }

    /// The same, with git asked as this says.
    pub fn configure_git(&self, git: &str, more: &str) -> Result<()> {
        self.configure_as(&format!(
            "namespace: {}\nhttp: {{access: open}}\ngit: {git}\n{more}\n\
             environments:\n  - {{name: dev, newCommit: apply, drift: heal, deletion: prune}}\n  \
             - {{name: staging, newCommit: apply, drift: heal, deletion: prune}}\n  \
             - {{name: prod, newCommit: approve, drift: heal, deletion: approve}}\n",
            self.apps
        ))
    }

    /// Puts this text in the place of the configuration, in one step.
    pub fn configure_as(&self, text: &str) -> Result<()> {
        let beside = self.config.with_extension("new");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, &self.config).context("the configuration cannot be put in place")
    }

    /// A folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the daemon, or another one after a kill.
    pub fn start(&mut self) -> Result<()> {
        self.daemon = Some(self.another("", &[])?);
        Ok(())
    }

    /// A further daemon with its own cache, or the same one for an empty name.
    pub fn another(&self, cache: &str, under: &[&str]) -> Result<Daemon> {
        self.another_as(&self.user, cache, under)
    }

    /// A further daemon that acts as this user, so that the audit log tells the two apart.
    pub fn another_as(&self, user: &str, cache: &str, under: &[&str]) -> Result<Daemon> {
        self.another_with(&self.kubeconfig(user)?, cache, under)
    }

    /// A further daemon with the rights that this kubeconfig gives.
    pub fn another_with(&self, kubeconfig: &Path, cache: &str, under: &[&str]) -> Result<Daemon> {
        let cache = self.cache(cache);
        Daemon::start(&Start {
            config: &self.config,
            kubeconfig,
            cache: &cache,
            under,
        })
    }

    /// Where a daemon keeps what it may lose.
    pub fn cache(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("cache{name}"))
    }

    /// A kubeconfig of the administrator, acting as this user, so that the audit log tells daemons apart.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let token = &self.plane.address.admin_token;
        self.kubeconfig_of(
            user,
            &json!({"token": token, "as": user, "as-groups": ["system:masters"]}),
        )
    }

    /// A kubeconfig of whoever holds this token.
    pub fn kubeconfig_with(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig_of(name, &json!({"token": token}))
    }

    /// A kubeconfig of the administrator, acting as the daemon's user, that leads through this proxy.
    pub fn kubeconfig_through(&self, proxy: &Proxy) -> Result<PathBuf> {
        let token = &self.plane.address.admin_token;
        let user = json!({"token": token, "as": self.user, "as-groups": ["system:masters"]});
        self.kubeconfig_at(&json!({"server": proxy.url}), "through-a-proxy", &user)
    }

    fn kubeconfig_of(&self, name: &str, user: &Value) -> Result<PathBuf> {
        let address = &self.plane.address;
        let cluster = json!({"server": address.server, "certificate-authority": address.ca});
        self.kubeconfig_at(&cluster, name, user)
    }

    fn kubeconfig_at(&self, cluster: &Value, name: &str, user: &Value) -> Result<PathBuf> {
        let file = self.folder.path().join(format!("kubeconfig-{name}.json"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// Runs the command line against the daemon, with the token of these tests.
    pub fn cli(&self, arguments: &[&str]) -> Result<Said> {
        let server = self
            .daemon
            .as_ref()
            .map_or("http://127.0.0.1:9", |daemon| &daemon.url);
        let limit = PATIENCE.as_secs().to_string();
        let done = Command::new("timeout")
            .args(["--kill-after=5", &limit])
            .arg(binary()?)
            .args(arguments)
            .env("LOCKSTEP_SERVER", server)
            .env("LOCKSTEP_TOKEN", TOKEN)
            .env("NO_COLOR", "1")
            .current_dir(self.folder.path())
            .output()?;
        if done.status.code() == Some(124) {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!("lockstep {arguments:?} had not ended after {PATIENCE:?}; it said {said:?}");
        }
        Ok(Said {
            code: done.status.code(),
            out: String::from_utf8(done.stdout)?,
            err: String::from_utf8(done.stderr)?,
        })
    }

    /// The daemon.
    ///
    /// # Panics
    /// When it was not started: a mistake of the test.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon
            .as_mut()
            .expect("the test starts its daemon first")
    }

    /// An Application of this repository's folder `path` into the target namespace: automated, prune, selfHeal.
    pub fn application(&self, name: &str, path: &str) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": self.apps},
            "spec": {
                "project": "default",
                "source": {"repoURL": self.repository.url, "path": path, "targetRevision": "main"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": self.target},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
            },
        })
    }

    /// Waits until this is true of the Application, and answers with it.
    pub async fn app(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = self
            .kube
            .until("Application", &self.apps, name, what, |app| {
                app.is_some_and(&holds)
            })
            .await
            .with_context(|| self.log())?;
        found.context("the Application was just there")
    }

    /// Waits until the app is synced at this revision, by status alone.
    pub async fn synced(&self, name: &str, revision: &str) -> Result<Value> {
        self.app(name, "being Synced", |app| {
            app["status"]["sync"]["status"] == "Synced"
                && app["status"]["sync"]["revision"] == revision
        })
        .await
    }

    /// Waits until the record says what the server answered for every object: from then on nothing is to be written.
    pub async fn noted(&self, name: &str) -> Result<Value> {
        let says = |record: &Value| {
            let entries = record["entries"].as_array();
            entries.is_some_and(|all| all.iter().all(|entry| entry["seen"].is_string()))
        };
        let what = "what was answered";
        self.kube
            .until("Record", &self.apps, name, what, |record| {
                record.is_some_and(says)
            })
            .await?
            .context("it was just there")
    }

    /// Waits until a condition of this type has a message with this text in it.
    pub async fn condition(&self, name: &str, kind: &str, text: &str) -> Result<Value> {
        self.app(name, &format!("a condition {kind} with {text:?}"), |app| {
            app["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|condition| {
                    condition["type"] == kind
                        && condition["message"]
                            .as_str()
                            .is_some_and(|message| message.contains(text))
                })
            })
        })
        .await
    }

    /// An object in the target namespace, as it is now.
    pub async fn object(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        self.kube
            .get(&crate::kube::path(kind, &self.target, name))
            .await
    }

    /// Waits for an object in the target namespace.
    pub async fn object_until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<Option<Value>> {
        self.kube
            .until(kind, &self.target, name, what, holds)
            .await
            .with_context(|| self.log())
    }

    /// One REST request, with the token.
    pub async fn rest(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        self.rest_as(Some(TOKEN), method, path, body).await
    }

    /// One REST request, with this token or none.
    pub async fn rest_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let Some(daemon) = &self.daemon else {
            bail!("the test starts its daemon first")
        };
        let mut request = self
            .client
            .request(method, format!("{}{path}", daemon.url))
            .timeout(PATIENCE);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.with_context(|| self.log())?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| self.log())?;
        Ok((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }

    /// Asks REST again and again until this is true of the answer, and answers with it: for facts that the cluster
    /// does not tell, since a watch would be better.
    pub async fn rest_until(
        &self,
        path: &str,
        what: &str,
        holds: impl Fn(StatusCode, &Value) -> bool,
    ) -> Result<Value> {
        let mut last = None;
        let asking = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let (status, answer) = self.rest(Method::GET, path, None).await?;
                if holds(status, &answer) {
                    return Ok::<_, anyhow::Error>(answer);
                }
                last = Some((status, answer));
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => {
                bail!(
                    "waited {PATIENCE:?} for {what} of {path}; seen last: {last:?}\n{}",
                    self.log()
                )
            }
        }
    }

    /// The whole number behind a line of `/metrics` that begins with this; none when there is no such line.
    pub async fn metric(&self, line: &str) -> Result<Option<u64>> {
        let (_, text) = self.rest(Method::GET, "/metrics", None).await?;
        Ok(sample(&text, line))
    }

    /// Waits until that number is as wished.
    pub async fn metric_until(
        &self,
        line: &str,
        what: &str,
        holds: impl Fn(u64) -> bool,
    ) -> Result<u64> {
        let text = self
            .rest_until("/metrics", what, |_, text| {
                sample(text, line).is_some_and(&holds)
            })
            .await?;
        sample(&text, line).context("it was just there")
    }

    /// Lets the term of the lease be over, as it is some time after whoever held it was killed.
    pub async fn end_term(&self) -> Result<()> {
        let lease = crate::kube::path("Lease", &self.apps, "lockstep");
        if self.kube.get(&lease).await?.is_some() {
            let over = json!({"spec": {"holderIdentity": null}});
            self.kube.patch(&lease, over, "tests").await?;
        }
        Ok(())
    }

    /// A place in the audit log.
    pub async fn mark(&self) -> Result<Mark> {
        audit::mark(&self.plane.address, &self.kube).await
    }

    /// What the daemon asked of the API server since then.
    pub async fn requests_since(&self, mark: Mark) -> Result<Vec<Request>> {
        let now = self.mark().await?;
        audit::requests(&self.plane.address, &self.user, mark, now)
    }

    /// What the daemon wrote since then; leases and dry runs do not count, nor do deployments that are stored when there
    /// is time.
    pub async fn writes_since(&self, mark: Mark) -> Result<Vec<Request>> {
        let mut requests = self.requests_since(mark).await?;
        requests.retain(|request| request.is_write() && request.resource != "bundles");
        Ok(requests)
    }

    fn log(&self) -> String {
        let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "the daemon's log ends with:\n{}",
            lines[lines.len().saturating_sub(30)..].join("\n")
        )
    }
}

fn sample(metrics: &Value, line: &str) -> Option<u64> {
    let text = metrics.as_str()?;
    let found = text.lines().find(|one| one.starts_with(line))?;
    found.rsplit_once(' ')?.1.parse().ok()
}

/// Installs the definitions, once.
pub async fn prepare(kube: &Kube) -> Result<()> {
    for crd in lockstep_app::v1alpha1::crds() {
        kube.apply(&crd, "tests").await?;
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        kube.until(
            "CustomResourceDefinition",
            "",
            name,
            "being Established",
            |crd| {
                crd.is_some_and(|crd| {
                    crd["status"]["conditions"].as_array().is_some_and(|all| {
                        all.iter()
                            .any(|c| c["type"] == "Established" && c["status"] == "True")
                    })
                })
            },
        )
        .await?;
    }
    Ok(())
}

/// The digest under which a token stands in its Secret.
pub fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text))
}

/// The repository's root, for files that tests need from it.
pub fn root() -> PathBuf {
    workspace()
}
