//! Which lists merge by which keys: the table built into the reference, or a schema that a kustomization brings.
//!
//! Source: the OpenAPI document of Kubernetes 1.21.2; everything newer has no entry and is replaced as a whole.

use lockstep_manifest::yaml::Node;

use super::resource::Gvk;

/// What is known about the type of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema<'s> {
    /// Nothing: lists are replaced.
    Unknown,
    /// A type of the built-in table.
    BuiltIn(Type),
    /// A schema of the kustomization's own document.
    Own(&'s Own, &'s Node),
}

/// The types on the way to a list that merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object(Kind),
    Metadata,
    WorkloadSpec,
    CronJobSpec,
    JobTemplate,
    PodTemplate,
    PodSpec,
    PodStatus,
    Container,
    EphemeralContainer,
    Volume,
    Ephemeral,
    ClaimTemplate,
    ServiceSpec,
    CsiNodeSpec,
    NodeSpec,
    NodeStatus,
    Conditions,
    /// Nothing in it merges.
    Leaf,
}

/// What stands at the top of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    PodTemplate,
    Workload,
    CronJob,
    Service,
    ServiceAccount,
    Webhooks,
    CsiNode,
    Node,
    ComponentStatus,
    OnlyConditions,
    Plain,
}

/// How a list is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListRule<'s> {
    /// The patch's list takes its place.
    Replace,
    /// Elements that agree on these keys are merged.
    Keys(Vec<&'s str>),
    /// The union of both.
    Set,
}

