//! Makes a plan: pure, total, the same for the same inputs.
//!
//! Here is what is applied, and how all of it comes together; `deletions` says what goes, `hooks` what runs.

mod deletions;
mod hooks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::policy::DriftPolicy;
use lockstep_app::project::Scope;
use lockstep_app::{App, Blame, Fault};
use lockstep_manifest::marks::{self, HookPhase};
use lockstep_manifest::write::Manner;
use lockstep_manifest::{Digest, GroupKind, Gvk, Manifest, ObjectId};
use serde_json::json;

use crate::desired::{Desired, Wanted};
use crate::hook::Run;
use crate::manner;
use crate::order::{self, Ordering, namespace_id};
use crate::seen::{Entry, Failure, Inventory, KindView, Observed, Seen};
use crate::step::{Action, Barred, Plan, Reason, Step, Unstepped, Waiting};

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
    /// Was the destination's namespace given the labels and annotations that the app wants on it?
    pub namespace_is_as_wanted: bool,
    /// Since when deletions are being asked for: a confirmation that is older was given for something else.
    pub asked_since: Option<Timestamp>,
    /// The deletions that a person let through.
    pub approved: &'a BTreeSet<ObjectId>,
    /// The sync that is under way; none for healing, and for what a sync would do.
    pub run: Option<&'a Run>,
    /// By itself nothing more of this commit is done than to put back what was.
    pub barred: Option<Barred>,
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
    let none = Vec::new();
    let objects = match desired {
        Some(desired) if mode != Mode::Leave => &desired.objects,
        _ => &none,
    };
    let mut made = Making {
        app,
        mode,
        observed,
        inventory,
        facts,
        objects,
        desired,
        steps: Vec::new(),
        waiting: Vec::new(),
        unstepped: BTreeMap::new(),
        stages: BTreeMap::new(),
    };
    if mode != Mode::Leave {
        made.namespace();
        for wanted in objects {
            made.apply(wanted);
        }
    }
    made.deletions();
    made.hooks();
    made.hold_back();
    made.into_plan()
}

struct Making<'a> {
    app: &'a App,
    mode: Mode,
    observed: &'a Observed,
    inventory: &'a Inventory,
    facts: &'a Facts<'a>,
    objects: &'a [Arc<Wanted>],
    desired: Option<&'a Desired>,
    steps: Vec<Step>,
    waiting: Vec<(Step, Waiting)>,
    unstepped: BTreeMap<ObjectId, Unstepped>,
    /// Where each deletion stands in the order.
    stages: BTreeMap<ObjectId, i32>,
}

