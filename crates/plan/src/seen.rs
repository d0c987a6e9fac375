//! What the cluster was seen to hold, and what we may have touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::Fault;
use lockstep_manifest::fields::others::{self, Others};
use lockstep_manifest::fields::{REPLICAS, takeover};
use lockstep_manifest::marks::{self, Deletable};
use lockstep_manifest::{Digest, Health, Manifest, ObjectId, Uid, fields};
use serde_json::Value;

/// One live object, as far as deciding needs it: some two hundred bytes, whatever the object's size.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its uid.
    pub uid: Uid,
    /// Its version: greater is newer (Kubernetes compares them as numbers since 1.35).
    pub resource_version: u64,
    /// What we own and what it holds; none when we own nothing.
    pub fingerprint: Option<Digest>,
    /// How it is doing.
    pub health: Health,
    /// One fact for people: "2 of 3 ready".
    pub fact: Option<String>,
    /// Is it being deleted?
    pub terminating: bool,
    /// Since when, and what keeps it; only when it is.
    pub going: Option<Box<Going>>,
    /// Would deleting it lose what git cannot bring back, or has somebody said so?
    pub protected: bool,
    /// The set it is marked as part of.
    pub part_of: Option<String>,
    /// What it says as a hook of ours.
    pub hook: Option<Box<HookSeen>>,
    /// Do we own `spec.replicas`? Then to leave it out would set it back to one.
    pub owns_replicas: bool,
    /// What others wrote to it beside us.
    pub others: Option<Arc<Others>>,
}

/// What an object says that is being deleted and is still there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Going {
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who has to let go of it.
    pub finalizers: Vec<String>,
}

impl Going {
    fn of(live: &Manifest) -> Option<Box<Self>> {
        let finalizers = live
            .get(&["metadata", "finalizers"])
            .and_then(Value::as_array);
        let texts = finalizers.into_iter().flatten().filter_map(Value::as_str);
        live.is_terminating().then(|| {
            Box::new(Self {
                since: live.text(&["metadata", "deletionTimestamp"]).parse().ok(),
                finalizers: texts.map(str::to_owned).collect(),
            })
        })
    }
}

/// What a live hook of ours says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSeen {
    /// The run and phase that it was made for ([`marks::RUNS_IN`]).
    pub runs_in: String,
    /// Our finalizer keeps it.
    pub kept: bool,
}

impl Seen {
    /// Boils a live object down. What stands under the `ignored` JSON pointers does not count as ours.
    pub fn of(live: &Manifest, ignored: &[String]) -> Option<Self> {
        Some(Self {
            uid: live.uid()?,
            resource_version: live.resource_version()?.parse().unwrap_or(0),
            fingerprint: fields::fingerprint(live, ignored),
            health: lockstep_manifest::health::health(live),
            fact: lockstep_manifest::health::fact(live),
            terminating: live.is_terminating(),
            going: Going::of(live),
            protected: lockstep_manifest::kinds::is_protected_object(live),
            part_of: live.label(marks::PART_OF).map(str::to_owned),
            hook: live.annotation(marks::RUNS_IN).map(|runs_in| {
                let kept = is_kept_as_hook(live);
                let runs_in = runs_in.to_owned();
                Box::new(HookSeen { runs_in, kept })
            }),
            owns_replicas: takeover::is_ours_apart(live, REPLICAS),
            others: others::others(live).map(Arc::new),
        })
    }
}

/// Does the finalizer of hooks stand on it?
pub fn is_kept_as_hook(live: &Manifest) -> bool {
    let finalizers = live
        .get(&["metadata", "finalizers"])
        .and_then(Value::as_array);
    finalizers.is_some_and(|all| all.iter().any(|one| one == marks::HOOK_FINALIZER))
}

/// Can objects of a kind be seen at all?
#[derive(Clone, Debug, PartialEq)]
pub enum KindView {
    /// Everything there is has been seen, and changes arrive.
    Observed,
    /// Not (any more, or yet); nothing of it may be deleted.
    Unobserved(Fault),
    /// The API server does not serve it.
    NotServed,
}

/// What was seen: objects of this app, and how far each kind can be seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The live objects that carry our mark, or that we just wrote.
    pub objects: BTreeMap<ObjectId, Seen>,
    /// The namespaces that exist and are not terminating.
    pub namespaces: BTreeSet<String>,
}

/// One line of the inventory: an object that we may have touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Its uid, once a server has told us. Without it nothing is deleted.
    pub uid: Option<Uid>,
    /// The version it was last applied with, such as `v1`.
    pub version: String,
    /// The digest of the manifest that was last applied; none before the first answer.
    pub digest: Option<Digest>,
    /// The fingerprint of what the server answered then.
    pub seen: Option<Digest>,
    /// Its wave, for the order of deletion.
    pub wave: i32,
    /// What it said of `Prune` when it was last applied.
    pub prune: Option<Deletable>,
    /// What it said of `Delete` when it was last applied.
    pub delete: Option<Deletable>,
    /// `PruneLast=true` stood on it when it was last applied.
    pub prune_last: bool,
    /// It is a hook: it is deleted by its own policy, and with the app.
    pub is_hook: bool,
    /// The record was lost, and its mark is the only witness that it is ours: it is not deleted without a person.
    pub by_mark_alone: bool,
}

/// Everything this app may have touched: a superset of what exists, at every moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// By object.
    pub entries: BTreeMap<ObjectId, Entry>,
}

/// The last try at an object failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// At this manifest; none for a deletion.
    pub digest: Option<Digest>,
    /// Why.
    pub fault: Fault,
    /// When it is tried again by itself; none when it is the user's move.
    pub retry_at: Option<Timestamp>,
    /// How often in a row.
    pub times: u32,
    /// How often of these the server said no; the other times it said nothing.
    pub refusals: u32,
}
