//! The field specifications that are built into the reference.

use std::sync::LazyLock;

use super::fieldspec::FieldSpec;
use super::resource::Gvk;

/// What may be named, and the fields that name it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameReference {
    pub(crate) target: Gvk,
    pub(crate) referrers: Vec<FieldSpec>,
}

const REFERENCES: &str = include_str!("references.txt");
const VARIABLES: &str = include_str!("variables.txt");

/// `KIND[@VERSION][.GROUP]`, `*` for any kind.
fn gvk(text: &str) -> Gvk {
    let (kind, group) = text.split_once('.').unwrap_or((text, ""));
    let (kind, version) = kind.split_once('@').unwrap_or((kind, ""));
    Gvk::new(group, version, if kind == "*" { "" } else { kind })
}

fn table(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn fields(line: &str, create: bool) -> impl Iterator<Item = FieldSpec> {
    let mut words = line.split(' ');
    let path = words.next().unwrap_or_default();
    words.map(move |kind| {
        let gvk = gvk(kind);
        FieldSpec::new(&gvk.group, &gvk.version, &gvk.kind, path, create)
    })
}

pub(crate) static NAME_REFERENCES: LazyLock<Vec<NameReference>> = LazyLock::new(|| {
    let mut all: Vec<NameReference> = Vec::new();
    for line in table(REFERENCES) {
        if let Some(target) = line.strip_prefix("> ") {
            let mut words = target.split(' ');
            let kind = words.next().unwrap_or_default();
            let mut gvk = Gvk::new("", "", kind);
            for word in words {
                match word.split_once('=') {
                    Some(("version", version)) => version.clone_into(&mut gvk.version),
                    Some((_, group)) => group.clone_into(&mut gvk.group),
                    None => {}
                }
            }
            all.push(NameReference {
                target: gvk,
                referrers: Vec::new(),
            });
        } else if let Some(last) = all.last_mut() {
            last.referrers.extend(fields(line, false));
        }
    }
    all
});

pub(crate) static VARIABLE_FIELDS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    table(VARIABLES)
        .flat_map(|line| fields(line, false))
        .collect()
});

fn specs(lines: &[&str], create: bool) -> Vec<FieldSpec> {
    lines.iter().flat_map(|line| fields(line, create)).collect()
}

pub(crate) static NAMES: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| specs(&["metadata/name *"], false));

pub(crate) static NAMESPACES: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let mut all = specs(
        &[
            "metadata/name Namespace@v1",
            "spec/service/namespace APIService.apiregistration.k8s.io",
        ],
        true,
    );
    let webhook = "spec/conversion/webhook/clientConfig/service/namespace CustomResourceDefinition.apiextensions.k8s.io";
    all.extend(specs(&[webhook], false));
    all
});

pub(crate) static IMAGES: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let lines = [
        "spec/containers[]/image *",
        "spec/initContainers[]/image *",
        "spec/template/spec/containers[]/image *",
        "spec/template/spec/initContainers[]/image *",
    ];
    specs(&lines, true)
});

pub(crate) static REPLICAS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    specs(
        &["spec/replicas Deployment ReplicationController ReplicaSet StatefulSet"],
        true,
    )
});

const TEMPLATES: [&str; 2] = [
    "spec/template/metadata/{} ReplicationController@v1 Deployment ReplicaSet DaemonSet StatefulSet.apps Job.batch",
    "spec/jobTemplate/metadata/{} CronJob.batch",
];
const INNER_TEMPLATE: &str = "spec/jobTemplate/spec/template/metadata/{} CronJob.batch";

pub(crate) static ANNOTATIONS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let lines = [
        "metadata/annotations *",
        "spec/template/metadata/annotations ReplicationController@v1 Deployment ReplicaSet DaemonSet StatefulSet Job.batch",
        "spec/jobTemplate/metadata/annotations CronJob.batch",
        "spec/jobTemplate/spec/template/metadata/annotations CronJob.batch",
    ];
    specs(&lines, true)
});

/// Labels of templates, without `metadata/labels` itself.
pub(crate) static TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let mut lines: Vec<String> = TEMPLATES
        .iter()
        .map(|line| line.replace("{}", "labels"))
        .collect();
    lines.push(INNER_TEMPLATE.replace("{}", "labels"));
    lines.push("spec/volumeClaimTemplates[]/metadata/labels StatefulSet.apps".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    specs(&lines, true)
});

/// `metadata/labels` alone.
pub(crate) static LABELS: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| specs(&["metadata/labels *"], true));

/// Everything that `commonLabels` and `includeSelectors` reach.
pub(crate) static COMMON_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let mut all = LABELS.clone();
    all.extend(TEMPLATE_LABELS.iter().cloned());
    all.extend(specs(
        &[
            "spec/selector Service@v1 ReplicationController@v1",
            "spec/selector/matchLabels Deployment ReplicaSet DaemonSet StatefulSet.apps",
        ],
        true,
    ));
    let mut lines = vec![
        "spec/selector/matchLabels Job.batch PodDisruptionBudget.policy".to_owned(),
        "spec/jobTemplate/spec/selector/matchLabels CronJob.batch".to_owned(),
        "spec/podSelector/matchLabels NetworkPolicy.networking.k8s.io".to_owned(),
        "spec/ingress/from/podSelector/matchLabels NetworkPolicy.networking.k8s.io".to_owned(),
        "spec/egress/to/podSelector/matchLabels NetworkPolicy.networking.k8s.io".to_owned(),
    ];
    for affinity in ["podAffinity", "podAntiAffinity"] {
        for term in [
            "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ] {
            lines.push(format!(
                "spec/template/spec/affinity/{affinity}/{term}/labelSelector/matchLabels Deployment.apps StatefulSet.apps"
            ));
        }
    }
    lines.push(
        "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels Deployment.apps StatefulSet.apps".to_owned(),
    );
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    all.extend(specs(&lines, false));
    all
});
