//! What people ask for: a sync, with the digest of the plan that they saw.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lockstep_app::app::{RequestedSync, Retry, Revision, Selected};
use lockstep_app::policy::{DeletionPolicy, NewCommitPolicy};
use lockstep_app::{App, Blame, Fault};
use lockstep_manifest::{Digest, ObjectId};
use lockstep_plan::{Action, Selector};

use crate::event::{Effect, Slot, Until, World};
use crate::life::{Approval, Life};
use crate::view::{LogKind, OperationPhase, OperationView};

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
    /// Only these objects; empty is all of them.
    pub resources: Vec<Selector>,
    /// Without hooks.
    pub skip_hooks: bool,
    /// What cannot be changed is deleted and made again.
    pub force: bool,
    /// How it tries again what was refused; none is what the Application says.
    pub retry: Option<Retry>,
    /// Back to what was deployed before.
    pub rollback: Option<RollbackOrder>,
}

/// Where to go back to, and how long to stay.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackOrder {
    /// Where to.
    pub to: RollbackTo,
    /// Why.
    pub reason: String,
    /// How long.
    pub until: Until,
}

/// One of the last deployments.
#[derive(Clone, Debug, PartialEq)]
pub enum RollbackTo {
    /// By its number in the history.
    Id(u64),
    /// By its commit.
    Revision(Revision),
    /// The one before the last.
    Previous,
}

impl std::fmt::Display for RollbackTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "deployment {id}"),
            Self::Revision(revision) => write!(f, "commit {}", revision.short()),
            Self::Previous => f.write_str("a deployment before the last"),
        }
    }
}

impl Order {
    /// A sync of everything, as this person wants it.
    pub fn by(by: &str) -> Self {
        Self {
            id: None,
            by: by.to_owned(),
            plan: None,
            prune: None,
            revision: None,
            dry_run: false,
            resources: Vec::new(),
            skip_hooks: false,
            force: false,
            retry: None,
            rollback: None,
        }
    }

    /// May it delete what left git? Where it does not say: what the plan that was seen deletes.
    pub(crate) fn prunes(&self) -> bool {
        self.prune.unwrap_or(self.plan.is_some())
    }

