//! Why a write did not happen: the server's refusals, told apart by code, reason and cause.
//!
//! Four refusals have neither a reason nor a cause of their own and are told apart by the fixed beginning of their
//! text: what an admission webhook or policy denies, an exceeded quota, a missing permission (all of them `Forbidden`
//! or `Invalid`), and an object that does not fit its schema (status 500 without a reason). Immutable fields have the causes of invalid ones; the phrases are those of the validation
//! code. For Secrets no text of the server's is kept at all, because it may quote values (R10).

use std::time::Duration;

use lockstep_app::{Blame, Fault};
use lockstep_manifest::{Gvk, ObjectId, kinds, marks};

use crate::call::CallError;
use crate::error::Permission;
use crate::status::{Cause, Status, presentable};

/// Why a write did not happen. Each says which object, whose move it is, and what to do.
///
/// Shape: the object is boxed because the error travels in every `Result` of the write path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It changes fields that can never be changed.
    #[error("{object} changes {}, which can never be changed", fields.join(", "))]
    Immutable {
        /// Which object.
        object: Box<ObjectId>,
        /// The paths.
        fields: Vec<String>,
    },
    /// The server's schema or validation refuses it.
    #[error("{object} is not valid: {}", told(causes))]
    Invalid {
        /// Which object.
        object: Box<ObjectId>,
        /// Field and message, one by one; the field may be empty.
        causes: Vec<(String, String)>,
    },
    /// A policy of the cluster refuses it.
    #[error("{object} was denied by {by}: {message}")]
    Denied {
        /// Which object.
        object: Box<ObjectId>,
        /// Which webhook, policy or admission plugin.
        by: String,
        /// What it said.
        message: String,
    },
    /// An admission webhook could not be asked.
    #[error("{object} was not admitted: the admission webhook {webhook} does not answer")]
    WebhookDown {
        /// Which object.
        object: Box<ObjectId>,
        /// Which webhook.
        webhook: String,
    },
    /// We may not.
    #[error("{object}: not allowed to {permission}")]
    Forbidden {
        /// Which object.
        object: Box<ObjectId>,
        /// What is missing.
        permission: Permission,
    },
    /// We are nobody to it.
    #[error("{object}: the API server does not accept our credentials")]
    Unauthorized {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// Its namespace is not there.
    #[error("{object}: there is no namespace {}", object.namespace)]
    NamespaceMissing {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// Its namespace is being deleted.
    #[error("{object}: namespace {} is being deleted", object.namespace)]
    NamespaceTerminating {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// Its kind is not there.
    #[error("{object}: {gvk} is not served by this cluster")]
    NotServed {
        /// Which object.
        object: Box<ObjectId>,
        /// Its kind.
        gvk: Gvk,
        /// The versions in which the kind is served.
        instead: Vec<String>,
    },
    /// Whether its kind is there cannot be said.
    #[error("{object}: it is not known whether {gvk} is served: {why}")]
    KindUnknown {
        /// Which object.
        object: Box<ObjectId>,
        /// Its kind.
        gvk: Gvk,
        /// Why not.
        why: String,
    },
    /// It is not there, and the request was about one that is.
    #[error("{object} is not there")]
    Missing {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// It is no longer what we looked at.
    #[error("{object} changed since it was looked at")]
    Conflict {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// The namespace has no room for it.
    #[error("{object} exceeds a quota: {message}")]
    Quota {
        /// Which object.
        object: Box<ObjectId>,
        /// Which, and by how much.
        message: String,
    },
    /// It is too large for the server.
    #[error("{object} is too large for the API server")]
    TooLarge {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// The server wants to be left alone for a while.
    #[error("{object}: the API server asks us to slow down")]
    Throttled {
        /// Which object.
        object: Box<ObjectId>,
        /// How long.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke. It may have happened.
    #[error("{object}: cannot reach the API server: {why}")]
    Unreachable {
        /// Which object.
        object: Box<ObjectId>,
        /// What the network said.
        why: String,
    },
    /// No answer in time. It may have happened.
    #[error("{object}: the API server did not answer within {} s", after.as_secs())]
    TimedOut {
        /// Which object.
        object: Box<ObjectId>,
        /// How long we waited.
        after: Duration,
    },
    /// A deletion that does not say of which object exactly: never sent (R13).
    #[error("{object}: a deletion without uid and resourceVersion is never sent")]
    Unguarded {
        /// Which object.
        object: Box<ObjectId>,
    },
    /// Something else.
    #[error("{object}: the API server refused: status {status} {reason}: {message}")]
    Other {
        /// Which object.
        object: Box<ObjectId>,
        /// The HTTP status.
        status: u16,
        /// Its reason.
        reason: String,
        /// Its text; empty for Secrets.
        message: String,
    },
}

/// The causes of an invalid object, in one line.
fn told(causes: &[(String, String)]) -> String {
    let one = |(field, message): &(String, String)| match (field.is_empty(), message.is_empty()) {
        (true, _) => message.clone(),
        (_, true) => field.clone(),
        _ => format!("{field}: {message}"),
    };
    causes.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl WriteError {
    /// Which object.
    pub fn object(&self) -> &ObjectId {
        match self {
            Self::Immutable { object, .. }
            | Self::Invalid { object, .. }
            | Self::Denied { object, .. }
            | Self::WebhookDown { object, .. }
            | Self::Forbidden { object, .. }
            | Self::Unauthorized { object }
            | Self::NamespaceMissing { object }
            | Self::NamespaceTerminating { object }
            | Self::NotServed { object, .. }
            | Self::KindUnknown { object, .. }
            | Self::Missing { object }
            | Self::Conflict { object }
            | Self::Quota { object, .. }
            | Self::TooLarge { object }
            | Self::Throttled { object, .. }
            | Self::Unreachable { object, .. }
            | Self::TimedOut { object, .. }
            | Self::Unguarded { object }
            | Self::Other { object, .. } => object,
        }
    }

    /// May the write have happened all the same? Then the object is read again before the next step (F-02, F-07).
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Other { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whose move it is. A missing namespace, kind, quota or permission is the environment's: whoever mends it need
    /// not touch the app, so it is tried again.
    pub fn blame(&self) -> Blame {
        match self {
            Self::WebhookDown { .. }
            | Self::Forbidden { .. }
            | Self::Unauthorized { .. }
            | Self::NamespaceMissing { .. }
            | Self::NamespaceTerminating { .. }
            | Self::NotServed { .. }
            | Self::KindUnknown { .. }
            | Self::Missing { .. }
            | Self::Conflict { .. }
            | Self::Quota { .. }
            | Self::Throttled { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. } => Blame::Environment,
            Self::Unguarded { .. } => Blame::Lockstep,
            Self::Other { status, .. } if *status >= 500 => Blame::Environment,
            Self::Immutable { .. }
            | Self::Invalid { .. }
            | Self::Denied { .. }
            | Self::TooLarge { .. }
            | Self::Other { .. } => Blame::User,
        }
    }

    /// What the reader can do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Immutable { object, .. } if kinds::is_never_recreated(&object.group_kind()) => {
                format!(
                    "Give the object another name in git, or delete {} by hand: Force=true does not, since git cannot bring back what goes with it",
                    object.short()
                )
            }
            Self::Immutable { object, .. } => format!(
                "Give the object another name in git, delete {} by hand, or write {}: Force=true on it, so that it is deleted and made again",
                object.short(),
                marks::SYNC_OPTIONS,
            ),
            Self::Invalid { .. } => "Correct the manifest in git".to_owned(),
            Self::Denied { by, .. } => format!("Change the manifest in git, or the policy: {by}"),
            Self::WebhookDown { webhook, .. } => {
                format!(
                    "Look at the webhook's Service: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations | grep {webhook}"
                )
            }
            Self::Forbidden { permission, .. } => permission.hint(),
            Self::Unauthorized { .. } => {
                "Renew the token or certificate of the kubeconfig, or of the ServiceAccount"
                    .to_owned()
            }
            Self::NamespaceMissing { object } => format!(
                "Create it with: kubectl create namespace {}, or set CreateNamespace=true in the Application",
                object.namespace
            ),
            Self::NotServed { instead, gvk, .. } => match instead.first() {
                Some(version) => format!(
                    "Write apiVersion: {} in git; {} is no longer, or not yet, served",
                    Gvk {
                        version: version.clone(),
                        ..gvk.clone()
                    }
                    .api_version(),
                    gvk.api_version()
                ),
                None => {
                    "Install its CustomResourceDefinition, or put it into the same app".to_owned()
                }
            },
            Self::KindUnknown { .. } => "See: kubectl get apiservices".to_owned(),
            Self::Quota { object, .. } => {
                format!(
                    "See: kubectl describe resourcequota -n {}",
                    object.namespace
                )
            }
            Self::TooLarge { .. } => {
                "Make it smaller: an object may have about 1.5 MB, all annotations together 256 KiB"
                    .to_owned()
            }
            Self::NamespaceTerminating { .. }
            | Self::Missing { .. }
            | Self::Conflict { .. }
            | Self::Throttled { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unguarded { .. }
            | Self::Other { .. } => return None,
        };
        Some(hint)
    }

    /// The same for page, CLI, REST and conditions.
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::Immutable { .. } => "apply.immutable_field",
            Self::Denied { .. } | Self::WebhookDown { .. } => "apply.denied_by_admission",
            Self::Forbidden { .. } | Self::Unauthorized { .. } => "unknown.permission",
            Self::NamespaceMissing { .. } | Self::NamespaceTerminating { .. } => {
                "apply.namespace_missing"
            }
            Self::NotServed { .. } => "apply.crd_missing",
            Self::Missing { .. } | Self::Conflict { .. } => "apply.conflict",
            Self::Quota { .. } => "apply.quota",
            Self::KindUnknown { .. }
            | Self::Throttled { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. } => "unknown.cluster",
            Self::Unguarded { .. } => "lockstep.unguarded_delete",
            Self::Other { status, .. } if *status >= 500 => "unknown.cluster",
            Self::Invalid { .. } | Self::TooLarge { .. } | Self::Other { .. } => "apply.invalid",
        };
        Fault {
            hint: self.hint(),
            ..Fault::new(self.blame(), code, self.to_string())
        }
    }

    /// What a failed call means.
    pub(crate) fn from_call(
        object: &ObjectId,
        gvk: &Gvk,
        permission: &Permission,
        error: CallError,
    ) -> Self {
        let object = Box::new(object.clone());
        match error {
            CallError::Unreachable { why } => Self::Unreachable { object, why },
            CallError::TimedOut { after } => Self::TimedOut { object, after },
            CallError::NotUnderstood { why } => Self::Other {
                object,
                status: 0,
                reason: "NotUnderstood".to_owned(),
                message: why,
            },
            CallError::Refused(status) => Self::from_status(object, gvk, permission, &status),
        }
    }

    fn from_status(
        object: Box<ObjectId>,
        gvk: &Gvk,
        permission: &Permission,
        status: &Status,
    ) -> Self {
        let secret = is_secret(&object);
        let shown = |text: &str| {
            if secret {
                String::new()
            } else {
                presentable(text)
            }
        };
        if let Some((by, message)) = denial(&status.message) {
            let message = if secret {
                "see the policy".to_owned()
            } else {
                presentable(message)
            };
            return Self::Denied {
                object,
                by: presentable(&by),
                message,
            };
        }
        match status.code {
            401 => Self::Unauthorized { object },
            403 if status.has_cause("NamespaceTerminating") => {
                Self::NamespaceTerminating { object }
            }
            403 => forbidden(object, permission, status),
            404 if status.names() == Some(("namespaces", object.namespace.as_str())) => {
                Self::NamespaceMissing { object }
            }
            404 if status.names().is_some_and(|(_, name)| name == object.name) => {
                Self::Missing { object }
            }
            404 => Self::NotServed {
                object,
                gvk: gvk.clone(),
                instead: Vec::new(),
            },
            409 => Self::Conflict { object },
            413 => Self::TooLarge { object },
            429 => Self::Throttled {
                object,
                retry_after: status.retry_after().map(Duration::from_secs),
            },
            400 | 422 => invalid(object, status),
            500.. => match (untyped(status, secret), unreachable_webhook(status)) {
                (Some(causes), _) => Self::Invalid { object, causes },
                (None, Some(webhook)) => Self::WebhookDown { object, webhook },
                // The server gave up on the request itself: as after a deadline of ours, nobody knows.
                (None, None) if status.code == 504 => Self::TimedOut {
                    object,
                    after: crate::call::WRITE_DEADLINE,
                },
                (None, None) => other(object, status, shown(&status.message)),
            },
            _ => other(object, status, shown(&status.message)),
        }
    }
}

/// How the server begins when an object does not fit its schema at all: status 500 and no reason, though it is the
/// object's fault. Source: `k8s.io/apimachinery/pkg/util/managedfields/internal`.
const UNTYPED: [&str; 2] = [
    "failed to create typed patch object",
    "failed to convert new object",
];

/// The causes in such a text: `… Kind=X): .spec.foo: field not declared in schema`, or several of them, a line each.
pub(crate) fn untyped(status: &Status, secret: bool) -> Option<Vec<(String, String)>> {
    if !(status.reason.is_empty()
        && UNTYPED
            .iter()
            .any(|begin| status.message.starts_with(begin)))
    {
        return None;
    }
    let (_, said) = status.message.split_once("): ")?;
    let lines = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "errors:");
    let cause = |line: &str| match line
        .strip_prefix('.')
        .and_then(|line| line.split_once(": "))
    {
        Some((field, _)) if secret => (presentable(field), "it does not fit the schema".to_owned()),
        Some((field, message)) => (presentable(field), presentable(message)),
        None if secret => (String::new(), "it does not fit the schema".to_owned()),
        None => (String::new(), presentable(line)),
    };
    Some(lines.map(cause).collect())
}

fn is_secret(object: &ObjectId) -> bool {
    object.group.is_empty() && object.kind == "Secret"
}

fn other(object: Box<ObjectId>, status: &Status, message: String) -> WriteError {
    WriteError::Other {
        object,
        status: status.code,
        reason: presentable(&status.reason),
        message,
    }
}

/// Who denied, and what it said. Webhooks choose their own status and reason, so only the text tells.
/// Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/errors`, `.../plugin/policy/validating`.
fn denial(message: &str) -> Option<(String, &str)> {
    const WEBHOOK: &str = "admission webhook \"";
    if let Some(rest) = message.strip_prefix(WEBHOOK) {
        let (name, rest) = rest.split_once('"')?;
        let said = rest
            .trim_start_matches(" denied the request")
            .trim_start_matches(": ");
        let said = if said.trim().is_empty() {
            "it gave no reason"
        } else {
            said
        };
        return Some((format!("webhook {name}"), said));
    }
    let (before, rest) = message.split_once("ValidatingAdmissionPolicy '")?;
    if !(before.is_empty() || before.ends_with("is forbidden: ")) {
        return None;
    }
    let (name, rest) = rest.split_once('\'')?;
    let said = rest
        .split_once("denied request: ")
        .map_or(rest, |(_, said)| said);
    Some((format!("ValidatingAdmissionPolicy {name}"), said))
}

/// `Internal error occurred: failed calling webhook "NAME": …`, which comes with that cause.
fn unreachable_webhook(status: &Status) -> Option<String> {
    let texts = status.causes().iter().map(|cause| cause.message.as_str());
    texts.chain([status.message.as_str()]).find_map(|text| {
        let (_, rest) = text.split_once("failed calling webhook \"")?;
        Some(presentable(rest.split_once('"')?.0))
    })
}

/// A 403 is a missing permission, a quota, or an admission plugin.
/// Source: `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters` and `.../admission/errors.go`.
fn forbidden(object: Box<ObjectId>, permission: &Permission, status: &Status) -> WriteError {
    let said = status
        .message
        .split_once("is forbidden: ")
        .map_or("", |(_, said)| said);
    if said.starts_with("User \"") || said.is_empty() {
        return WriteError::Forbidden {
            object,
            permission: permission.clone(),
        };
    }
    if said.starts_with("exceeded quota") || said.starts_with("failed quota") {
        return WriteError::Quota {
            object,
            message: presentable(said),
        };
    }
    let by = if said.starts_with("violates PodSecurity") {
        "Pod Security"
    } else if said.starts_with("user \"") {
        "RBAC escalation check"
    } else {
        "an admission plugin"
    };
    let message = if is_secret(&object) {
        "see the policy".to_owned()
    } else {
        presentable(said)
    };
    WriteError::Denied {
        object,
        by: by.to_owned(),
        message,
    }
}

/// A 422, or a 400 about the body.
fn invalid(object: Box<ObjectId>, status: &Status) -> WriteError {
    let causes = status.causes();
    if !causes.is_empty() && causes.iter().all(says_immutable) {
        let mut fields: Vec<_> = causes
            .iter()
            .map(|cause| presentable(&cause.field))
            .collect();
        fields.dedup();
        return WriteError::Immutable { object, fields };
    }
    let secret = is_secret(&object);
    let causes = if causes.is_empty() {
        let text = if secret {
            "the server's text is not shown".to_owned()
        } else {
            presentable(&status.message)
        };
        vec![(String::new(), text)]
    } else {
        causes
            .iter()
            .map(|cause| {
                let text = if secret {
                    &cause.reason
                } else {
                    &cause.message
                };
                (presentable(&cause.field), presentable(text))
            })
            .collect()
    };
    WriteError::Invalid { object, causes }
}

/// Does the cause say that the field can never change? There is no reason for it: these are the phrases of
/// `k8s.io/apimachinery/pkg/api/validation` (`field is immutable`), of `k8s.io/kubernetes/pkg/apis/*/validation`,
/// and the usual ones of CRD transition rules. One that is missed is shown as invalid, with its text.
fn says_immutable(cause: &Cause) -> bool {
    const PHRASES: [&str; 9] = [
        "immutable",
        "may not be changed",
        "may not change once set",
        "cannot change roleref",
        "updates to statefulset spec for fields other than",
        "updates to parameters are forbidden",
        "updates to provisioner are forbidden",
        "updates to reclaimpolicy are forbidden",
        "pod updates may not change fields other than",
    ];
    let of_a_change = ["FieldValueInvalid", "FieldValueForbidden"].contains(&cause.reason.as_str());
    let message = cause.message.to_ascii_lowercase();
    of_a_change && PHRASES.iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests;
