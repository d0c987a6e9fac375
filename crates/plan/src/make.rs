//! Makes a plan: pure, total, the same for the same inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::App;
use lockstep_app::policy::{DeletionPolicy, DriftPolicy};
use lockstep_app::project::Scope;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{GroupKind, Gvk, Health, Manifest, ObjectId, kinds};
use serde_json::json;

use crate::desired::{Desired, Wanted};
use crate::seen::{Entry, Failure, Inventory, KindView, Observed, Seen};
use crate::step::{Action, Plan, Reason, Step, Unstepped, Waiting};

/// What the plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To bring the cluster to a revision: waves wait for health, and drift is put back whatever the policy.
    Sync,
    /// To keep it there: only what somebody changed, as the drift policy says; no waves.
    Heal,
    /// To take everything away, since the Application is being deleted.
    Leave,
}

/// What other apps have, as far as it concerns this one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Elsewhere {
    /// Objects that another app had first, by its name.
    pub owned: BTreeMap<ObjectId, String>,
    /// Objects of our inventory that another app has in git, by its name.
    pub wanted: BTreeMap<ObjectId, String>,
}

/// What a plan depends on besides git and the cluster's objects.
pub struct Facts<'a> {
    /// How far a kind can be seen.
    pub kinds: &'a dyn Fn(&GroupKind) -> KindView,
    /// Other apps' claims.
    pub elsewhere: &'a Elsewhere,
    /// The last tries that failed.
    pub failures: &'a BTreeMap<ObjectId, Failure>,
    /// What has been applied in the current sync: only its health holds later waves.
    pub touched: &'a BTreeSet<ObjectId>,
    /// Since when an object differs, and when it may be put back at the earliest.
    pub drift: &'a BTreeMap<ObjectId, DriftClock>,
    /// The deletions that a person let through.
    pub approved: &'a BTreeSet<ObjectId>,
    /// The time.
    pub now: Timestamp,
}

/// When drift was noticed on an object, and how long healing has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftClock {
    /// When it was noticed.
    pub since: Timestamp,
    /// Not before: the back-off of an object that keeps being changed.
    pub not_before: Timestamp,
}

/// Says what to do, what waits and what is left alone.
///
/// Shape: every object of git and of the inventory is in exactly one of front, waiting, unstepped. Deletions are only
/// planned from a [`Desired`] that is known, for kinds that are observed, with a uid on record (S8).
pub fn plan(
    app: &App,
    mode: Mode,
    desired: Option<&Desired>,
    observed: &Observed,
    inventory: &Inventory,
    facts: &Facts<'_>,
) -> Plan {
    let mut made = Making {
        app,
        mode,
        observed,
        inventory,
        facts,
        steps: Vec::new(),
        waiting: Vec::new(),
        unstepped: BTreeMap::new(),
    };
    let none = Vec::new();
    let objects = desired.map_or(&none, |desired| &desired.objects);
    if mode != Mode::Leave {
        made.namespace(objects);
        for wanted in objects {
            made.apply(wanted);
        }
        for (id, text) in desired.iter().flat_map(|desired| &desired.hooks) {
            made.unstepped.insert(id.clone(), Unstepped::Hook { text: text.clone() });
        }
    }
    let wanted: BTreeSet<&ObjectId> = objects.iter().map(|wanted| &wanted.id).collect();
    for (id, entry) in &inventory.entries {
        if mode == Mode::Leave || !wanted.contains(id) {
            made.prune(id, entry);
        }
    }
    made.into_plan(desired, objects)
}

struct Making<'a> {
    app: &'a App,
    mode: Mode,
    observed: &'a Observed,
    inventory: &'a Inventory,
    facts: &'a Facts<'a>,
    steps: Vec<Step>,
    waiting: Vec<(Step, Waiting)>,
    unstepped: BTreeMap<ObjectId, Unstepped>,
}

