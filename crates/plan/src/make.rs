//! Makes a plan: pure, total, the same for the same inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::App;
use lockstep_app::policy::{DecidedBy, DeletionPolicy, DriftPolicy};
use lockstep_app::project::Scope;
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{GroupKind, Gvk, Manifest, ObjectId};
use serde_json::json;

use crate::desired::{Desired, Wanted};
use crate::order::{self, Ordering, namespace_id};
use crate::seen::{Entry, Failure, Inventory, KindView, Observed, Seen};
use crate::step::{Action, Asked, Plan, Reason, Step, Unstepped, Waiting};

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
    /// Is another app of the same repository still finding out what its commit wants? Then what left git here may be
    /// on its way there, and is not deleted yet.
    pub others_looking: &'a dyn Fn() -> bool,
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

impl DriftClock {
    /// When this policy puts it back; none when it leaves it.
    pub fn due(&self, policy: DriftPolicy) -> Option<Timestamp> {
        match policy {
            DriftPolicy::Report => None,
            DriftPolicy::Heal => Some(self.not_before),
            DriftPolicy::HealAfter(wait) => {
                let due = self.since.checked_add(wait).unwrap_or(Timestamp::MAX);
                Some(due.max(self.not_before))
            }
        }
    }
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
            made.unstepped
                .insert(id.clone(), Unstepped::Hook { text: text.clone() });
        }
    }
    let wanted: BTreeSet<&ObjectId> = objects
        .iter()
        .map(|wanted| &wanted.id)
        .chain(desired.iter().flat_map(|desired| desired.hooks.keys()))
        .collect();
    for (id, entry) in &inventory.entries {
        if mode == Mode::Leave || !wanted.contains(id) {
            made.prune(id, entry);
        }
    }
    made.keep_to_budget();
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
        let Ok(manifest) = Manifest::from_value(body) else {
            return;
        };
        let wanted = Wanted {
            gvk: manifest.gvk(),
            scope: Scope::Cluster,
            digest: manifest.digest(),
            manifest: Arc::new(manifest),
            wave: objects.iter().map(|wanted| wanted.wave).min().unwrap_or(0),
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
        let seen = match (self.facts.kinds)(&id.group_kind()) {
            KindView::Observed => self.observed.objects.get(id),
            KindView::NotServed => None, // whatever we saw of it went with its definition
            KindView::Unobserved(fault) => {
                self.skip(id, Unstepped::Unobserved(fault));
                return;
            }
        };
        let entry = self.inventory.entries.get(id);
        let reason = match seen {
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
        let failure = failure.filter(|f| f.digest.as_ref() == Some(&wanted.digest));
        if let Some(failure) = failure.filter(|failure| failure.retry_at.is_none()) {
            self.skip(id, Unstepped::Failed(failure.fault.clone()));
            return;
        }
        let is_drift = matches!(reason, Reason::Heal | Reason::Recreate);
        if is_drift && !self.may_heal(wanted, &reason) {
            return;
        }
        let retry_at = failure.and_then(|failure| failure.retry_at);
        if let Some(at) = retry_at.filter(|at| *at > self.facts.now) {
            self.waiting
                .push((step(wanted, reason), Waiting::Retry(at)));
            return;
        }
        self.push(Arc::clone(wanted), reason);
    }

    /// May this be put back now? If not, it has been noted why. A sync asks no policy, but it does not fight either.
    fn may_heal(&mut self, wanted: &Arc<Wanted>, reason: &Reason) -> bool {
        let now = self.facts.now;
        let clock = self.facts.drift.get(&wanted.id);
        let clock = clock.copied().unwrap_or(DriftClock {
            since: now,
            not_before: now,
        });
        let due = match self.mode {
            Mode::Heal => clock.due(self.app.policy.drift),
            Mode::Sync | Mode::Leave => Some(clock.not_before),
        };
        let Some(at) = due else {
            self.skip(&wanted.id, Unstepped::Drifted);
            return false;
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
        let reason = if leaving {
            Reason::Leaving
        } else {
            Reason::Gone
        };
        if !leaving && self.app.create_namespace && *id == namespace_id(&self.app.namespace) {
            // It left git and is asked for all the same; it may be in the front already.
            if self.steps.iter().all(|step| step.id != *id) {
                self.skip(id, Unstepped::PruneDisabled);
            }
            return;
        }
        if let Some(by) = self.facts.elsewhere.wanted.get(id) {
            self.release(id, entry, Reason::TakenOver { by: by.clone() });
            return;
        }
        let kept = if leaving {
            // Argo CD leaves CRDs standing when an app goes: their objects may be other people's.
            entry.keep_on_delete
                || self.app.options.no_delete
                || id.kind == "CustomResourceDefinition"
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
        let view = (self.facts.kinds)(&id.group_kind());
        if let KindView::Unobserved(fault) = view {
            self.skip(id, Unstepped::Unobserved(fault));
            return;
        }
        let seen = self.observed.objects.get(id);
        let Some(uid) = entry.uid.clone() else {
            // Nothing carries our mark under that name, and no server ever confirmed it: there is nothing.
            self.skip(id, Unstepped::NeverSeen);
            return;
        };
        if view == KindView::NotServed {
            // With its definition the object went, too: there is nothing to delete, and nothing to wait for.
            self.release(id, entry, reason);
            return;
        }
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
        // Who deletes an Application that has the finalizer has decided, as in Argo CD; only an environment asks again.
        let asks = !leaving || self.app.policy.deletion_by != DecidedBy::Application;
        let by_policy = asks && self.app.policy.deletion == DeletionPolicy::Approve;
        // What is not there any more is only confirmed to be gone.
        let protected = !leaving && seen.is_some_and(|seen| seen.protected);
        let asked = match (by_policy, protected) {
            (true, _) => Some(Asked::Policy),
            (false, true) => Some(Asked::Protected),
            (false, false) => None,
        };
        if let Some(asked) = asked.filter(|_| !self.facts.approved.contains(id)) {
            self.waiting.push((step, Waiting::Approval(asked)));
        } else if !leaving && (self.facts.others_looking)() {
            self.waiting.push((step, Waiting::Others));
        } else {
            self.steps.push(step);
        }
    }

    /// More deletions than the budget allows are not made by themselves: none of them, since nobody knows which were
    /// meant.
    fn keep_to_budget(&mut self) {
        let (approved, observed) = (self.facts.approved, self.observed);
        let goes = |step: &Step| {
            step.reason == Reason::Gone
                && observed.objects.contains_key(&step.id)
                && matches!(step.action, Action::Prune { .. })
                && !approved.contains(&step.id)
        };
        let waiting = self.waiting.iter().map(|(step, _)| step);
        let wanted = self
            .steps
            .iter()
            .chain(waiting)
            .filter(|step| goes(step))
            .count();
        let allowed = self
            .app
            .policy
            .prune_budget
            .allows(self.inventory.entries.len());
        if wanted <= allowed {
            return;
        }
        let asked = Waiting::Approval(Asked::Budget { wanted, allowed });
        for (step, on) in &mut self.waiting {
            if goes(step) {
                *on = asked.clone();
            }
        }
        let over: Vec<Step> = self.steps.extract_if(.., |step| goes(step)).collect();
        self.waiting
            .extend(over.into_iter().map(|step| (step, asked.clone())));
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
            action: Action::Prune {
                gvk,
                uid,
                propagation,
            },
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

    fn release(&mut self, id: &ObjectId, entry: &Entry, reason: Reason) {
        self.steps.push(Step {
            id: id.clone(),
            action: Action::Release,
            reason,
            wave: entry.wave,
            changes: Vec::new(),
        });
    }

    fn skip(&mut self, id: &ObjectId, why: Unstepped) {
        self.unstepped.insert(id.clone(), why);
    }

    /// Splits what may be done into the front and what waits for something else of this plan.
    fn into_plan(mut self, desired: Option<&Desired>, objects: &[Arc<Wanted>]) -> Plan {
        let brought = order::definitions(objects);
        let (steps, held): (Vec<Step>, Vec<Step>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| self.nobody_serves(step, &brought).is_none());
        for step in held {
            if let Some(gvk) = self.nobody_serves(&step, &brought) {
                self.unstepped.insert(step.id, Unstepped::NotServed(gvk));
            }
        }
        let ordering = Ordering {
            mode: self.mode,
            objects,
            observed: self.observed,
            inventory: self.inventory,
            facts: self.facts,
            waiting: &self.waiting,
            unstepped: &self.unstepped,
        };
        let edges = ordering.edges(&steps);
        let mut front = Vec::new();
        for (step, edge) in steps.into_iter().zip(edges) {
            match edge {
                None => front.push(step),
                Some(edge) => self.waiting.push((step, edge)),
            }
        }
        let revision = desired.map(|desired| desired.revision.clone());
        Plan {
            revision,
            front,
            waiting: self.waiting,
            unstepped: self.unstepped,
        }
    }

    fn nobody_serves(&self, step: &Step, brought: &BTreeMap<GroupKind, &Wanted>) -> Option<Gvk> {
        match &step.action {
            Action::Apply(wanted) => order::nobody_serves(wanted, self.facts, brought),
            Action::Prune { .. } | Action::Release => None,
        }
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
