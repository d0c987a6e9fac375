//! What a git host says to the daemon after a push.

use anyhow::{Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

/// Rings at a daemon: this repository has this commit on `main` now.
pub async fn ring(daemon: &str, secret: &str, repository: &str, revision: &str) -> Result<()> {
    let body = json!({
        "ref": "refs/heads/main",
        "after": revision,
        "repository": {"clone_url": repository, "html_url": repository},
    })
    .to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let answer = reqwest::Client::new()
        .post(format!("{daemon}/api/webhook"))
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", "push")
        .header("X-Hub-Signature-256", format!("sha256={signature}"))
        .body(body)
        .send()
        .await?;
    if !answer.status().is_success() {
        bail!("the webhook was answered with {}", answer.status());
    }
    Ok(())
}
