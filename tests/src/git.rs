//! Repositories that the git server of the control plane serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::controlplane::Address;

/// A bare repository and a work tree that pushes to it.
pub struct Repository {
    /// Its address for Applications.
    pub url: String,
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// An empty one of this name, with the branch `main`.
    pub fn new(address: &Address, folder: &Path, name: &str) -> Result<Self> {
        let bare = address.git_root.join(format!("{name}.git"));
        let work = folder.join(format!("work-{name}"));
        git(
            folder,
            &[
                "init",
                "-q",
                "--bare",
                "-b",
                "main",
                &bare.display().to_string(),
            ],
        )?;
        std::fs::create_dir_all(&work)?;
        git(&work, &["init", "-q", "-b", "main"])?;
        git(
            &work,
            &["remote", "add", "origin", &bare.display().to_string()],
        )?;
        Ok(Self {
            url: format!("{}/{name}.git", address.git),
            bare,
            work,
        })
    }

    /// The work tree.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The folder that is served.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// Writes a file, without committing it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.work.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, text).with_context(|| format!("{path} cannot be written"))
    }

    /// Removes a file, without committing that.
    pub fn remove(&self, path: &str) -> Result<()> {
        std::fs::remove_file(self.work.join(path))
            .with_context(|| format!("{path} cannot be removed"))
    }

    /// Commits everything and pushes it; answers with the commit's id.
    pub fn push(&self, message: &str) -> Result<String> {
        git(&self.work, &["add", "-A"])?;
        git(
            &self.work,
            &["commit", "-q", "--allow-empty", "-m", message],
        )?;
        git(&self.work, &["push", "-q", "--force", "origin", "HEAD"])?;
        Ok(git(&self.work, &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Writes these files, commits, pushes.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> Result<String> {
        for (path, text) in files {
            self.write(path, text)?;
        }
        self.push(message)
    }

    /// Runs git in the work tree.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        git(&self.work, arguments)
    }

    /// Runs git in the bare repository: deleting a branch, for example.
    pub fn server_side(&self, arguments: &[&str]) -> Result<String> {
        git(&self.bare, arguments)
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .context("git cannot be run")?;
    if !done.status.success() {
        bail!(
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(String::from_utf8(done.stdout)?)
}
