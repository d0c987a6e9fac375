//! Apps and manifests with the shortest words.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_app::app::{App, AppKey, Destination, OnDelete, Retry, SyncOptions};
use lockstep_app::policy::{
    DecidedBy, DeletionPolicy, DriftPolicy, NewCommitPolicy, Policy, PruneBudget,
};
use lockstep_manifest::{Manifest, ObjectId, Uid, marks};
use lockstep_reconcile::Order;
use serde_json::{Value, json};

pub(crate) fn key(name: &str) -> AppKey {
    AppKey {
        namespace: "argocd".to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn id(text: &str) -> ObjectId {
    text.parse().expect("the test names an object")
}

/// An app that does everything by itself.
pub(crate) fn app(name: &str) -> App {
    App {
        key: key(name),
        uid: Uid(format!("app-{name}")),
        generation: 1,
        name: name.to_owned(),
        environment: "dev".to_owned(),
        project: "default".to_owned(),
        sources: Vec::new(),
        namespace: "shop".to_owned(),
        destination: Destination::default(),
        policy: Policy {
            new_commit: NewCommitPolicy::Apply,
            new_commit_by: DecidedBy::Both,
            drift: DriftPolicy::Heal,
            drift_by: DecidedBy::Both,
            deletion: DeletionPolicy::Prune,
            deletion_by: DecidedBy::Both,
            prune_budget: PruneBudget::default(),
            allow_empty: false,
        },
        create_namespace: false,
        namespace_labels: BTreeMap::new(),
        namespace_annotations: BTreeMap::new(),
        options: SyncOptions::default(),
        ignore: Vec::new(),
        retry: Retry::default(),
        retry_by_hand: Retry::never(),
        sync_timeout: Duration::from_mins(10),
        history_limit: 10,
        on_delete: OnDelete::Orphan,
        leaving: false,
        leaving_since: None,
        deletion_approved: None,
        finalizers: Vec::new(),
        refresh: None,
        skip: false,
        requested: None,
        not_acted_on: Vec::new(),
        source_digest: "spec".to_owned(),
    }
}

/// The same app as it is while it is deleted with its objects.
pub(crate) fn leaving(app: App) -> App {
    App {
        leaving: true,
        on_delete: OnDelete::Cascade(lockstep_manifest::write::Propagation::Foreground),
        finalizers: vec!["resources-finalizer.argocd.argoproj.io".to_owned()],
        ..app
    }
}

/// A sync that a person asks for, with the digest of the plan that was seen.
pub(crate) fn sync(plan: Option<&str>) -> Order {
    Order {
        plan: plan.map(str::to_owned),
        ..Order::by("ana")
    }
}

pub(crate) fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Manifest {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let mut value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = json!(namespace);
    }
    for (key, part) in rest.as_object().expect("a map") {
        value[key] = part.clone();
    }
    Manifest::from_value(value).expect("it is an object")
}

pub(crate) fn config_map(name: &str, value: &str) -> Manifest {
    object("v1", "ConfigMap", name, json!({"data": {"a": value}}))
}

pub(crate) fn deployment(name: &str, image: &str) -> Manifest {
    object(
        "apps/v1",
        "Deployment",
        name,
        json!({"spec": {"replicas": 1, "image": image}}),
    )
}

pub(crate) fn namespace(name: &str) -> Manifest {
    object(
        "v1",
        "Namespace",
        name,
        json!({"spec": {"finalizers": ["kubernetes"]}}),
    )
}

pub(crate) fn crd(kind: &str) -> Manifest {
    let name = format!("{}s.example.org", kind.to_lowercase());
    let spec = json!({"group": "example.org", "scope": "Namespaced", "names": {"kind": kind}});
    object(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &name,
        json!({"spec": spec}),
    )
}

pub(crate) fn widget(name: &str) -> Manifest {
    object(
        "example.org/v1",
        "Widget",
        name,
        json!({"spec": {"size": 1}}),
    )
}

pub(crate) fn wave(mut object: Manifest, wave: i32) -> Manifest {
    object.set_annotation(marks::WAVE, &wave.to_string());
    object
}

/// A Job that ends soon, as a hook of these phases.
pub(crate) fn hook(name: &str, phases: &str, delete: &str) -> Manifest {
    as_hook(
        object("batch/v1", "Job", name, json!({"spec": {}})),
        phases,
        delete,
    )
}

/// The same object as a hook.
pub(crate) fn as_hook(mut object: Manifest, phases: &str, delete: &str) -> Manifest {
    object.set_annotation(marks::HOOK, phases);
    object.set_annotation(marks::HOOK_DELETE, delete);
    object
}
