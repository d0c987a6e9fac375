//! A cluster in memory: objects with versions, uids and field ownership as a real API server keeps them, as far as
//! [`lockstep_manifest::fields`] looks.
//!
//! Lists are owned as a whole, and nothing is defaulted: what a fake would get wrong is for the tests with a real one.

use std::collections::BTreeMap;

use lockstep_app::app::AppKey;
use lockstep_manifest::fields::MANAGER;
use lockstep_manifest::{GroupKind, Manifest, ObjectId, Uid, marks, pointer};
use lockstep_reconcile::{Recalled, RecordDraft};
use serde_json::{Map, Value, json};

/// Something that a watch says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Is(Manifest),
    Deleted(Manifest),
    Complete { listed: Vec<ObjectId> },
}

/// One object: what it holds, and who owns which leaves.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    leaves: BTreeMap<String, Value>,
    owners: BTreeMap<String, Vec<String>>,
    status: Value,
    pub(crate) uid: Uid,
    pub(crate) version: u64,
    generation: u64,
    pub(crate) terminating: bool,
    /// Somebody's finalizer keeps it after its deletion.
    pub(crate) stays: bool,
    /// How it was last said.
    live: Option<Manifest>,
}

/// The server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) objects: BTreeMap<ObjectId, Stored>,
    pub(crate) records: BTreeMap<AppKey, (u64, RecordDraft)>,
    /// What was last claimed of each app beside its record; none is ever taken away.
    pub(crate) claims: BTreeMap<AppKey, RecordDraft>,
    /// What every watch has to say and has not said yet.
    pub(crate) events: Vec<(GroupKind, Said)>,
    /// Whatever is made has somebody's finalizer, who lets go of it some time after its deletion.
    pub(crate) finalizers: bool,
    version: u64,
    uids: u64,
}

impl Server {
    pub(crate) fn live(&self, id: &ObjectId) -> Option<Manifest> {
        self.objects.get(id)?.live.clone()
    }

    /// Does the server serve the kind: built in, or defined?
    pub(crate) fn serves(&self, kind: &GroupKind) -> bool {
        !kind.group.ends_with("example.org")
            || self.objects.iter().any(|(id, stored)| {
                id.kind == "CustomResourceDefinition"
                    && stored.leaves.get("/spec/names/kind") == Some(&json!(kind.kind))
                    && stored.status != Value::Null
            })
    }

    /// Are there such namespaces that take new objects?
    pub(crate) fn namespaces(&self) -> std::collections::BTreeSet<String> {
        let all = self
            .objects
            .iter()
            .filter(|(id, stored)| id.kind == "Namespace" && !stored.terminating);
        all.map(|(id, _)| id.name.clone()).collect()
    }

    /// Server-side apply with force. Errors: in words.
    pub(crate) fn apply(&mut self, body: &Manifest) -> Result<Manifest, String> {
        let id = body.id();
        if !self.serves(&id.group_kind()) {
            return Err(format!("the server could not find {}", id.group_kind()));
        }
        if !id.namespace.is_empty() && !self.namespaces().contains(&id.namespace) {
            return Err(format!("namespace {} not found", id.namespace));
        }
        let wanted = leaves(body);
        let mut stored = self
            .objects
            .get(&id)
            .cloned()
            .unwrap_or_else(|| self.blank());
        let before = (stored.leaves.clone(), stored.owners.clone());
        let ours: Vec<String> = stored.owned_by(MANAGER);
        for path in ours {
            if !wanted.contains_key(&path) {
                stored.disown(&path, MANAGER);
            }
        }
        for (path, value) in wanted {
            if stored.leaves.get(&path) != Some(&value) {
                stored.owners.remove(&path); // force takes it from whoever had it
            }
            let owners = stored.owners.entry(path.clone()).or_default();
            if !owners.iter().any(|owner| owner == MANAGER) {
                owners.push(MANAGER.to_owned());
            }
            stored.leaves.insert(path, value);
        }
        let changes = (&before.0, &before.1) != (&stored.leaves, &stored.owners);
        if changes || !self.objects.contains_key(&id) {
            self.put(&id, stored);
        }
        Ok(self.live(&id).expect("it was put on the line above"))
    }

    /// Somebody else writes one field.
    pub(crate) fn edit(&mut self, id: &ObjectId, path: &str, value: Value) {
        let Some(mut stored) = self.objects.get(id).cloned() else {
            return;
        };
        if stored.leaves.get(path) == Some(&value) {
            return;
        }
        stored.leaves.insert(path.to_owned(), value);
        stored
            .owners
            .insert(path.to_owned(), vec!["kubectl-edit".to_owned()]);
        self.put(id, stored);
    }

    /// Somebody else makes an object.
    pub(crate) fn make(&mut self, object: &Manifest) {
        let mut stored = self.blank();
        for (path, value) in leaves(object) {
            stored
                .owners
                .insert(path.clone(), vec!["kubectl-create".to_owned()]);
            stored.leaves.insert(path, value);
        }
        self.put(&object.id(), stored);
    }

