//! One situation: git, cluster, inventory and facts, with the shortest words for changing each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lockstep_app::app::{App, AppKey, Destination, OnDelete, Retry, Revision, SyncOptions};
use lockstep_app::policy::{
    DecidedBy, DeletionPolicy, DriftPolicy, NewCommitPolicy, Policy, PruneBudget,
};
use lockstep_app::project::Scope;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::{Digest, GroupKind, Gvk, Health, Manifest, ObjectId, Uid, marks};
use lockstep_plan::{
    Barred, Desired, DriftClock, Elsewhere, Entry, Facts, Failure, Inventory, KindView, Mode,
    Observed, Plan, Run, Seen, Step, plan, prepare,
};
use serde_json::{Value, json};

/// Midnight: every test's now.
pub(crate) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// That many seconds after now.
pub(crate) fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

pub(crate) fn id(text: &str) -> ObjectId {
    text.parse().expect("the test names an object")
}

pub(crate) fn revision() -> Revision {
    Revision::from_str(&"a".repeat(40)).expect("40 hex digits")
}

/// `apps/v1 Deployment shop/web` with this body.
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

pub(crate) fn config_map(name: &str) -> Manifest {
    object("v1", "ConfigMap", name, json!({"data": {"a": "1"}}))
}

pub(crate) fn deployment(name: &str) -> Manifest {
    object(
        "apps/v1",
        "Deployment",
        name,
        json!({"spec": {"replicas": 1}}),
    )
}

pub(crate) fn namespace(name: &str) -> Manifest {
    object("v1", "Namespace", name, json!({}))
}

pub(crate) fn crd(group: &str, kind: &str, scope: &str) -> Manifest {
    let name = format!("{}s.{group}", kind.to_lowercase());
    let spec = json!({"group": group, "scope": scope, "names": {"kind": kind}});
    object(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &name,
        json!({"spec": spec}),
    )
}

/// The same object with this annotation.
pub(crate) fn with(mut object: Manifest, annotation: &str, value: &str) -> Manifest {
    object.set_annotation(annotation, value);
    object
}

/// The same object in this wave.
pub(crate) fn wave(object: Manifest, wave: i32) -> Manifest {
    with(object, marks::WAVE, &wave.to_string())
}

/// An app that does everything by itself.
pub(crate) fn app() -> App {
    App {
        key: AppKey {
            namespace: "argocd".to_owned(),
            name: "shop".to_owned(),
        },
        uid: Uid("app-1".to_owned()),
        generation: 1,
        name: "shop".to_owned(),
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

/// One situation. It begins with nothing in git, nothing in the cluster, and every kind observed.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) app: App,
    pub(crate) mode: Mode,
    pub(crate) git: Vec<Manifest>,
    pub(crate) observed: Observed,
    pub(crate) inventory: Inventory,
    pub(crate) kinds: BTreeMap<GroupKind, KindView>,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) others_looking: bool,
    pub(crate) failures: BTreeMap<ObjectId, Failure>,
    pub(crate) touched: BTreeSet<ObjectId>,
    pub(crate) drift: BTreeMap<ObjectId, DriftClock>,
    pub(crate) approved: BTreeSet<ObjectId>,
    pub(crate) run: Option<Run>,
    pub(crate) barred: Option<Barred>,
    pub(crate) now: Timestamp,
}

/// A failing law prints this.
impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let git: Vec<String> = self
            .git
            .iter()
            .map(|object| format!("{} wave {}", object.id(), marks::wave(object)))
            .collect();
        let inventory: Vec<String> = self
            .inventory
            .entries
            .keys()
            .map(ToString::to_string)
            .collect();
        let live: Vec<String> = self
            .observed
            .objects
            .keys()
            .map(ToString::to_string)
            .collect();
        f.debug_struct("Case")
            .field("mode", &self.mode)
            .field("git", &git)
            .field("inventory", &inventory)
            .field("live", &live)
            .field("kinds", &self.kinds)
            .field("told", &self.told())
            .finish_non_exhaustive()
    }
}

impl Case {
    pub(crate) fn new(git: Vec<Manifest>) -> Self {
        let mut observed = Observed::default();
        observed.namespaces.insert("shop".to_owned());
        Self {
            app: app(),
            mode: Mode::Sync,
            git,
            observed,
            inventory: Inventory::default(),
            kinds: BTreeMap::new(),
            elsewhere: Elsewhere::default(),
            others_looking: false,
            failures: BTreeMap::new(),
            touched: BTreeSet::new(),
            drift: BTreeMap::new(),
            approved: BTreeSet::new(),
            run: None,
            barred: None,
            now: NOW,
        }
    }

    /// Git, applied: everything in it stands in the cluster as the server answered it, healthy.
    pub(crate) fn synced(git: Vec<Manifest>) -> Self {
        let mut case = Self::new(git);
        for wanted in case.desired().objects {
            case.took(&wanted);
        }
        case
    }

