//! What people ask for: a sync, with the digest of the plan that they saw.

use jiff::Timestamp;
use lockstep_app::app::{RequestedSync, Revision};
use lockstep_app::policy::NewCommitPolicy;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::Digest;
use lockstep_plan::Action;

use crate::event::{Effect, World};
use crate::life::{Approval, Life, Run};
use crate::view::{OperationPhase, OperationView};

/// A sync that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The operation's id, made by whoever took the order; none lets the machine make one.
    pub id: Option<String>,
    /// Who.
    pub by: String,
    /// The digest of the plan that was seen; none takes the plan as it is.
    pub plan: Option<String>,
    /// May it delete? None: what the seen plan deletes.
    pub prune: Option<bool>,
    /// A commit other than the target's.
    pub revision: Option<Revision>,
    /// Plan only.
    pub dry_run: bool,
}

impl Order {
    /// Argo CD's top-level `operation`.
    pub fn from_spec(requested: RequestedSync) -> Self {
        Self {
            id: None,
            by: requested.by,
            plan: requested.plan,
            prune: Some(requested.prune),
            revision: requested.revision,
            dry_run: requested.dry_run,
        }
    }
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderRefused {
    /// The plan is another one by now.
    PlanChanged(Option<Digest>),
    /// A sync runs already; this is its id.
    Running(String),
    /// Something stands in the way that an order does not lift.
    Fault(Fault),
}

impl Life {
    /// Takes an order. Answers with the operation's id, and with what to ask of the world.
    pub fn order(
        &mut self,
        order: Order,
        world: &World<'_>,
    ) -> Result<(String, Vec<Effect>), OrderRefused> {
        let id = self.accept(order, world.now)?;
        let mut effects = Vec::new();
        self.think(world, &mut effects);
        self.refresh_word(world.now);
        Ok((id, effects))
    }

    /// Carries out the order that stands in the spec, if any: its refusal is an event, since nobody waits for it.
    pub(crate) fn take_order(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        if self.enforced.is_none() && self.next.is_none() && self.source_fault.is_none() {
            return; // nothing is known yet; the order waits
        }
        if let Some(order) = self.order.take() {
            self.heard = self.app.as_ref().and_then(|app| app.requested.clone());
            effects.push(Effect::Heard);
            let by = order.by.clone();
            if let Err(refused) = self.accept(order, world.now) {
                let why = match refused {
                    OrderRefused::PlanChanged(_) => "the plan has changed".to_owned(),
                    OrderRefused::Running(id) => {
                        format!("another operation is already in progress: {id}")
                    }
                    OrderRefused::Fault(fault) => fault.message,
                };
                self.note(world.now, &by, format!("sync refused: {why}"));
            }
        }
    }