impl Making<'_> {
    /// The step that `CreateNamespace=true` asks for, unless git brings the namespace itself.
    fn namespace(&mut self, objects: &[Arc<Wanted>]) {
        let name = &self.app.namespace;
        if !self.app.create_namespace || name.is_empty() || objects.is_empty() {
            return;
        }
        let id = namespace_id(name);
        let by_git = objects.iter().any(|wanted| wanted.id == id);
        if by_git || self.observed.namespaces.contains(name) {
            return;
        }
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name,
            "labels": self.app.namespace_labels,
            "annotations": self.app.namespace_annotations,
        }});
        let Ok(manifest) = Manifest::from_value(body) else { return };
        let wanted = Wanted {
            gvk: manifest.gvk(),
            scope: Scope::Cluster,
            digest: manifest.digest(),
            manifest: Arc::new(manifest),
            wave: i32::MIN,
            ignored: Vec::new(),
            handed_over: Vec::new(),
            id,
        };
        self.push(Arc::new(wanted), Reason::Namespace);
    }

    fn apply(&mut self, wanted: &Arc<Wanted>) {
        let id = &wanted.id;
        if let Some(app) = self.facts.elsewhere.owned.get(id) {
            self.skip(id, Unstepped::OwnedByOther { app: app.clone() });
            return;
        }
        match (self.facts.kinds)(&id.group_kind()) {
            KindView::Observed | KindView::NotServed => {}
            KindView::Unobserved(fault) => {
                self.skip(id, Unstepped::Unobserved(fault));
                return;
            }
        }
        let entry = self.inventory.entries.get(id);
        let reason = match self.observed.objects.get(id) {
            None if entry.is_some_and(|entry| entry.uid.is_some()) => Reason::Recreate,
            None => Reason::Create,
            Some(seen) if seen.terminating => {
                self.skip(id, Unstepped::Terminating);
                return;
            }
            Some(seen) => match entry {
                Some(entry) if entry.digest.as_ref() != Some(&wanted.digest) => Reason::Update,
                Some(entry) if is_as_answered(entry, seen) => {
                    self.skip(id, Unstepped::InSync);
                    return;
                }
                Some(_) => Reason::Heal,
                None => Reason::Update,
            },
        };
        let failure = self.facts.failures.get(id);
        if let Some(failure) = failure.filter(|f| f.digest.as_ref() == Some(&wanted.digest)) {
            match failure.retry_at {
                None => {
                    self.skip(id, Unstepped::Failed(failure.fault.clone()));
                    return;
                }
                Some(at) if at > self.facts.now => {
                    let step = step(wanted, reason);
                    self.waiting.push((step, Waiting::Retry(at)));
                    return;
                }
                Some(_) => {}
            }
        }
        let is_drift = matches!(reason, Reason::Heal | Reason::Recreate);
        if self.mode == Mode::Heal && is_drift && !self.may_heal(wanted, &reason) {
            return;
        }
        self.push(Arc::clone(wanted), reason);
    }

    /// Does the policy let this be put back now? If not, it has been noted why.
    fn may_heal(&mut self, wanted: &Arc<Wanted>, reason: &Reason) -> bool {
        let now = self.facts.now;
        let clock = self.facts.drift.get(&wanted.id);
        let at = match self.app.policy.drift {
            DriftPolicy::Report => {
                self.skip(&wanted.id, Unstepped::Drifted);
                return false;
            }
            DriftPolicy::Heal => clock.map_or(now, |clock| clock.not_before),
            DriftPolicy::HealAfter(wait) => clock.map_or(now, |clock| {
                let due = clock.since.checked_add(wait).unwrap_or(Timestamp::MAX);
                due.max(clock.not_before)
            }),
        };
        if at > now {
            let step = step(wanted, reason.clone());
            self.waiting.push((step, Waiting::HealAt(at)));
            return false;
        }
        true
    }

    fn prune(&mut self, id: &ObjectId, entry: &Entry) {
        let leaving = self.mode == Mode::Leave;
        let reason = if leaving { Reason::Leaving } else { Reason::Gone };
        if let Some(by) = self.facts.elsewhere.wanted.get(id) {
            self.steps.push(Step {
                id: id.clone(),
                action: Action::Release,
                reason: Reason::TakenOver { by: by.clone() },
                wave: entry.wave,
                changes: Vec::new(),
            });
            return;
        }
        let kept = if leaving {
            // Argo CD leaves CRDs standing when an app goes: their objects may be other people's.
            entry.keep_on_delete || self.app.options.no_delete || id.kind == "CustomResourceDefinition"
        } else {
            entry.keep || self.app.options.no_prune
        };
        if kept || self.app.policy.deletion == DeletionPolicy::Keep {
            self.skip(id, Unstepped::PruneDisabled);
            return;
        }
        let gvk = Gvk {
            group: id.group.clone(),
            version: entry.version.clone(),
            kind: id.kind.clone(),
        };
        match (self.facts.kinds)(&id.group_kind()) {
            KindView::Observed => {}
            KindView::Unobserved(fault) => {
                self.skip(id, Unstepped::Unobserved(fault));
                return;
            }
            KindView::NotServed => {
                self.skip(id, Unstepped::NotServed(gvk));
                return;
            }
        }
        let seen = self.observed.objects.get(id);
        let Some(uid) = entry.uid.clone() else {
            // Nothing carries our mark under that name, and no server ever confirmed it: there is nothing.
            self.skip(id, Unstepped::NeverSeen);
            return;
        };
        if let Some(failure) = self.facts.failures.get(id).filter(|f| f.digest.is_none()) {
            if failure.fault.code == NOT_OURS {
                self.skip(id, Unstepped::NotOurs);
                return;
            }
            match failure.retry_at {
                None => {
                    self.skip(id, Unstepped::Failed(failure.fault.clone()));
                    return;
                }
                Some(at) if at > self.facts.now => {
                    let step = self.prune_step(id, gvk, uid, entry.wave, reason);
                    self.waiting.push((step, Waiting::Retry(at)));
                    return;
                }
                Some(_) => {}
            }
        }
        if seen.is_some_and(|seen| seen.terminating) {
            self.skip(id, Unstepped::Terminating);
            return;
        }
        let step = self.prune_step(id, gvk, uid, entry.wave, reason);
        let needs_approval = self.app.policy.deletion == DeletionPolicy::Approve;
        if needs_approval && !self.facts.approved.contains(id) {
            self.waiting.push((step, Waiting::Approval));
        } else {
            self.steps.push(step);
        }
    }

    fn prune_step(
        &self,
        id: &ObjectId,
        gvk: Gvk,
        uid: lockstep_manifest::Uid,
        wave: i32,
        reason: Reason,
    ) -> Step {
        let propagation = match self.app.on_delete {
            lockstep_app::app::OnDelete::Cascade(how) if self.mode == Mode::Leave => how,
            _ => self.app.options.propagation,
        };
        debug_assert!(propagation != Propagation::Orphan || self.mode != Mode::Leave);
        Step {
            id: id.clone(),
            action: Action::Prune { gvk, uid, propagation },
            reason,
            wave,
            changes: Vec::new(),
        }
    }

    fn push(&mut self, wanted: Arc<Wanted>, reason: Reason) {
        self.steps.push(Step {
            id: wanted.id.clone(),
            wave: wanted.wave,
            action: Action::Apply(wanted),
            reason,
            changes: Vec::new(),
        });
    }

    fn skip(&mut self, id: &ObjectId, why: Unstepped) {
        self.unstepped.insert(id.clone(), why);
    }

    /// Splits what may be done into the front and what waits for something else of this plan.
    fn into_plan(mut self, desired: Option<&Desired>, objects: &[Arc<Wanted>]) -> Plan {
        let mut front = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        let steps = std::mem::take(&mut self.steps);
        let pending: BTreeSet<&ObjectId> = steps
            .iter()
            .chain(waiting.iter().map(|(step, _)| step))
            .filter(|step| matches!(step.action, Action::Apply(_)))
            .map(|step| &step.id)
            .collect();
        let mut edges = Vec::with_capacity(steps.len());
        for step in &steps {
            edges.push(match &step.action {
                Action::Apply(wanted) => self.apply_edge(wanted, step, &steps, &pending, objects),
                Action::Prune { .. } => self.prune_edge(step, &steps),
                Action::Release => None,
            });
        }
        for (step, edge) in steps.iter().cloned().zip(edges) {
            match edge {
                None => front.push(step),
                Some(Waiting::Served(gvk)) if !brings(objects, &gvk) => {
                    self.unstepped.insert(step.id, Unstepped::NotServed(gvk));
                }
                Some(edge) => waiting.push((step, edge)),
            }
        }
        let revision = desired.map(|desired| desired.revision.clone());
        Plan { revision, front, waiting, unstepped: self.unstepped }
    }

    fn apply_edge(
        &self,
        wanted: &Wanted,
        step: &Step,
        steps: &[Step],
        pending: &BTreeSet<&ObjectId>,
        objects: &[Arc<Wanted>],
    ) -> Option<Waiting> {
        if step.reason == Reason::Namespace {
            return None;
        }
        let namespace = namespace_id(&wanted.id.namespace);
        if !wanted.id.namespace.is_empty() && pending.contains(&namespace) {
            return Some(Waiting::Applied(namespace));
        }
        if let Some(crd) = crd_of(objects, &wanted.gvk) {
            if pending.contains(&crd.id) {
                return Some(Waiting::Applied(crd.id.clone()));
            }
            if !self.is_healthy(&crd.id) {
                return Some(Waiting::Healthy(crd.id.clone()));
            }
        }
        if (self.facts.kinds)(&wanted.id.group_kind()) == KindView::NotServed {
            return Some(Waiting::Served(wanted.gvk.clone()));
        }
        if self.mode == Mode::Heal && matches!(step.reason, Reason::Heal | Reason::Recreate) {
            return None; // putting back what stood there before waits for nobody
        }
        for earlier in objects.iter().take_while(|other| other.wave < wanted.wave) {
            if is_moved_forward(earlier, wanted) {
                continue;
            }
            let failed = matches!(self.unstepped.get(&earlier.id), Some(Unstepped::Failed(_)));
            if pending.contains(&earlier.id) || failed {
                return Some(Waiting::Applied(earlier.id.clone()));
            }
            if self.facts.touched.contains(&earlier.id) && !self.is_healthy(&earlier.id) {
                return Some(Waiting::Healthy(earlier.id.clone()));
            }
        }
        // Within a wave kinds go in order; what waits by itself (a retry) does not hold up the kinds after it.
        let rank = kinds::rank(&wanted.id.kind);
        steps
            .iter()
            .find(|other| {
                matches!(other.action, Action::Apply(_))
                    && other.wave == wanted.wave
                    && kinds::rank(&other.id.kind) < rank
            })
            .map(|other| Waiting::Applied(other.id.clone()))
    }

    /// Deletions come after what is applied, the last wave and the last kind first.
    fn prune_edge(&self, step: &Step, steps: &[Step]) -> Option<Waiting> {
        if let Some(applied) = steps.iter().find(|other| matches!(other.action, Action::Apply(_))) {
            return Some(Waiting::Applied(applied.id.clone()));
        }
        let place = |id: &ObjectId, wave: i32| (wave, kinds::rank(&id.kind));
        let mine = place(&step.id, step.wave);
        let later = steps.iter().find(|other| {
            matches!(other.action, Action::Prune { .. }) && place(&other.id, other.wave) > mine
        });
        if let Some(later) = later {
            return Some(Waiting::Gone(later.id.clone()));
        }
        // Objects that terminate belong to a later wave's deletion too: wait until they are gone.
        let terminating = self.inventory.entries.iter().find(|(id, entry)| {
            matches!(self.unstepped.get(*id), Some(Unstepped::Terminating))
                && place(id, entry.wave) > mine
        });
        terminating.map(|(id, _)| Waiting::Gone(id.clone()))
    }

    fn is_healthy(&self, id: &ObjectId) -> bool {
        self.observed
            .objects
            .get(id)
            .is_some_and(|seen| matches!(seen.health, Health::Healthy | Health::None))
    }
}