    /// Argo CD's top-level `operation`.
    pub fn from_spec(requested: RequestedSync) -> Self {
        let selector = |selected: Selected| Selector {
            group: selected.group,
            kind: selected.kind,
            namespace: selected.namespace,
            name: selected.name,
        };
        Self {
            id: None,
            by: requested.by,
            plan: requested.plan,
            prune: Some(requested.prune),
            revision: requested.revision,
            dry_run: requested.dry_run,
            resources: requested.resources.into_iter().map(selector).collect(),
            skip_hooks: requested.skip_hooks,
            force: requested.force,
            retry: requested.retry,
            rollback: None,
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
        let mut effects = Vec::new();
        let id = self.accept(order, world, &mut effects)?;
        self.think(world, &mut effects);
        self.refresh_word(world.now);
        Ok((id, effects))
    }

    /// Carries out the order that stands in the spec, if any. Whoever wrote it there looks for the answer in the status.
    pub(crate) fn take_order(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        let is_known = self.enforced.is_some() || self.next.is_some();
        if !is_known && self.source_fault.is_none() && self.render_fault.is_none() {
            return; // nothing is known yet; the order waits
        }
        if let Some(order) = self.order.take() {
            self.heard = self.app.as_ref().and_then(|app| app.requested.clone());
            effects.push(Effect::Heard);
            let by = order.by.clone();
            let (prune, dry_run) = (order.prunes(), order.dry_run);
            let wanted = order.revision.clone().or_else(|| self.target.clone());
            if let Err(refused) = self.accept(order, world, effects) {
                let runs = matches!(refused, OrderRefused::Running(_));
                let why = match refused {
                    OrderRefused::PlanChanged(_) => "the plan has changed".to_owned(),
                    OrderRefused::Running(id) => {
                        format!("another operation is already in progress: {id}")
                    }
                    OrderRefused::Fault(fault) => fault.message,
                };
                let why = format!("sync refused: {why}");
                if !runs {
                    let mut operation =
                        self.operation(self.operation_id(world.now), &by, world.now);
                    operation.phase = OperationPhase::Failed;
                    operation.message.clone_from(&why);
                    operation.finished_at = Some(world.now);
                    operation.revision = wanted;
                    (operation.prune, operation.dry_run) = (prune, dry_run);
                    self.tried = Some(operation);
                }
                self.note(world.now, &by, why);
            }
        }
    }

    fn accept(
        &mut self,
        order: Order,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<String, OrderRefused> {
        let now = world.now;
        let leaves = self.app.as_ref().is_some_and(|app| app.leaving);
        let fault = self.spec_faults.first().or(self.source_fault.as_ref());
        if let Some(fault) = fault.filter(|_| !leaves) {
            return Err(OrderRefused::Fault(fault.clone()));
        }
        let brought = self.tried.iter().chain(&self.last_operation);
        let brings = self
            .recovering
            .as_ref()
            .and(brought.into_iter().find(|o| o.is_running()));
        let running = self.run.as_ref().map(|run| &run.operation).or(brings);
        if let Some(operation) = running.filter(|_| !leaves) {
            return Err(OrderRefused::Running(operation.id.clone()));
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
        // Who saw no plan and names no commit means the target's, not the one that is kept since that does not render.
        let means_target = order.plan.is_none() && order.revision.is_none();
        if let Some((_, fault)) = &self.render_fault
            && means_target
            && order.rollback.is_none()
            && !leaves
        {
            return Err(OrderRefused::Fault(fault.clone()));
        }
        if let Some(wanted) = &order.rollback {
            if leaves {
                let text = "the Application is being deleted";
                let fault = Fault::new(Blame::User, "rollback.leaving", text);
                return Err(OrderRefused::Fault(fault));
            }
            let rollback = self
                .rollback_of(wanted, &order.by, now)
                .map_err(OrderRefused::Fault)?;
            let id = order.id.clone().unwrap_or_else(|| self.operation_id(now));
            let to = rollback.to.clone();
            self.recover_for(order, Some(rollback), id.clone(), to, now, effects);
            return Ok(id);
        }
        let to = self.next.as_ref().or(self.enforced.as_ref());
        let bases = to.map(|slot| slot.bases.clone()).unwrap_or_default();
        let to = to.map(|slot| slot.commit.revision.clone());
        if let Some(wanted) = order
            .revision
            .clone()
            .filter(|wanted| Some(wanted) != to.as_ref())
        {
            return self.go_to_revision(order, wanted, &app, now, effects);
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
        let may_delete = order.prunes();
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
            self.try_out(&order, id.clone(), None, &app, world);
            return Ok(id);
        }
        let deletions = self.deletions_shown(&order, may_delete);
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
            self.leave_again(now, effects);
            let mut operation = self.operation(id.clone(), &order.by, now);
            operation.phase = OperationPhase::Succeeded;
            "deletion approved".clone_into(&mut operation.message);
            operation.finished_at = Some(now);
            self.last_operation = Some(operation);
        } else {
            if let Some(next) = self.next.take() {
                let before = self.enforced.replace(next.clone());
                self.doubt(before.as_ref(), &next);
                self.fresh = true;
                self.end_rollback(&order.by, "a sync goes to another commit", now);
            }
            self.begin(id.clone(), &order.by, LogKind::Sync, now);
            self.put_into_run(&order);
        }
        self.note(now, &order.by, format!("{} asked for a sync", order.by));
        Ok(id)
    }

    /// The deletions of the plan that was seen, as far as this order wants them.
    fn deletions_shown(&self, order: &Order, may_delete: bool) -> BTreeSet<ObjectId> {
        let selects = |step: &&lockstep_plan::Step| {
            order.resources.is_empty() || order.resources.iter().any(|one| one.selects(&step.id))
        };
        let steps = self.shown.iter().flat_map(|plan| plan.steps());
        steps
            .filter(|step| may_delete && matches!(step.action, Action::Prune { .. }))
            .filter(selects)
            .map(|step| step.id.clone())
            .collect()
    }

    /// Everything that is not in what it goes back to: who asks for that with `prune` has let it go.
    pub(crate) fn deletions_towards(&self, slot: &Slot, order: &Order) -> BTreeSet<ObjectId> {
        let all = self.inventory.entries.iter();
        all.filter(|(id, entry)| {
            order.prune == Some(true) && !entry.is_hook && slot.desired.get(id).is_none()
        })
        .map(|(id, _)| id.clone())
        .collect()
    }

    /// Puts what was asked for into the run that has just begun.
    pub(crate) fn put_into_run(&mut self, order: &Order) {
        let Some(run) = &mut self.run else { return };
        run.operation.prune = order.prunes();
        run.at.only.clone_from(&order.resources);
        // As in Argo CD a sync of some objects runs no hooks.
        run.at.skip_hooks = order.skip_hooks || !order.resources.is_empty();
        run.at.force = order.force;
        if let Some(retry) = order.retry {
            run.retry = retry;
        }
    }

    /// A commit that the target does not name, where no newer one would be applied by itself the next moment.
    fn go_to_revision(
        &mut self,
        order: Order,
        wanted: Revision,
        app: &App,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<String, OrderRefused> {
        if app.policy.new_commit == NewCommitPolicy::Apply && !order.dry_run {
            let fault = Fault::new(
                Blame::User,
                "sync.other_revision",
                format!(
                    "cannot sync to {}: new commits are applied by themselves, and the target names another",
                    wanted.short()
                ),
            );
            let hint =
                "roll back to a deployment with: lockstep rollback, or revert the newer commits";
            return Err(OrderRefused::Fault(fault.hint(hint)));
        }
        let id = order.id.clone().unwrap_or_else(|| self.operation_id(now));
        self.recover_for(order, None, id.clone(), wanted, now, effects);
        Ok(id)
    }

    pub(crate) fn operation(&self, id: String, by: &str, now: Timestamp) -> OperationView {
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
            retries: 0,
            verified: None,
            prune: self
                .app
                .as_ref()
                .is_some_and(|app| app.policy.deletion == DeletionPolicy::Prune),
            dry_run: false,
        }
    }

    /// An id that nobody else has: of the app, the turn and the time.
    pub(crate) fn operation_id(&self, now: Timestamp) -> String {
        let digest = Digest::of(format!("{}{}{now}", self.uid, self.turn).as_bytes());
        format!("op-{}", &digest.0[..8])
    }
}