    fn accept(&mut self, order: Order, now: Timestamp) -> Result<String, OrderRefused> {
        if let Some(fault) = self.spec_faults.first().or(self.source_fault.as_ref()) {
            return Err(OrderRefused::Fault(fault.clone()));
        }
        if let Some(run) = &self.run {
            return Err(OrderRefused::Running(run.operation.id.clone()));
        }
        let Some(app) = self.app.clone() else {
            return Err(OrderRefused::Fault(Fault::new(
                Blame::Environment,
                "unknown.first_check",
                "the app has not been looked at yet",
            )));
        };
        let digest = self.shown.as_ref().map(|plan| plan.digest());
        if let Some(seen) = &order.plan
            && digest.as_ref().is_none_or(|now| now.0 != *seen)
        {
            return Err(OrderRefused::PlanChanged(digest));
        }
        if self.next.is_none() && self.enforced.is_none() && !app.leaving {
            let fault = self.render_fault.as_ref().map_or_else(
                || {
                    Fault::new(
                        Blame::Environment,
                        "unknown.first_check",
                        "nothing is rendered yet",
                    )
                    .hint("wait for the first check to end")
                },
                |(_, fault)| fault.clone(),
            );
            return Err(OrderRefused::Fault(fault));
        }
        let to = self.next.as_ref().or(self.enforced.as_ref());
        let bases = to.map(|slot| slot.bases.clone()).unwrap_or_default();
        let to = to.map(|slot| slot.commit.revision.clone());
        if let Some(wanted) = &order.revision
            && Some(wanted) != to.as_ref()
        {
            return Err(OrderRefused::Fault(
                Fault::new(
                    Blame::User,
                    "sync.other_revision",
                    format!(
                        "commit {} is not the one that the target names",
                        wanted.short()
                    ),
                )
                .hint("set spec.source.targetRevision to it, or revert the newer commits"),
            ));
        }
        if self.next.is_some() && app.policy.new_commit == NewCommitPolicy::Hold && !order.dry_run {
            return Err(OrderRefused::Fault(
                Fault::new(
                    Blame::User,
                    "held.manual",
                    format!("environment {} holds every new commit", app.environment),
                )
                .hint("change newCommit of that environment in the configuration"),
            ));
        }
        let may_delete = order.prune.unwrap_or(order.plan.is_some());
        let is_empty = self
            .next
            .as_ref()
            .is_some_and(|next| next.desired.objects.is_empty());
        let wipes = is_empty && !self.inventory.entries.is_empty() && !app.policy.allow_empty;
        if wipes && !(may_delete && order.plan.is_some()) && !order.dry_run {
            return Err(OrderRefused::Fault(
                Fault::new(
                    Blame::User,
                    "held.empty_render",
                    "the commit renders nothing, and this sync did not see a plan that deletes everything",
                )
                .hint("put the manifests back, or sync with the digest of the plan that deletes"),
            ));
        }
        let id = order.id.clone().unwrap_or_else(|| self.operation_id(now));
        if order.dry_run {
            let message = self
                .shown
                .as_ref()
                .map_or_else(|| "nothing to do".to_owned(), |plan| plan.summary());
            let mut operation = self.operation(id.clone(), &order.by, now);
            operation.phase = OperationPhase::Succeeded;
            operation.message = message;
            operation.finished_at = Some(now);
            self.last_operation = Some(operation);
            return Ok(id);
        }
        let deletions = self
            .shown
            .iter()
            .flat_map(|plan| plan.steps())
            .filter(|step| may_delete && matches!(step.action, Action::Prune { .. }))
            .map(|step| step.id.clone())
            .collect();
        self.approval = Approval {
            revision: to,
            bases,
            deletions,
            empty: may_delete && order.plan.is_some(),
            by: order.by.clone(),
        };
        self.failures.clear();
        for clock in self.drift.values_mut() {
            clock.not_before = now;
        }
        if app.leaving {
            let mut operation = self.operation(id.clone(), &order.by, now);
            operation.phase = OperationPhase::Succeeded;
            "deletion approved".clone_into(&mut operation.message);
            operation.finished_at = Some(now);
            self.last_operation = Some(operation);
        } else {
            if let Some(next) = self.next.take() {
                self.enforced = Some(next);
                self.fresh = true;
            }
            self.begin(id.clone(), &order.by, now);
        }
        self.note(now, &order.by, format!("{} asked for a sync", order.by));
        Ok(id)
    }

    /// Begins a run.
    pub(crate) fn begin(&mut self, id: String, by: &str, now: Timestamp) {
        self.touched.clear();
        self.heals.clear();
        self.run = Some(Run {
            operation: self.operation(id, by, now),
            written: 0,
            waits_since: None,
        });
    }

    fn operation(&self, id: String, by: &str, now: Timestamp) -> OperationView {
        OperationView {
            id,
            app: self.app.as_ref().map_or_else(Default::default, |app| {
                (app.environment.clone(), app.name.clone())
            }),
            phase: OperationPhase::Running,
            message: String::new(),
            revision: self
                .enforced
                .as_ref()
                .map(|slot| slot.commit.revision.clone()),
            by: by.to_owned(),
            started_at: now,
            finished_at: None,
            results: Vec::new(),
        }
    }

    /// An id that nobody else has: of the app, the turn and the time.
    pub(crate) fn operation_id(&self, now: Timestamp) -> String {
        let digest = Digest::of(format!("{}{}{now}", self.uid, self.turn).as_bytes());
        format!("op-{}", &digest.0[..8])
    }
}