/// `group/version`: kinds that have a schema.
const KNOWN: &[(&str, &str, &[&str])] = &[
    (
        "admissionregistration.k8s.io",
        "v1 v1beta1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
    ),
    (
        "apiextensions.k8s.io",
        "v1 v1beta1",
        &["CustomResourceDefinition"],
    ),
    ("apiregistration.k8s.io", "v1 v1beta1", &["APIService"]),
    (
        "apps",
        "v1",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    (
        "autoscaling",
        "v1 v2beta1 v2beta2",
        &["HorizontalPodAutoscaler", "Scale"],
    ),
    ("batch", "v1", &["Job", "CronJob"]),
    ("batch", "v1beta1", &["CronJob"]),
    (
        "certificates.k8s.io",
        "v1 v1beta1",
        &["CertificateSigningRequest"],
    ),
    ("coordination.k8s.io", "v1 v1beta1", &["Lease"]),
    ("discovery.k8s.io", "v1 v1beta1", &["EndpointSlice"]),
    ("events.k8s.io", "v1 v1beta1", &["Event"]),
    ("extensions", "v1beta1", &["Ingress"]),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1beta1",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    (
        "networking.k8s.io",
        "v1",
        &["Ingress", "IngressClass", "NetworkPolicy"],
    ),
    ("networking.k8s.io", "v1beta1", &["Ingress", "IngressClass"]),
    ("node.k8s.io", "v1 v1beta1", &["RuntimeClass"]),
    ("policy", "v1", &["PodDisruptionBudget"]),
    (
        "policy",
        "v1beta1",
        &["PodDisruptionBudget", "PodSecurityPolicy", "Eviction"],
    ),
    (
        "rbac.authorization.k8s.io",
        "v1 v1beta1",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    ("scheduling.k8s.io", "v1 v1beta1", &["PriorityClass"]),
    (
        "storage.k8s.io",
        "v1 v1beta1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
    ),
    ("storage.k8s.io", "v1beta1", &["CSIStorageCapacity"]),
    (
        "",
        "v1",
        &[
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "Binding",
        ],
    ),
];

fn built_in(gvk: &Gvk) -> Option<Type> {
    let known = KNOWN.iter().any(|(group, versions, kinds)| {
        gvk.group == *group
            && versions.split(' ').any(|version| version == gvk.version)
            && kinds.contains(&gvk.kind.as_str())
    });
    if !known {
        return None;
    }
    Some(Type::Object(match gvk.kind.as_str() {
        "Pod" => Kind::Pod,
        "PodTemplate" => Kind::PodTemplate,
        "Deployment"
        | "ReplicaSet"
        | "DaemonSet"
        | "StatefulSet"
        | "ReplicationController"
        | "Job" => Kind::Workload,
        "CronJob" => Kind::CronJob,
        "Service" => Kind::Service,
        "ServiceAccount" => Kind::ServiceAccount,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => Kind::Webhooks,
        "CSINode" => Kind::CsiNode,
        "Node" => Kind::Node,
        "ComponentStatus" => Kind::ComponentStatus,
        "Namespace" | "PersistentVolumeClaim" | "PodDisruptionBudget" | "APIService" => {
            Kind::OnlyConditions
        }
        _ => Kind::Plain,
    }))
}

impl Type {
    /// The type of a field, and how it is merged when it is a list (its type is then that of an element).
    #[expect(clippy::match_same_arms, reason = "a table, one type after the other")]
    fn field(self, name: &str) -> (Self, ListRule<'static>) {
        let plain = |of: Self| (of, ListRule::Replace);
        let by = |of: Self, keys: &[&'static str]| (of, ListRule::Keys(keys.to_vec()));
        match (self, name) {
            (
                Self::Object(_) | Self::PodTemplate | Self::JobTemplate | Self::ClaimTemplate,
                "metadata",
            ) => plain(Self::Metadata),
            (Self::Object(kind), name) => kind.field(name),
            (Self::Metadata, "finalizers") | (Self::NodeSpec, "podCIDRs") => {
                (Self::Leaf, ListRule::Set)
            }
            (Self::Metadata, "ownerReferences") => by(Self::Leaf, &["uid"]),
            (Self::WorkloadSpec, "template") => plain(Self::PodTemplate),
            (Self::CronJobSpec, "jobTemplate") => plain(Self::JobTemplate),
            (Self::JobTemplate, "spec") => plain(Self::WorkloadSpec),
            (Self::PodTemplate, "spec") => plain(Self::PodSpec),
            (Self::PodSpec, "containers" | "initContainers") => by(Self::Container, &["name"]),
            (Self::PodSpec, "ephemeralContainers") => by(Self::EphemeralContainer, &["name"]),
            (Self::PodSpec, "imagePullSecrets") => by(Self::Leaf, &["name"]),
            (Self::PodSpec, "volumes") => by(Self::Volume, &["name"]),
            (Self::PodSpec, "hostAliases") => by(Self::Leaf, &["ip"]),
            (Self::PodSpec, "topologySpreadConstraints") => {
                by(Self::Leaf, &["topologyKey", "whenUnsatisfiable"])
            }
            (Self::PodStatus | Self::Conditions | Self::NodeStatus, "conditions") => {
                by(Self::Leaf, &["type"])
            }
            (Self::PodStatus, "podIPs") => by(Self::Leaf, &["ip"]),
            (Self::Container | Self::EphemeralContainer, "env") => by(Self::Leaf, &["name"]),
            (Self::Container, "ports") => by(Self::Leaf, &["containerPort", "protocol"]),
            (Self::Container | Self::EphemeralContainer, "volumeDevices") => {
                by(Self::Leaf, &["devicePath"])
            }
            (Self::Container | Self::EphemeralContainer, "volumeMounts") => {
                by(Self::Leaf, &["mountPath"])
            }
            (Self::Volume, "ephemeral") => plain(Self::Ephemeral),
            (Self::Ephemeral, "volumeClaimTemplate") => plain(Self::ClaimTemplate),
            (Self::ServiceSpec, "ports") => by(Self::Leaf, &["port", "protocol"]),
            (Self::CsiNodeSpec, "drivers") => by(Self::Leaf, &["name"]),
            (Self::NodeStatus, "addresses") => by(Self::Leaf, &["type"]),
            _ => plain(Self::Leaf),
        }
    }
}

impl Kind {
    fn field(self, name: &str) -> (Type, ListRule<'static>) {
        let by = |keys: &[&'static str]| (Type::Leaf, ListRule::Keys(keys.to_vec()));
        let of = match (self, name) {
            (Self::Pod, "spec") => Type::PodSpec,
            (Self::Pod, "status") => Type::PodStatus,
            (Self::PodTemplate, "template") => Type::PodTemplate,
            (Self::Workload, "spec") => Type::WorkloadSpec,
            (Self::CronJob, "spec") => Type::CronJobSpec,
            (Self::Service, "spec") => Type::ServiceSpec,
            (Self::CsiNode, "spec") => Type::CsiNodeSpec,
            (Self::Node, "spec") => Type::NodeSpec,
            (Self::Node, "status") => Type::NodeStatus,
            (Self::Workload | Self::Service | Self::OnlyConditions, "status") => Type::Conditions,
            (Self::ServiceAccount, "secrets") | (Self::Webhooks, "webhooks") => {
                return by(&["name"]);
            }
            (Self::ComponentStatus, "conditions") => return by(&["type"]),
            _ => Type::Leaf,
        };
        (of, ListRule::Replace)
    }
}

/// A kustomization's own OpenAPI document. It takes the place of the built-in one.
#[derive(Debug)]
pub(crate) struct Own {
    definitions: Node,
}

impl Own {
    /// Takes the document; without definitions it knows nothing.
    pub(crate) fn new(document: &Node) -> Self {
        let definitions = document.get("definitions").cloned();
        Self {
            definitions: definitions.unwrap_or_else(|| Node::map(document.place.clone())),
        }
    }

    fn root(&self, gvk: &Gvk) -> Option<&Node> {
        let definitions = self.definitions.as_map().unwrap_or_default();
        definitions
            .iter()
            .map(|pair| &pair.value)
            .find(|definition| {
                let kinds = definition
                    .get("x-kubernetes-group-version-kind")
                    .and_then(Node::as_list);
                kinds.unwrap_or_default().iter().any(|kind| {
                    let part =
                        |name: &str| kind.get(name).and_then(Node::as_text).unwrap_or_default();
                    part("group") == gvk.group
                        && part("version") == gvk.version
                        && part("kind") == gvk.kind
                })
            })
    }

    /// The schema itself, references followed a few times: a type that names itself must not hang us.
    fn resolved<'s>(&'s self, mut schema: &'s Node) -> &'s Node {
        for _ in 0..16 {
            let name = schema.get("$ref").and_then(Node::as_text);
            let Some(name) = name.and_then(|name| name.strip_prefix("#/definitions/")) else {
                break;
            };
            match self.definitions.get(name) {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }
}

impl<'s> Schema<'s> {
    /// What is known about an object of this kind.
    pub(crate) fn root(own: Option<&'s Own>, gvk: &Gvk) -> Self {
        match own {
            Some(own) => own
                .root(gvk)
                .map_or(Self::Unknown, |schema| Self::Own(own, schema)),
            None => built_in(gvk).map_or(Self::Unknown, Self::BuiltIn),
        }
    }

    /// The type of a field, and how it is merged when it is a list (its type is then that of an element).
    pub(crate) fn field(self, name: &str) -> (Self, ListRule<'s>) {
        match self {
            Self::Unknown => (Self::Unknown, ListRule::Replace),
            Self::BuiltIn(of) => {
                let (of, rule) = of.field(name);
                (Self::BuiltIn(of), rule)
            }
            Self::Own(own, schema) => {
                let schema = own.resolved(schema);
                let field = schema
                    .at(&["properties", name])
                    .or_else(|| schema.get("additionalProperties"));
                let Some(field) = field else {
                    return (Self::Unknown, ListRule::Replace);
                };
                let whole = own.resolved(field);
                let mark = |name: &str| field.get(name).or_else(|| whole.get(name));
                let Some(items) = whole.get("items") else {
                    return (Self::Own(own, field), ListRule::Replace);
                };
                let strategy = mark("x-kubernetes-patch-strategy")
                    .and_then(Node::as_text)
                    .unwrap_or_default();
                let keys = mark("x-kubernetes-list-map-keys")
                    .and_then(Node::as_list)
                    .unwrap_or_default();
                let mut keys: Vec<&str> = keys.iter().filter_map(Node::as_text).collect();
                if keys.is_empty() {
                    keys.extend(mark("x-kubernetes-patch-merge-key").and_then(Node::as_text));
                }
                let rule = match (
                    strategy.split(',').any(|word| word == "merge"),
                    keys.is_empty(),
                ) {
                    (true, false) => ListRule::Keys(keys),
                    (true, true) => ListRule::Set,
                    (false, _) => ListRule::Replace,
                };
                (Self::Own(own, items), rule)
            }
        }
    }
}
