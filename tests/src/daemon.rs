//! The built `lockstep`, run as its users run it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::controlplane::workspace;
use crate::kube::PATIENCE;

/// A running daemon; killed when dropped.
pub struct Daemon {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Nothing is sent here; it is cut when the daemon's standard error is closed, which is when it ends.
    alive: Mutex<mpsc::Receiver<()>>,
    watchman: Watchman,
}

/// Ends the daemon when this process is gone without having done so, as after a SIGKILL.
struct Watchman {
    child: Child,
    _pipe: Option<ChildStdin>,
}

impl Watchman {
    fn over(pid: u32) -> Result<Self> {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "read -r never; kill -9 \"$1\"",
                "sh",
                &pid.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("sh cannot be run")?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    /// The daemon is gone, and its number may soon be somebody else's.
    fn dismiss(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The binary, built once for this process in the profile of this process.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|why| anyhow!(why))
}

fn build() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("LOCKSTEP_BINARY") {
        return Ok(PathBuf::from(given));
    }
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bin",
            "lockstep",
        ])
        .current_dir(workspace());
    if release {
        cargo.arg("--release");
    }
    let status = cargo.status().context("cargo cannot be run")?;
    if !status.success() {
        bail!("lockstep was not built");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    Ok(target
        .join(if release { "release" } else { "debug" })
        .join("lockstep"))
}

/// How a daemon is started.
pub struct Start<'a> {
    /// The configuration file.
    pub config: &'a Path,
    /// Whose rights it has.
    pub kubeconfig: &'a Path,
    /// Its cache.
    pub cache: &'a Path,
    /// In front of the program, such as `strace -f …`.
    pub under: &'a [&'a str],
}

impl Daemon {
    /// Starts one, and waits until it listens.
    pub fn start(how: &Start<'_>) -> Result<Self> {
        let binary = binary()?;
        let mut command = match how.under.split_first() {
            None => Command::new(&binary),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&binary);
                command
            }
        };
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .arg("--config")
            .arg(how.config)
            .arg("--kubeconfig")
            .arg(how.kubeconfig)
            .arg("--cache")
            .arg(how.cache)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let stderr = child.stderr.take().context("the pipe was asked for")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (said, listening) = mpsc::channel();
        let (living, alive) = mpsc::channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let _living: mpsc::Sender<()> = living;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("\"listening\"")
                    && let Ok(event) = serde_json::from_str::<Value>(&line)
                {
                    let address = event
                        .pointer("/fields/address")
                        .or_else(|| event.get("address"));
                    if let Some(address) = address.and_then(Value::as_str) {
                        let _gone = said.send(address.to_owned());
                    }
                }
                if let Ok(mut log) = kept.lock() {
                    log.push(line);
                }
            }
        });
        let watchman = Watchman::over(child.id())?;
        let mut daemon = Self {
            url: String::new(),
            child,
            log,
            alive: Mutex::new(alive),
            watchman,
        };
        if let Ok(address) = listening.recv_timeout(PATIENCE) {
            daemon.url = format!("http://{address}");
            return Ok(daemon);
        }
        daemon.kill()?;
        bail!(
            "lockstep did not begin to listen; its log:\n{}",
            daemon.log()
        )
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .map(|log| log.join("\n"))
            .unwrap_or_default()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.watchman.dismiss();
        Ok(())
    }

    /// Waits until it has ended, and answers with how.
    ///
    /// Errors: it runs on after [`PATIENCE`]; then it is killed.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let alive = self
            .alive
            .get_mut()
            .map_err(|_| anyhow!("a thread panicked"))?;
        if alive.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.kill()?;
            bail!(
                "lockstep had not ended after {PATIENCE:?}; its log:\n{}",
                self.log()
            );
        }
        let status = self.child.wait()?;
        self.watchman.dismiss();
        Ok(status)
    }

    /// SIGTERM; answers with how it ended and how long that took.
    pub fn terminate(&mut self) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        if !status.success() {
            bail!("the signal could not be sent");
        }
        Ok((self.ended()?, begun.elapsed()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        self.watchman.dismiss();
    }
}
