//! Why the server could not be asked, or would not answer.

use std::fmt;
use std::time::Duration;

use lockstep_app::{Blame, Fault};
use lockstep_manifest::Gvk;

use crate::call::CallError;
use crate::status::{Status, presentable};

/// What a request needs to be allowed: the missing RBAC rule, when it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The verbs, such as `create` and `patch`.
    pub verbs: Vec<&'static str>,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// The namespace; empty for all, or for a kind without.
    pub namespace: String,
}

impl Permission {
    /// The rule as it stands in a Role or ClusterRole.
    pub fn rule(&self) -> String {
        format!(
            "{{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{}\"]}}",
            self.group,
            self.resource,
            self.verbs.join("\", \"")
        )
    }

    /// Where the rule has to be granted.
    pub fn granted_in(&self) -> String {
        if self.namespace.is_empty() {
            "a ClusterRole bound by a ClusterRoleBinding".to_owned()
        } else {
            format!("a Role in namespace {}, or a ClusterRole", self.namespace)
        }
    }

    /// The hint of every refused permission.
    pub(crate) fn hint(&self) -> String {
        format!(
            "Grant Lockstep's ServiceAccount this rule in {}: {}",
            self.granted_in(),
            self.rule()
        )
    }
}

/// `list and watch deployments.apps in all namespaces`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verbs.join(" and "), self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if self.namespace.is_empty() {
            f.write_str(" in all namespaces")
        } else {
            write!(f, " in namespace {}", self.namespace)
        }
    }
}

