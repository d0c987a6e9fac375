//! What the built-in kinds are: their scope, their place in the order of a sync, and which of them are precious.

use crate::id::GroupKind;
use crate::object::Manifest;

/// The order in which Argo CD applies kinds inside one wave. Whatever is not listed comes after all of these.
const ORDER: [&str; 35] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// Built-in kinds without a namespace, by group.
const CLUSTER_SCOPED: [(&str, &[&str]); 13] = [
    (
        "",
        &["Namespace", "Node", "PersistentVolume", "ComponentStatus"],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    (
        "authentication.k8s.io",
        &["SelfSubjectReview", "TokenReview"],
    ),
    (
        "authorization.k8s.io",
        &[
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    (
        "certificates.k8s.io",
        &["CertificateSigningRequest", "ClusterTrustBundle"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    (
        "networking.k8s.io",
        &["IngressClass", "IPAddress", "ServiceCIDR"],
    ),
    ("node.k8s.io", &["RuntimeClass"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io",
        &[
            "CSIDriver",
            "CSINode",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
];

/// Built-in kinds with a namespace, by group.
const NAMESPACED: [(&str, &[&str]); 12] = [
    (
        "",
        &[
            "Binding",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    (
        "apps",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    ("authorization.k8s.io", &["LocalSubjectAccessReview"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    ("certificates.k8s.io", &["PodCertificateRequest"]),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("events.k8s.io", &["Event"]),
    ("networking.k8s.io", &["Ingress", "NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding"]),
];

/// Does the kind live outside of namespaces? None: it is not built in, so only discovery knows.
pub fn is_cluster_scoped(gk: &GroupKind) -> Option<bool> {
    let listed = |table: &[(&str, &[&str])]| {
        table
            .iter()
            .any(|(group, kinds)| *group == gk.group && kinds.contains(&gk.kind.as_str()))
    };
    if listed(&CLUSTER_SCOPED) {
        Some(true)
    } else if listed(&NAMESPACED) {
        Some(false)
    } else {
        None
    }
}

/// The kind's place in Argo CD's order of a sync; the group is no part of it, as in Argo CD.
pub fn rank(kind: &str) -> u16 {
    let at = ORDER
        .iter()
        .position(|known| *known == kind)
        .unwrap_or(ORDER.len());
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// Does it run containers, itself or through what it owns?
pub fn is_workload(gk: &GroupKind) -> bool {
    match gk.group.as_str() {
        "" => matches!(gk.kind.as_str(), "Pod" | "ReplicationController"),
        "apps" => {
            matches!(
                gk.kind.as_str(),
                "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"
            )
        }
        "batch" => matches!(gk.kind.as_str(), "Job" | "CronJob"),
        _ => false,
    }
}

/// Does deleting one lose what cannot be made again from git? Then it takes a person's approval (F-41).
pub fn is_protected(gk: &GroupKind) -> bool {
    match gk.group.as_str() {
        "" => {
            matches!(
                gk.kind.as_str(),
                "Namespace" | "PersistentVolumeClaim" | "PersistentVolume"
            )
        }
        "apiextensions.k8s.io" => gk.kind == "CustomResourceDefinition",
        "apps" => gk.kind == "StatefulSet",
        _ => false,
    }
}

/// Is one of these never deleted to be made again, even on request? What is in them, or of their kind, goes with them.
pub fn is_never_recreated(gk: &GroupKind) -> bool {
    is_protected(gk) && gk.kind != "StatefulSet"
}

/// [`is_protected`], and what only the object shows: a Secret of type TLS, the annotation `lockstep.dev/protect`.
pub fn is_protected_object(live: &Manifest) -> bool {
    let gk = live.gvk().group_kind();
    is_protected(&gk)
        || (is_secret(&gk) && live.text(&["type"]) == "kubernetes.io/tls")
        || live.annotation(crate::marks::PROTECT) == Some("true")
}

/// Is it the core group's Secret, whose values must not be shown?
pub fn is_secret(gk: &GroupKind) -> bool {
    gk.is("", "Secret")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_applied_in_argo_cds_order_and_unknown_ones_last() {
        let mut kinds = [
            "Gateway",
            "Deployment",
            "Service",
            "Namespace",
            "APIService",
            "ConfigMap",
        ];
        kinds.sort_by_key(|kind| rank(kind));
        assert_eq!(
            kinds,
            [
                "Namespace",
                "ConfigMap",
                "Service",
                "Deployment",
                "APIService",
                "Gateway"
            ]
        );
    }

    #[test]
    fn scope_is_known_for_built_in_kinds_and_for_no_others() {
        let scope = |group, kind| is_cluster_scoped(&GroupKind::new(group, kind));
        assert_eq!(scope("", "Namespace"), Some(true));
        assert_eq!(scope("networking.k8s.io", "IngressClass"), Some(true));
        assert_eq!(scope("networking.k8s.io", "Ingress"), Some(false));
        assert_eq!(scope("serving.knative.dev", "Service"), None);
        assert_eq!(scope("apps", "Namespace"), None);
    }

    #[test]
    fn no_kind_is_both_namespaced_and_cluster_scoped() {
        for (group, kinds) in NAMESPACED {
            for kind in kinds {
                assert_eq!(
                    is_cluster_scoped(&GroupKind::new(group, *kind)),
                    Some(false),
                    "{kind}"
                );
            }
        }
    }

    #[test]
    fn what_git_cannot_bring_back_is_protected() {
        for (group, kind) in [
            ("", "Namespace"),
            ("", "PersistentVolumeClaim"),
            ("", "PersistentVolume"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("apps", "StatefulSet"),
        ] {
            assert!(is_protected(&GroupKind::new(group, kind)), "{kind}");
        }
        assert!(!is_protected(&GroupKind::new("apps", "Deployment")));
        assert!(!is_protected(&GroupKind::new("example.org", "Namespace")));
    }

    #[test]
    fn a_tls_secret_and_an_annotated_object_are_protected() {
        let object = |value| Manifest::from_value(value).expect("an object");
        let secret = |kind: &str| {
            object(
                json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": "a"}}),
            )
        };
        assert!(is_protected_object(&secret("kubernetes.io/tls")));
        assert!(!is_protected_object(&secret("Opaque")));
        assert!(is_protected_object(&object(
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "annotations": {"lockstep.dev/protect": "true"}}})
        )));
    }

    #[test]
    fn a_secret_of_another_group_is_not_a_secret() {
        assert!(is_secret(&GroupKind::new("", "Secret")));
        assert!(!is_secret(&GroupKind::new("example.org", "Secret")));
    }

    #[test]
    fn workloads_are_what_runs_containers() {
        assert!(is_workload(&GroupKind::new("apps", "DaemonSet")));
        assert!(is_workload(&GroupKind::new("", "Pod")));
        assert!(!is_workload(&GroupKind::new("", "Service")));
    }
}