    /// A controller says how it is doing.
    pub(crate) fn is_ready(&mut self, id: &ObjectId, ready: bool) {
        let Some(mut stored) = self.objects.get(id).cloned() else {
            return;
        };
        let wanted = stored
            .leaves
            .get("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        let available = if ready { wanted } else { 0 };
        let status = match id.kind.as_str() {
            "Deployment" => json!({"observedGeneration": stored.generation, "replicas": wanted,
                "updatedReplicas": wanted, "availableReplicas": available}),
            "CustomResourceDefinition" => {
                json!({"conditions": [{"type": "Established", "status": "True"}]})
            }
            "Job" => json!({"conditions": [{"type": "Complete", "status": "True"}]}),
            _ => return,
        };
        if stored.status != status {
            stored.status = status;
            self.put(id, stored);
        }
    }

    /// Is it being deleted, and kept by a finalizer?
    pub(crate) fn is_going(&self, id: &ObjectId) -> bool {
        let stored = self.objects.get(id);
        stored.is_some_and(|stored| stored.terminating)
    }

    /// Deletes it, or marks it when a finalizer keeps it. A definition takes its objects along.
    pub(crate) fn delete(&mut self, id: &ObjectId) {
        let Some(stored) = self.objects.get(id).cloned() else {
            return;
        };
        if stored.is_kept() {
            if !stored.terminating {
                self.put(
                    id,
                    Stored {
                        terminating: true,
                        ..stored
                    },
                );
            }
            return;
        }
        self.remove_with_content(id);
    }

    fn remove_with_content(&mut self, id: &ObjectId) {
        self.remove(id);
        let content: Vec<ObjectId> = self
            .objects
            .keys()
            .filter(|other| {
                (id.kind == "Namespace" && other.namespace == id.name)
                    || (id.kind == "CustomResourceDefinition" && !self.serves(&other.group_kind()))
            })
            .cloned()
            .collect();
        for other in content {
            self.remove(&other);
        }
    }

    /// Our finalizer for hooks comes off.
    pub(crate) fn let_go(&mut self, id: &ObjectId) {
        let Some(mut stored) = self.objects.get(id).cloned() else {
            return;
        };
        if !stored.has_our_finalizer() {
            return;
        }
        stored.leaves.remove(FINALIZERS);
        let goes = stored.terminating && !stored.stays;
        self.put(id, stored);
        if goes {
            self.remove_with_content(id);
        }
    }

    /// Whoever kept it lets go.
    pub(crate) fn release(&mut self, id: &ObjectId) {
        let Some(stored) = self.objects.get_mut(id) else {
            return;
        };
        stored.stays = false;
        if stored.terminating && !stored.has_our_finalizer() {
            self.remove_with_content(id);
        }
    }

    /// Compare and swap of a record.
    pub(crate) fn claim(&mut self, key: &AppKey, draft: &RecordDraft) -> Result<String, ()> {
        let now = self
            .records
            .get(key)
            .map(|(version, _)| version.to_string());
        if now != draft.previous {
            return Err(());
        }
        self.version += 1;
        self.records
            .insert(key.clone(), (self.version, draft.clone()));
        Ok(self.version.to_string())
    }

    /// A claim beside the record, which is not looked at: it says what it adds, and nothing else.
    pub(crate) fn claim_beside(&mut self, key: &AppKey, draft: &RecordDraft) {
        let mut claim = draft.clone();
        let added = claim.added.take().unwrap_or_default();
        claim.entries.retain(|id, _| added.contains(id));
        (claim.log, claim.rollback, claim.bundle) = (Vec::new(), None, None);
        claim.namespace = String::new();
        self.claims.insert(key.clone(), claim);
    }

    /// What is written down of an app.
    pub(crate) fn recall(&self, key: &AppKey) -> Recalled {
        let recalled = |draft: &RecordDraft, version: Option<String>| Recalled {
            resource_version: version,
            revision: draft.revision.clone(),
            spec: draft.spec.clone(),
            bases: draft.bases.clone(),
            entries: draft.entries.clone(),
            run: draft.run.clone(),
            log: draft.log.clone(),
            rollback: draft.rollback.clone(),
            bundle: draft.bundle.clone(),
            namespace: draft.namespace.clone(),
            is_lost: false,
            order: draft.order,
            lags: false,
        };
        let record = self.records.get(key);
        let record = record.map(|(version, draft)| recalled(draft, Some(version.to_string())));
        let record = record.unwrap_or_default();
        match self.claims.get(key) {
            Some(claim) => record.with_claim(recalled(claim, None)),
            None => record,
        }
    }

    /// The objects that carry this app's mark.
    pub(crate) fn marked(&self, key: &AppKey) -> Vec<ObjectId> {
        let set = marks::set_id(&key.namespace, &key.name);
        let path = pointer::join("/metadata/labels", marks::PART_OF);
        let mark = |stored: &Stored| stored.leaves.get(&path).and_then(Value::as_str) == Some(&set);
        let all = self.objects.iter().filter(|(_, stored)| mark(stored));
        all.map(|(id, _)| id.clone()).collect()
    }

    /// Everything of one kind, as a list says it, and that it was all.
    pub(crate) fn list(&self, kind: &GroupKind) -> Vec<Said> {
        let listed: Vec<ObjectId> = self
            .objects
            .keys()
            .filter(|id| id.group_kind() == *kind)
            .cloned()
            .collect();
        let mut said: Vec<Said> = listed
            .iter()
            .filter_map(|id| self.live(id))
            .map(Said::Is)
            .collect();
        said.push(Said::Complete { listed });
        said
    }

    fn blank(&mut self) -> Stored {
        self.uids += 1;
        Stored {
            leaves: BTreeMap::new(),
            owners: BTreeMap::new(),
            status: Value::Null,
            uid: Uid(format!("uid-{}", self.uids)),
            version: 0,
            generation: 1,
            terminating: false,
            stays: self.finalizers,
            live: None,
        }
    }

    fn put(&mut self, id: &ObjectId, mut stored: Stored) {
        self.version += 1;
        stored.version = self.version;
        let old = self.objects.get(id);
        if old.is_some_and(|old| old.leaves != stored.leaves) {
            stored.generation += 1;
        }
        let live = stored.manifest(id);
        stored.live = Some(live.clone());
        self.objects.insert(id.clone(), stored);
        self.events.push((id.group_kind(), Said::Is(live)));
    }

    fn remove(&mut self, id: &ObjectId) {
        let Some(mut stored) = self.objects.remove(id) else {
            return;
        };
        self.version += 1;
        stored.version = self.version;
        self.events
            .push((id.group_kind(), Said::Deleted(stored.manifest(id))));
    }
}

/// Where our finalizer for hooks stands.
const FINALIZERS: &str = "/metadata/finalizers";

impl Stored {
    fn has_our_finalizer(&self) -> bool {
        self.leaves
            .get(FINALIZERS)
            .is_some_and(|all| *all == json!([marks::HOOK_FINALIZER]))
    }

