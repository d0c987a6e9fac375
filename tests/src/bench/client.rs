//! A bare client: HTTP/2, bytes out, status in. It shares no code with the daemon's.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, StatusCode, Version};
use serde_json::Value;

use crate::controlplane::{Address, install_tls};
use crate::kube::{PATIENCE, path};

/// How many requests are under way at once: as many as the daemon's client allows itself.
pub const CONCURRENCY: usize = 64;

/// One connection to the API server, as its administrator.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

/// One request, ready to be sent.
pub struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: String,
}

impl Call {
    /// A server-side apply with force in this manager's name.
    pub fn apply(object: &Value, manager: &str) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let path = path(
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        );
        Self {
            method: Method::PATCH,
            path: format!("{path}?fieldManager={manager}&force=true"),
            content_type: "application/apply-patch+yaml",
            body: object.to_string(),
        }
    }

    /// A creation.
    pub fn create(object: &Value) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        Self {
            method: Method::POST,
            path: path(text("/kind"), text("/metadata/namespace"), ""),
            content_type: "application/json",
            body: object.to_string(),
        }
    }

    /// A JSON patch, as somebody's hand.
    pub fn edit(path: &str, patch: &Value) -> Self {
        Self {
            method: Method::PATCH,
            path: format!("{path}?fieldManager=kubectl-edit"),
            content_type: "application/json-patch+json",
            body: patch.to_string(),
        }
    }
}

impl Client {
    /// Connects; says so when that is not by HTTP/2.
    pub async fn open(address: &Address) -> Result<Self> {
        install_tls();
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&address.ca)?)?;
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .http2_adaptive_window(true)
            .user_agent("bench")
            .build()?;
        let client = Self {
            http,
            server: address.server.clone(),
            token: address.admin_token.clone(),
        };
        let answer = client
            .http
            .get(format!("{}/version", client.server))
            .bearer_auth(&client.token)
            .send()
            .await?;
        if answer.version() != Version::HTTP_2 {
            bail!(
                "the API server speaks {:?} with the bare client",
                answer.version()
            );
        }
        answer.bytes().await?;
        Ok(client)
    }

    /// Sends one request and reads the whole answer, without looking into it.
    pub async fn send(&self, call: &Call) -> Result<Vec<u8>> {
        let answer = self
            .http
            .request(call.method.clone(), format!("{}{}", self.server, call.path))
            .bearer_auth(&self.token)
            .header("Content-Type", call.content_type)
            .header("Accept", "application/json")
            .body(call.body.clone())
            .send()
            .await
            .with_context(|| format!("{} {}", call.method, call.path))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!(
                "{} {}: {status}: {}",
                call.method,
                call.path,
                String::from_utf8_lossy(&body)
            );
        }
        Ok(body.into())
    }

    /// Sends all of them, [`CONCURRENCY`] at once.
    pub async fn send_all(&self, calls: &[Call]) -> Result<()> {
        self.send_some(calls, CONCURRENCY).await
    }

    /// Sends all of them, so many at once.
    pub async fn send_some(&self, calls: &[Call], at_once: usize) -> Result<()> {
        stream::iter(calls.iter().map(|call| self.send(call)))
            .buffer_unordered(at_once)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// Begins to read something long. Asks again when the server wants that: a definition that was just made is not
    /// served at once.
    pub(super) async fn stream(&self, path: &str) -> Result<reqwest::Response> {
        let mut pause = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..PATIENCE.as_secs() {
            pause.tick().await;
            let answer = self
                .http
                .get(format!("{}{path}", self.server))
                .bearer_auth(&self.token)
                .send()
                .await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                StatusCode::TOO_MANY_REQUESTS => {}
                status => bail!("GET {path}: {status}"),
            }
        }
        bail!("GET {path}: the server has had too much to do for {PATIENCE:?}")
    }
}
