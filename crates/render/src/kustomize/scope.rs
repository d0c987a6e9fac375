//! Which kinds the reference's schema knows, and which of those have no namespace.
//!
//! Source: Kubernetes 1.21.2, which is what the reference has built in. Every other kind counts as namespaced.

use super::resource::Gvk;

/// `group/version`, and the kinds in it that have no namespace.
const CLUSTER_SCOPED: [(&str, &[&str]); 19] = [
    (
        "admissionregistration.k8s.io/v1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"]),
    (
        "apiextensions.k8s.io/v1beta1",
        &["CustomResourceDefinition"],
    ),
    ("apiregistration.k8s.io/v1", &["APIService"]),
    ("apiregistration.k8s.io/v1beta1", &["APIService"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"]),
    (
        "certificates.k8s.io/v1beta1",
        &["CertificateSigningRequest"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1beta1",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    ("networking.k8s.io/v1", &["IngressClass"]),
    ("networking.k8s.io/v1beta1", &["IngressClass"]),
    ("node.k8s.io/v1", &["RuntimeClass"]),
    ("node.k8s.io/v1beta1", &["RuntimeClass"]),
    ("policy/v1beta1", &["PodSecurityPolicy"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io/v1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
    ),
    (
        "storage.k8s.io/v1beta1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
    ),
    (
        "/v1",
        &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
    ),
];

/// Is it a kind that is known to have no namespace?
pub(crate) fn is_cluster_scoped(gvk: &Gvk) -> bool {
    // An entry without a version holds for v1 and v1beta1.
    CLUSTER_SCOPED.iter().any(|(api, kinds)| {
        // First what is no for nearly all: this is asked more often than anything else.
        if !kinds.contains(&gvk.kind.as_str()) {
            return false;
        }
        let (group, version) = api.split_once('/').unwrap_or((api, ""));
        gvk.group == group
            && (version == gvk.version
                || (version.is_empty() && matches!(gvk.version.as_str(), "v1" | "v1beta1")))
    })
}
