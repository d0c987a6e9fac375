//! A remote together with who we are to it.

use base64::Engine as _;
use lockstep_app::app::{Login, RemoteUrl};
use reqwest::Url;
use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::error::{FetchError, Why};

/// A remote together with who we are to it.
///
/// The credentials are attached to this one address: redirects are not followed, so they go nowhere else.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) remote: RemoteUrl,
    pub(crate) secret: Option<String>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) host: String,
}

impl Account {
    pub(crate) fn new(remote: &RemoteUrl, login: Option<&Login>) -> Result<Self, FetchError> {
        let url = Url::parse(remote.as_str()).map_err(|_| FetchError::NotGit {
            remote: remote.clone(),
        })?;
        let host = format!(
            "{}://{}:{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        let mut authorization = None;
        if let Some(login) = login {
            if url.scheme() != "https" && !is_loopback(&url) {
                return Err(FetchError::PlainHttp {
                    remote: remote.clone(),
                    secret: login.secret.clone(),
                });
            }
            let pair = format!("{}:{}", login.user, login.password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            // Base64 has no character that a header could not hold.
            let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|_| {
                FetchError::NotGit {
                    remote: remote.clone(),
                }
            })?;
            value.set_sensitive(true);
            authorization = Some(value);
        }
        let secret = login.map(|login| login.secret.clone());
        Ok(Self {
            remote: remote.clone(),
            secret,
            authorization,
            host,
        })
    }

    /// The directory's name for this remote and this Secret.
    pub(crate) fn digest(&self) -> String {
        digest(&[
            self.remote.as_str(),
            self.secret.as_deref().unwrap_or_default(),
        ])
    }

    /// The same with the password: who has another one does not share an errand.
    pub(crate) fn identity(&self) -> String {
        let password = self
            .authorization
            .as_ref()
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let password = hex::encode(Sha256::digest(password));
        digest(&[
            self.remote.as_str(),
            self.secret.as_deref().unwrap_or_default(),
            &password,
        ])
    }

    pub(crate) fn unreachable(&self, why: Why) -> FetchError {
        FetchError::Unreachable {
            remote: self.remote.clone(),
            why,
        }
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> FetchError {
        FetchError::Corrupt {
            remote: self.remote.clone(),
            what,
        }
    }
}

/// 128 bits of SHA-256 over the parts, in hexadecimal digits. No part can hold the NUL between them.
fn digest(parts: &[&str]) -> String {
    let mut digest = hex::encode(Sha256::digest(parts.join("\0")));
    digest.truncate(32);
    digest
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
