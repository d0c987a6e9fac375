//! The real control plane, once for a process, gone with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What the control plane says of itself when it is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The API server.
    pub server: String,
    /// The file with its certificate, which is its own authority.
    pub ca: PathBuf,
    /// The administrator's token.
    pub admin_token: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The audit log.
    pub audit_log: PathBuf,
    /// The git server.
    pub git: String,
    /// The folder of bare repositories that it serves.
    pub git_root: PathBuf,
    /// The process of each part, by its verb.
    #[serde(default)]
    pub pids: BTreeMap<String, u32>,
}

/// Runs the rest of its arguments, then removes the folder that is the first of them.
///
/// Nobody else could: a static is not dropped, and a test that is killed does nothing any more.
const SWEEP: &str = r#"folder=$1; shift; "$@"; code=$?; rm -rf -- "$folder"; exit $code"#;

/// A running control plane. It ends when this value, or the process, does, and takes its folder along: its standard
/// input is our pipe.
pub struct ControlPlane {
    /// Where everything is.
    pub address: Address,
    /// The program, for its other verbs.
    pub program: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    folder: PathBuf,
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

impl ControlPlane {
    /// Starts one, building it first when this machine has not built it yet.
    pub fn start() -> Result<Self> {
        let built = Command::new(workspace().join("tests/controlplane/build"))
            .stderr(Stdio::inherit())
            .output()
            .context("tests/controlplane/build cannot be run")?;
        if !built.status.success() {
            bail!("the control plane was not built; the lines above say what is missing");
        }
        let program = PathBuf::from(String::from_utf8(built.stdout)?.trim());
        let directory = tempfile::Builder::new().prefix("lockstep-").tempdir()?;
        let git_root = directory.path().join("git");
        std::fs::create_dir_all(&git_root)?;
        let mut child = Command::new("sh")
            .args(["-c", SWEEP, "sh"])
            .arg(directory.path())
            .arg(&program)
            .arg("run")
            .arg("--audit")
            .arg("--dir")
            .arg(directory.path().join("controlplane"))
            .arg("--git-root")
            .arg(&git_root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl-C on a terminal reaches a whole group; this one is to end after whoever uses it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        // From here on the folder is the shell's to remove.
        let folder = directory.keep();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the pipe was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = serde_json::from_str(&line)
            .with_context(|| format!("the control plane did not become ready; it said {line:?}"))?;
        Ok(Self {
            address,
            program,
            child,
            stdin,
            folder,
        })
    }

    /// The folder in which this run may put what it needs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the control plane's end was not seen: {error}");
        }
    }
}

static SHARED: OnceLock<ControlPlane> = OnceLock::new();

/// The control plane of this process. Statics are not dropped: the pipe closes when the process ends.
///
/// # Panics
/// When it cannot be started: no test can go on.
pub fn shared() -> &'static ControlPlane {
    SHARED.get_or_init(|| {
        install_tls();
        ControlPlane::start().expect("the control plane starts")
    })
}

/// One TLS provider for the process (it is an error to ask twice, and harmless).
pub fn install_tls() {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        // Somebody else installed it first, which is just as good.
    }
}