/// The fault code of an object that carries no mark of ours.
pub const NOT_OURS: &str = "prune.not_ours";

fn is_as_answered(entry: &Entry, seen: &Seen) -> bool {
    entry.seen.is_some() && entry.seen == seen.fingerprint && entry.uid.as_ref() == Some(&seen.uid)
}

fn step(wanted: &Arc<Wanted>, reason: Reason) -> Step {
    Step {
        id: wanted.id.clone(),
        wave: wanted.wave,
        action: Action::Apply(Arc::clone(wanted)),
        reason,
        changes: Vec::new(),
    }
}

fn namespace_id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

fn crd_of<'a>(objects: &'a [Arc<Wanted>], gvk: &Gvk) -> Option<&'a Wanted> {
    objects
        .iter()
        .find(|wanted| {
            wanted.id.group_kind().is("apiextensions.k8s.io", "CustomResourceDefinition")
                && wanted.manifest.text(&["spec", "group"]) == gvk.group
                && wanted.manifest.text(&["spec", "names", "kind"]) == gvk.kind
        })
        .map(Arc::as_ref)
}

fn brings(objects: &[Arc<Wanted>], gvk: &Gvk) -> bool {
    crd_of(objects, gvk).is_some()
}

/// Argo CD moves a namespace before its content and a CRD before its objects, whatever their waves; so what lives in
/// a namespace, or is of a kind, never holds up the namespace or the CRD itself.
fn is_moved_forward(earlier: &Wanted, step: &Wanted) -> bool {
    let is_its_namespace = step.id.kind == "Namespace"
        && step.id.group.is_empty()
        && earlier.id.namespace == step.id.name;
    let is_its_crd = step.id.kind == "CustomResourceDefinition"
        && step.manifest.text(&["spec", "group"]) == earlier.gvk.group
        && step.manifest.text(&["spec", "names", "kind"]) == earlier.gvk.kind;
    is_its_namespace || is_its_crd
}