    fn is_kept(&self) -> bool {
        self.stays || self.has_our_finalizer()
    }

    fn owned_by(&self, manager: &str) -> Vec<String> {
        let owned = self
            .owners
            .iter()
            .filter(|(_, all)| all.iter().any(|owner| owner == manager));
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn disown(&mut self, path: &str, manager: &str) {
        let Some(owners) = self.owners.get_mut(path) else {
            return;
        };
        owners.retain(|owner| owner != manager);
        if owners.is_empty() {
            self.owners.remove(path);
            self.leaves.remove(path);
        }
    }

    fn manifest(&self, id: &ObjectId) -> Manifest {
        let mut root = json!({"kind": id.kind, "metadata": {"name": id.name}});
        let api_version = if id.group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{}/v1", id.group)
        };
        root["apiVersion"] = json!(api_version);
        if !id.namespace.is_empty() {
            root["metadata"]["namespace"] = json!(id.namespace);
        }
        for (path, value) in &self.leaves {
            put_at(&mut root, path, value.clone());
        }
        root["metadata"]["uid"] = json!(self.uid.0);
        root["metadata"]["resourceVersion"] = json!(self.version.to_string());
        root["metadata"]["generation"] = json!(self.generation);
        if self.terminating {
            root["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if self.status != Value::Null {
            root["status"] = self.status.clone();
        }
        let managers = [
            (MANAGER, "Apply"),
            ("kubectl-edit", "Update"),
            ("kubectl-create", "Update"),
        ];
        let fields: Vec<Value> = managers
            .into_iter()
            .filter(|(manager, _)| !self.owned_by(manager).is_empty())
            .map(|(manager, operation)| {
                let mut set = json!({});
                for path in self.owned_by(manager) {
                    put_at(&mut set, &path.replace('/', "/f:"), json!({}));
                }
                json!({"manager": manager, "operation": operation, "time": "2026-01-01T00:00:00Z",
                       "fieldsV1": set})
            })
            .collect();
        root["metadata"]["managedFields"] = Value::Array(fields);
        Manifest::from_value(root).expect("it has kind and name")
    }
}

/// The leaves of a manifest by JSON pointer, without what names it.
fn leaves(manifest: &Manifest) -> BTreeMap<String, Value> {
    fn gather(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    gather(value, pointer::join(&path, key), found);
                }
            }
            leaf => {
                found.insert(path, leaf.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    for (key, value) in manifest.body() {
        if !matches!(&**key, "apiVersion" | "kind" | "status") {
            gather(value, pointer::join("", key), &mut found);
        }
    }
    found.remove("/metadata/name");
    found.remove("/metadata/namespace");
    found
}

fn put_at(root: &mut Value, path: &str, value: Value) {
    let parts = pointer::parts(path).expect("it was made by join");
    let mut at = root;
    for part in parts {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = at
            .as_object_mut()
            .expect("a map")
            .entry(part)
            .or_insert(Value::Null);
    }
    *at = value;
}