    pub(crate) fn desired(&self) -> Desired {
        prepare(&self.app, revision(), self.git.clone(), &|_: &Gvk| None)
    }

    pub(crate) fn plan(&self) -> Plan {
        let desired = self.desired();
        let kinds = |kind: &GroupKind| self.kinds.get(kind).cloned().unwrap_or(KindView::Observed);
        let facts = Facts {
            kinds: &kinds,
            elsewhere: &self.elsewhere,
            others_looking: &|| self.others_looking,
            failures: &self.failures,
            touched: &self.touched,
            drift: &self.drift,
            namespace_is_as_wanted: true,
            asked_since: Some(NOW),
            approved: &self.approved,
            run: self.run.as_ref(),
            barred: self.barred,
            now: self.now,
        };
        plan(
            &self.app,
            self.mode,
            Some(&desired),
            &self.observed,
            &self.inventory,
            &facts,
        )
    }

    /// The plan, a line for everything that it considers.
    pub(crate) fn told(&self) -> Vec<String> {
        let plan = self.plan();
        let front = plan.front.iter().map(Step::to_string);
        let waiting = plan
            .waiting
            .iter()
            .map(|(step, waiting)| format!("{step}; {waiting}"));
        let left = plan
            .unstepped
            .iter()
            .map(|(id, why)| format!(". {id}: {why}"));
        front.chain(waiting).chain(left).collect()
    }

    /// The server took this object.
    pub(crate) fn took(&mut self, wanted: &lockstep_plan::Wanted) {
        let answered = Digest::of(wanted.digest.0.as_bytes());
        let entry = Entry {
            uid: Some(uid_of(&wanted.id)),
            version: wanted.gvk.version.clone(),
            digest: Some(wanted.digest.clone()),
            seen: Some(answered.clone()),
            wave: wanted.wave,
            prune: marks::prune(&wanted.manifest),
            delete: marks::delete(&wanted.manifest),
            prune_last: marks::option(&wanted.manifest, "PruneLast") == Some("true"),
            ..Entry::default()
        };
        self.inventory.entries.insert(wanted.id.clone(), entry);
        self.observed
            .objects
            .insert(wanted.id.clone(), seen(&wanted.id, answered));
        if wanted.id.kind == "Namespace" {
            self.observed.namespaces.insert(wanted.id.name.clone());
        }
    }

    pub(crate) fn seen(&mut self, name: &str) -> &mut Seen {
        self.observed
            .objects
            .get_mut(&id(name))
            .expect("it is in the cluster")
    }

    pub(crate) fn entry(&mut self, name: &str) -> &mut Entry {
        self.inventory
            .entries
            .get_mut(&id(name))
            .expect("it is in the inventory")
    }

    /// Somebody changed a field of ours on it.
    pub(crate) fn edited(&mut self, name: &str) {
        self.seen(name).fingerprint = Some(Digest::of(b"edited"));
    }

    /// Somebody deleted it.
    pub(crate) fn deleted(&mut self, name: &str) {
        self.observed
            .objects
            .remove(&id(name))
            .expect("it is in the cluster");
    }

    /// The last try at it failed, and a person or the clock has to move.
    pub(crate) fn failed(&mut self, name: &str, retry_at: Option<Timestamp>) {
        let wanted = self
            .desired()
            .get(&id(name))
            .map(|wanted| wanted.digest.clone());
        let blame = if retry_at.is_some() {
            Blame::Environment
        } else {
            Blame::User
        };
        let fault = Fault::new(blame, "apply.invalid", "the server refused it");
        self.failures.insert(
            id(name),
            Failure {
                digest: wanted,
                fault,
                retry_at,
                times: 1,
                refusals: 1,
            },
        );
    }

    pub(crate) fn kind(&mut self, group: &str, kind: &str, view: KindView) {
        self.kinds.insert(GroupKind::new(group, kind), view);
    }
}

pub(crate) fn uid_of(id: &ObjectId) -> Uid {
    Uid(format!("uid of {id}"))
}

pub(crate) fn seen(id: &ObjectId, fingerprint: Digest) -> Seen {
    Seen {
        uid: uid_of(id),
        resource_version: 1,
        fingerprint: Some(fingerprint),
        health: Health::Healthy,
        fact: None,
        terminating: false,
        going: None,
        protected: false,
        owns_replicas: false,
        others: None,
        part_of: Some(marks::set_id("argocd", "shop")),
        hook: None,
    }
}

pub(crate) fn unseen() -> KindView {
    KindView::Unobserved(Fault::new(
        Blame::Environment,
        "unknown.cluster",
        "the watch broke",
    ))
}

pub(crate) fn scope_of(case: &Case, name: &str) -> Scope {
    case.desired().get(&id(name)).expect("git wants it").scope
}