impl Making<'_> {
    /// The step that `CreateNamespace=true` asks for, unless git brings the namespace itself.
    fn namespace(&mut self) {
        let objects = self.objects;
        let name = &self.app.namespace;
        if !self.app.create_namespace || name.is_empty() || objects.is_empty() {
            return;
        }
        let id = namespace_id(name);
        let by_git = objects.iter().any(|wanted| wanted.id == id);
        let is_there = self.observed.namespaces.contains(name);
        if by_git || (is_there && self.facts.namespace_is_as_wanted) {
            return;
        }
        let Some(manifest) = namespace_of(self.app) else {
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
            manner: Manner::default(),
            recreate: false,
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
                self.skip(id, going(seen));
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

    fn push(&mut self, mut wanted: Arc<Wanted>, reason: Reason) {
        let is_forced = self.facts.run.is_some_and(|run| run.force);
        if is_forced && !wanted.recreate && manner::may_be_recreated(&wanted.manifest) {
            Arc::make_mut(&mut wanted).recreate = true;
        }
        self.steps.push(Step {
            id: wanted.id.clone(),
            phase: HookPhase::Sync,
            wave: wanted.wave,
            action: Action::Apply(wanted),
            reason,
            changes: Vec::new(),
            taken: Vec::new(),
        });
    }

    fn skip(&mut self, id: &ObjectId, why: Unstepped) {
        self.unstepped.insert(id.clone(), why);
    }

    /// Takes out what this sync is not about, or what may not be begun by itself.
    fn hold_back(&mut self) {
        let run = self.facts.run;
        let shared = self.shared();
        let why_not = |step: &Step| {
            let by_hook = matches!(step.action, Action::Run { .. } | Action::LetGo { .. });
            if by_hook || self.mode == Mode::Leave || matches!(step.action, Action::Release) {
                return None;
            }
            if let Some(id) = &shared {
                return Some(Waiting::Applied(id.clone()));
            }
            let is_namespace = step.reason == Reason::Namespace;
            if run.is_some_and(|run| !run.selects(&step.id) && !is_namespace) {
                return Some(Waiting::NotSelected);
            }
            let is_drift = matches!(step.reason, Reason::Heal | Reason::Recreate);
            let barred = self.facts.barred.filter(|_| run.is_none() && !is_drift);
            barred.map(Waiting::Barred)
        };
        let held: Vec<(Step, Waiting)> = self
            .steps
            .extract_if(.., |step| why_not(step).is_some())
            .filter_map(|step| why_not(&step).map(|on| (step, on)))
            .collect();
        for (step, on) in &mut self.waiting {
            if let Some(why) = why_not(step).filter(|_| on.goes_on()) {
                *on = why;
            }
        }
        self.waiting.extend(held);
    }

    /// With `FailOnSharedResource=true` an object that another app has lets nothing be done.
    fn shared(&mut self) -> Option<ObjectId> {
        let is_shared = |why: &Unstepped| matches!(why, Unstepped::OwnedByOther { .. });
        let (id, why) = self.unstepped.iter_mut().find(|(_, why)| is_shared(why))?;
        if !self.app.options.fail_on_shared {
            return None;
        }
        let text = format!("FailOnSharedResource=true: {id}: {why}");
        let fault = Fault::new(Blame::User, "sync.shared_resource", text);
        *why = Unstepped::Refused(fault.hint("take the object out of one of the two apps"));
        Some(id.clone())
    }

    /// Splits what may be done into the front and what waits for something else of this plan.
    fn into_plan(mut self) -> Plan {
        let brought = order::definitions(self.objects);
        let (steps, held): (Vec<Step>, Vec<Step>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| self.nobody_serves(step, &brought).is_none());
        for step in held {
            let Some((wanted, gvk)) = self.nobody_serves(&step, &brought) else {
                continue;
            };
            if self.app.options.waits_for_kinds || waits_for_its_kind(&wanted.manifest) {
                self.waiting.push((step, Waiting::Served(gvk)));
            } else {
                self.unstepped.insert(step.id, Unstepped::NotServed(gvk));
            }
        }
        let ordering = Ordering {
            mode: self.mode,
            objects: self.objects,
            hooks: self.desired.map_or(&[][..], |desired| &desired.hooks),
            observed: self.observed,
            inventory: self.inventory,
            facts: self.facts,
            waiting: &self.waiting,
            unstepped: &self.unstepped,
            stages: &self.stages,
        };
        let edges = ordering.edges(&steps);
        let mut front = Vec::new();
        for (step, edge) in steps.into_iter().zip(edges) {
            match edge {
                None => front.push(step),
                Some(edge) => self.waiting.push((step, edge)),
            }
        }
        let revision = self.desired.map(|desired| desired.revision.clone());
        let mut plan = Plan {
            revision: revision.filter(|_| self.mode != Mode::Leave),
            front,
            waiting: std::mem::take(&mut self.waiting),
            unstepped: std::mem::take(&mut self.unstepped),
        };
        self.after_failure(&mut plan);
        plan
    }

    fn nobody_serves<'s>(
        &self,
        step: &'s Step,
        brought: &BTreeMap<GroupKind, &Wanted>,
    ) -> Option<(&'s Wanted, Gvk)> {
        let wanted = match &step.action {
            Action::Apply(wanted) => wanted,
            Action::Run { hook, .. } => &hook.wanted,
            Action::Prune { .. } | Action::Release | Action::LetGo { .. } => return None,
        };
        let gvk = order::nobody_serves(wanted, self.facts, brought)?;
        Some((wanted, gvk))
    }
}

/// Is something outside of this app to bring the object's kind? Then it waits for that, within the sync's patience.
fn waits_for_its_kind(object: &Manifest) -> bool {
    marks::option(object, "SkipDryRunOnMissingResource") == Some("true")
}

/// The namespace that `CreateNamespace=true` asks for, with the labels and annotations that it is to have.
fn namespace_of(app: &App) -> Option<Manifest> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": app.namespace,
        "labels": app.namespace_labels,
        "annotations": app.namespace_annotations,
    }});
    Manifest::from_value(body).ok()
}

/// By which one knows again what that namespace was given.
pub fn namespace_digest(app: &App) -> Digest {
    namespace_of(app).map_or_else(|| Digest::of(b""), |manifest| manifest.digest())
}

/// The fault code of an object that carries no mark of ours.
pub const NOT_OURS: &str = "prune.not_ours";

fn going(seen: &Seen) -> Unstepped {
    Unstepped::Terminating(seen.going.as_deref().cloned().unwrap_or_default())
}

fn is_as_answered(entry: &Entry, seen: &Seen) -> bool {
    entry.seen.is_some() && entry.seen == seen.fingerprint && entry.uid.as_ref() == Some(&seen.uid)
}

fn step(wanted: &Arc<Wanted>, reason: Reason) -> Step {
    Step {
        id: wanted.id.clone(),
        phase: HookPhase::Sync,
        wave: wanted.wave,
        action: Action::Apply(Arc::clone(wanted)),
        reason,
        changes: Vec::new(),
        taken: Vec::new(),
    }
}