/// The server could not be asked, or would not answer.
///
/// Shape: texts hold no value of any object. Whose move: see [`ClusterError::blame`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nothing says where the server is.
    #[error("no API server is known: there is no in-cluster configuration and no kubeconfig")]
    NoConfiguration,
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig {file}: {why}")]
    Kubeconfig {
        /// Which file, or which rule chose it.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The kubeconfig's user logs in by running a program, which a daemon never does.
    #[error("the kubeconfig logs in by running a program, and Lockstep starts no programs")]
    Plugin,
    /// The kubeconfig asks for a proxy.
    #[error("the kubeconfig asks for a proxy, which Lockstep does not use")]
    Proxy,
    /// No connection, or it broke.
    #[error("cannot reach the API server {server}: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What the network said.
        why: String,
    },
    /// It accepted and did not answer.
    #[error("the API server {server} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// Its address.
        server: String,
        /// How long we waited.
        after: Duration,
    },
    /// It is up and cannot serve now.
    #[error("the API server {server} cannot answer now: status {status} {reason}")]
    Failing {
        /// Its address.
        server: String,
        /// The HTTP status.
        status: u16,
        /// Its reason, when it gave one.
        reason: String,
    },
    /// It wants to be left alone for a while.
    #[error("the API server {server} asks us to slow down")]
    Throttled {
        /// Its address.
        server: String,
        /// How long.
        retry_after: Option<Duration>,
    },
    /// It does not accept who we are.
    #[error("the API server {server} does not accept our credentials")]
    Unauthorized {
        /// Its address.
        server: String,
    },
    /// We may not.
    #[error("not allowed to {permission}")]
    Forbidden {
        /// What is missing.
        permission: Permission,
    },
    /// The kind is not there.
    #[error("{gvk} is not served by this cluster")]
    NotServed {
        /// Which kind.
        gvk: Gvk,
    },
    /// Whether the kind is there cannot be said.
    #[error("it is not known whether {gvk} is served: {why}")]
    KindUnknown {
        /// Which kind.
        gvk: Gvk,
        /// Why not.
        why: String,
    },
    /// What was asked cannot be asked.
    #[error("cannot ask for {what}: {why}")]
    Unaskable {
        /// What was asked.
        what: String,
        /// Why not.
        why: String,
    },
    /// It refused for another reason.
    #[error("the API server refused to {permission}: status {status} {reason}")]
    Refused {
        /// What was asked.
        permission: Permission,
        /// The HTTP status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// It answered something that is not what was asked for.
    #[error("the API server {server} gave an answer that is not understood: {why}")]
    NotUnderstood {
        /// Its address.
        server: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClusterError {
    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoConfiguration
            | Self::Kubeconfig { .. }
            | Self::Plugin
            | Self::Proxy
            | Self::Unaskable { .. } => Blame::User,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Failing { .. }
            | Self::Throttled { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotServed { .. }
            | Self::KindUnknown { .. }
            | Self::Refused { .. }
            | Self::NotUnderstood { .. } => Blame::Environment,
        }
    }

    /// What the reader can do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoConfiguration => {
                "Run it in a cluster, or name a kubeconfig with --kubeconfig or KUBECONFIG"
                    .to_owned()
            }
            Self::Kubeconfig { .. } => "Check it with: kubectl config view --minify".to_owned(),
            Self::Plugin => {
                "Make a kubeconfig with a token: kubectl create token SERVICEACCOUNT".to_owned()
            }
            Self::Proxy => "Take proxy-url out of the kubeconfig".to_owned(),
            Self::Unauthorized { .. } => {
                "Renew the token or certificate of the kubeconfig, or of the ServiceAccount"
                    .to_owned()
            }
            Self::Forbidden { permission } => permission.hint(),
            Self::NotServed { .. } => "Install its CustomResourceDefinition".to_owned(),
            Self::KindUnknown { .. } => "See: kubectl get apiservices".to_owned(),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Failing { .. }
            | Self::Throttled { .. }
            | Self::Unaskable { .. }
            | Self::Refused { .. }
            | Self::NotUnderstood { .. } => return None,
        };
        Some(hint)
    }

    /// The same for page, CLI, REST and conditions.
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::NoConfiguration | Self::Kubeconfig { .. } | Self::Plugin | Self::Proxy => {
                "config.cluster"
            }
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Failing { .. }
            | Self::Throttled { .. }
            | Self::KindUnknown { .. }
            | Self::Refused { .. }
            | Self::NotUnderstood { .. } => "unknown.cluster",
            Self::Unauthorized { .. } | Self::Forbidden { .. } => "unknown.permission",
            Self::NotServed { .. } => "apply.crd_missing",
            Self::Unaskable { .. } => "apply.invalid",
        };
        Fault {
            hint: self.hint(),
            ..Fault::new(self.blame(), code, self.to_string())
        }
    }

    /// How long the server asked us to wait, when it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What a failed call means, when `permission` is what it took.
    pub(crate) fn from_call(
        server: &str,
        permission: &Permission,
        gvk: &Gvk,
        error: CallError,
    ) -> Self {
        let server = server.to_owned();
        match error {
            CallError::Unreachable { why } => Self::Unreachable { server, why },
            CallError::TimedOut { after } => Self::TimedOut { server, after },
            CallError::NotUnderstood { why } => Self::NotUnderstood { server, why },
            CallError::Refused(status) => Self::from_status(server, permission, gvk, &status),
        }
    }

    fn from_status(server: String, permission: &Permission, gvk: &Gvk, status: &Status) -> Self {
        match status.code {
            401 => Self::Unauthorized { server },
            403 => Self::Forbidden {
                permission: permission.clone(),
            },
            404 => Self::NotServed { gvk: gvk.clone() },
            429 => Self::Throttled {
                server,
                retry_after: status.retry_after().map(Duration::from_secs),
            },
            500.. => Self::Failing {
                server,
                status: status.code,
                reason: presentable(&status.reason),
            },
            _ => Self::Refused {
                permission: permission.clone(),
                status: status.code,
                reason: presentable(&status.reason),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_read_says_which_rule_is_missing() {
        let permission = Permission {
            verbs: vec!["list", "watch"],
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: String::new(),
        };
        let gvk = Gvk::from_api_version("apps/v1", "Deployment");
        let status = Status {
            code: 403,
            reason: "Forbidden".into(),
            ..Status::default()
        };
        let error =
            ClusterError::from_call("https://c", &permission, &gvk, CallError::Refused(status));
        let fault = error.fault();
        assert_eq!(fault.code, "unknown.permission");
        assert_eq!(
            fault.message,
            "not allowed to list and watch deployments.apps in all namespaces"
        );
        assert_eq!(
            fault.hint.as_deref(),
            Some(
                "Grant Lockstep's ServiceAccount this rule in a ClusterRole bound by a ClusterRoleBinding: \
                 {apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"list\", \"watch\"]}"
            )
        );
    }
}
