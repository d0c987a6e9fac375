//! Which requests were made: the API server's own audit log.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::controlplane::Address;
use crate::kube::{Kube, PATIENCE};

/// One request, as the API server logged it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// The path with its query.
    pub uri: String,
    /// Who: the impersonated user where there is one.
    pub user: String,
    /// The resource's plural, such as `deployments`.
    pub resource: String,
    /// The status code.
    pub code: u64,
    /// When it came, as the API server writes times.
    pub received: String,
    /// When it was answered.
    pub answered: String,
}

impl Request {
    /// Does it change something? Dry runs do not; leases are a replica's heartbeat, not work.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !self.uri.contains("dryRun=All")
            && self.resource != "leases"
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// The end of the log, with everything that was answered before now in front of it: a marker request is sent, and its
/// line waited for, since a line may come a moment after its answer.
pub async fn mark(address: &Address, kube: &Kube) -> Result<Mark> {
    let marker = format!("marker-{:016x}", fresh());
    // A log of a whole run is long; what was there before the marker was sent need not be searched.
    let begin = std::fs::metadata(&address.audit_log)?.len();
    kube.get(&format!("/version?{marker}")).await?;
    let reading = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            let mut file = std::fs::File::open(&address.audit_log)?;
            file.seek(SeekFrom::Start(begin))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            let found = text
                .windows(marker.len())
                .position(|window| window == marker.as_bytes());
            if let Some(at) = found {
                let end = text[at..].iter().position(|byte| *byte == b'\n');
                if let Some(end) = end {
                    return Ok::<_, std::io::Error>(Mark(begin + (at + end + 1) as u64));
                }
            }
            tick.tick().await;
        }
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(mark) => Ok(mark?),
        Err(_) => bail!("the marker {marker} did not come into the audit log"),
    }
}

/// The requests of one user between two places in the log.
pub fn requests(address: &Address, user: &str, from: Mark, to: Mark) -> Result<Vec<Request>> {
    let mut file = std::fs::File::open(&address.audit_log)?;
    file.seek(SeekFrom::Start(from.0))?;
    let mut text = String::new();
    file.take(to.0.saturating_sub(from.0))
        .read_to_string(&mut text)?;
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.contains(user)) {
        let line: Value = serde_json::from_str(line)?;
        let text = |pointer: &str| {
            line.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let impersonated = text("/impersonatedUser/username");
        let who = if impersonated.is_empty() {
            text("/user/username")
        } else {
            impersonated
        };
        if who == user {
            found.push(Request {
                verb: text("/verb").to_owned(),
                uri: text("/requestURI").to_owned(),
                user: who.to_owned(),
                resource: text("/objectRef/resource").to_owned(),
                received: text("/requestReceivedTimestamp").to_owned(),
                answered: text("/stageTimestamp").to_owned(),
                code: line
                    .pointer("/responseStatus/code")
                    .and_then(Value::as_u64)
                    .unwrap_or(0),
            });
        }
    }
    Ok(found)
}

/// A number that no other marker of this machine has.
pub fn fresh() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
