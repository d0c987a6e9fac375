//! Where the API server is, and the HTTP stack to it.
//!
//! kube's own stack speaks HTTP/1.1 with a connection per watch, has no deadline, and repeats for minutes. This one
//! speaks HTTP/2 (and falls back by itself), pings, and repeats briefly.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::ConfigExt;
use kube::client::retry::RetryPolicy;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use crate::call::network;
use crate::error::ClusterError;
use crate::status::presentable;

/// Where the API server is.
///
/// With neither a file nor a context: the in-cluster configuration, else `KUBECONFIG`, else `~/.kube/config`.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// This kubeconfig and no other.
    pub kubeconfig: Option<PathBuf>,
    /// This context of the kubeconfig, instead of its current one.
    pub context: Option<String>,
    /// May the kubeconfig's credential plugin be run? The daemon never allows it; a command line for people may.
    pub plugins: Plugins,
}

/// May a kubeconfig name a program that is run to log in?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Plugins {
    /// No program is started.
    #[default]
    Refused,
    /// As kubectl does.
    Allowed,
}

impl Connect {
    /// Reads the configuration.
    pub(crate) async fn config(&self) -> Result<Config, ClusterError> {
        let mut config = self.read().await?;
        if config.proxy_url.is_some() {
            return Err(ClusterError::Proxy);
        }
        let auth = &config.auth_info;
        if self.plugins == Plugins::Refused && (auth.exec.is_some() || auth.auth_provider.is_some())
        {
            return Err(ClusterError::Plugin);
        }
        // Flow control and audit rules key on it, and kube sends none.
        let agent = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
        config
            .headers
            .push((USER_AGENT, HeaderValue::from_static(agent)));
        Ok(config)
    }

    async fn read(&self) -> Result<Config, ClusterError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let bad = |why: &dyn std::error::Error| ClusterError::Kubeconfig {
                file: path.display().to_string(),
                why: presentable(&why.to_string()),
            };
            let file = Kubeconfig::read_from(path).map_err(|error| bad(&error))?;
            return Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| bad(&error));
        }
        if self.context.is_none()
            && let Ok(config) = Config::incluster_env()
        {
            return Ok(config);
        }
        Config::from_kubeconfig(&options)
            .await
            .map_err(|error| match error {
                kube::config::KubeconfigError::FindPath
                | kube::config::KubeconfigError::ReadConfig(..)
                | kube::config::KubeconfigError::CurrentContextNotSet => {
                    ClusterError::NoConfiguration
                }
                other => ClusterError::Kubeconfig {
                    file: "of KUBECONFIG or ~/.kube/config".to_owned(),
                    why: presentable(&other.to_string()),
                },
            })
    }
}

/// A client with a connection of its own.
///
/// Bounds: 10 s to connect; pings every 30 s, also when idle, with 10 s to answer, so that a dead connection ends all
/// its watches within 40 s; 429, 503 and 504 are repeated three times, from 100 ms, honouring Retry-After.
pub(crate) fn client(config: &Config) -> Result<kube::Client, ClusterError> {
    let unusable = |error: &dyn std::error::Error| ClusterError::Kubeconfig {
        file: "in use".to_owned(),
        why: presentable(&error.to_string()),
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false); // or https is refused
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    // HTTP/1.1 has no pings; where a proxy forces us there, TCP's own have to do.
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let tls = config
        .rustls_client_config()
        .map_err(|error| ClusterError::Kubeconfig {
            file: "in use".to_owned(),
            why: network(&error),
        })?;
    let mut https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    if let Some(name) = config.tls_server_name.clone() {
        // A custom connector forgets it otherwise.
        let name =
            rustls::pki_types::ServerName::try_from(name).map_err(|error| unusable(&error))?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let http: Client<_, kube::client::Body> = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new()) // without a timer the pings panic
        .http2_adaptive_window(true)
        .http2_keep_alive_while_idle(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .build(https.enable_all_versions().wrap_connector(tcp));
    let retry = RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(5), 3, true)
        .map_err(|error| unusable(&error))?;
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(retry))
        .option_layer(config.auth_layer().map_err(|error| unusable(&error))?)
        .layer(
            config
                .extra_headers_layer()
                .map_err(|error| unusable(&error))?,
        )
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(stack, config.default_namespace.clone()))
}
