//! Going back to what was deployed before, and staying there: a hold that drift is healed to, and that a newer commit,
//! a person or the time ends.

use jiff::Timestamp;
use lockstep_app::app::{Bases, Revision};
use lockstep_app::{Blame, Fault};
use lockstep_manifest::Digest;

use crate::event::{Effect, Rollback, Slot, Until, World};
use crate::life::Life;
use crate::orders::{Order, RollbackTo};
use crate::view::{LogKind, LogView, OperationPhase, RollbackView};

/// Something that was deployed is being brought here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recovering {
    turn: u64,
    purpose: Purpose,
}

#[derive(Clone, Debug, PartialEq)]
enum Purpose {
    /// A person wants to go to it.
    Order(Box<Order>, Option<Box<Rollback>>, String),
    /// The cluster is kept at it, and this process does not have it yet.
    Resume,
    /// The Application goes, and its hooks are in it.
    Leave,
}

impl Life {
    /// Where a person wants to go back to, with how long to stay.
    pub(crate) fn rollback_of(
        &self,
        wanted: &crate::orders::RollbackOrder,
        by: &str,
        now: Timestamp,
    ) -> Result<Rollback, Fault> {
        let mut past = self.history.iter();
        let found = match &wanted.to {
            RollbackTo::Id(id) => past.find(|past| past.id == *id),
            RollbackTo::Revision(revision) => past.find(|past| past.commit.revision == *revision),
            // The newest is what is live.
            RollbackTo::Previous => past.nth(1),
        };
        let Some(past) = found else {
            let fault = Fault::new(
                Blame::User,
                "rollback.unknown",
                format!("{} is not among the last deployments", wanted.to),
            );
            return Err(fault.hint("see them with: lockstep history"));
        };
        Ok(Rollback {
            to: past.commit.revision.clone(),
            bundle: past.bundle.clone(),
            bases: past.bases.clone(),
            from: self.target.clone(),
            reason: wanted.reason.clone(),
            by: by.to_owned(),
            at: now,
            until: wanted.until,
        })
    }

    /// Brings what was deployed, or rendered, at another commit; the run begins when it is here.
    pub(crate) fn recover_for(
        &mut self,
        order: Order,
        rollback: Option<Rollback>,
        id: String,
        revision: Revision,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (bases, bundle) = rollback.as_ref().map_or_else(Default::default, |rollback| {
            (rollback.bases.clone(), rollback.bundle.clone())
        });
        let mut operation = self.operation(id.clone(), &order.by, now);
        operation.revision = Some(revision.clone());
        operation.message = format!("brings {}", revision.short());
        operation.prune = order.prunes();
        if order.dry_run {
            operation.dry_run = true;
            self.tried = Some(operation);
        } else {
            self.last_operation = Some(operation);
        }
        let purpose = Purpose::Order(Box::new(order), rollback.map(Box::new), id);
        self.recover(purpose, revision, bases, bundle, effects);
    }

    fn recover(
        &mut self,
        purpose: Purpose,
        revision: Revision,
        bases: Bases,
        bundle: Option<Digest>,
        effects: &mut Vec<Effect>,
    ) {
        self.recoveries += 1;
        let turn = self.recoveries;
        self.recovering = Some(Recovering { turn, purpose });
        effects.push(Effect::Recover {
            turn,
            revision,
            bases,
            bundle,
        });
    }

    /// After a restart: brings what the app was rolled back to. True while that is awaited.
    pub(crate) fn recover_the_rollback(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Some(rollback) = self.rollback.clone().filter(|_| self.enforced.is_none()) else {
            return false;
        };
        if self.recovering.is_none() {
            let Rollback {
                to, bases, bundle, ..
            } = rollback;
            self.recover(Purpose::Resume, to, bases, bundle, effects);
        }
        true
    }

    /// Brings the hooks of a deletion, from what was last deployed. True while that is awaited.
    pub(crate) fn recover_the_will(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.will.is_some() || self.will_fault.is_some() {
            return false;
        }
        let Some(revision) = self.record.revision.clone() else {
            return false;
        };
        if self.recovering.is_none() {
            let (bases, bundle) = (self.record.bases.clone(), self.record.bundle.clone());
            self.recover(Purpose::Leave, revision, bases, bundle, effects);
        }
        true
    }

    pub(crate) fn recovered(&mut self, turn: u64, result: Result<Slot, Fault>, world: &World<'_>) {
        let now = world.now;
        let Some(recovering) = self.recovering.take_if(|known| known.turn == turn) else {
            return;
        };
        match (recovering.purpose, result) {
            (Purpose::Order(order, _, id), Ok(slot)) if order.dry_run => {
                if let Some(app) = self.app.clone() {
                    self.try_out(&order, id, Some(&slot), &app, world);
                }
            }
            (Purpose::Order(order, rollback, id), Ok(slot)) => {
                self.go_to(slot, *order, rollback.map(|rollback| *rollback), id, now);
            }
            (Purpose::Order(.., id), Err(fault)) => {
                self.note(now, "lockstep", format!("cannot go there: {fault}"));
                if let Some(operation) = self.operation_mut(&id) {
                    operation.phase = OperationPhase::Failed;
                    operation.message = fault.to_string();
                    operation.finished_at = Some(now);
                }
            }
            (Purpose::Resume, Ok(slot)) => {
                if self.live.is_none() {
                    self.live = Some(slot.commit.clone());
                }
                self.doubt(None, &slot);
                self.enforced = Some(slot);
                self.measure_early();
            }
            (Purpose::Resume, Err(fault)) => {
                self.note(now, "lockstep", format!("frozen: {fault}"));
                self.source_fault = Some(fault);
            }
            (Purpose::Leave, Ok(slot)) => self.will = Some(slot.desired),
            (Purpose::Leave, Err(fault)) => self.will_fault = Some(fault),
        }
    }

    /// It is here: from now on the cluster is kept at it.
    fn go_to(
        &mut self,
        slot: Slot,
        order: Order,
        rollback: Option<Rollback>,
        id: String,
        now: Timestamp,
    ) {
        let before = self.enforced.take();
        self.doubt(before.as_ref(), &slot);
        if self.next.is_none() {
            self.next = before;
        }
        self.approval.deletions = self.deletions_towards(&slot, &order);
        self.approval.by.clone_from(&order.by);
        self.enforced = Some(slot);
        self.fresh = true;
        self.failures.clear();
        let kind = if rollback.is_some() {
            LogKind::Rollback
        } else {
            LogKind::Sync
        };
        self.rollback = rollback;
        self.record.dirty = true;
        self.begin(id, &order.by.clone(), kind, now);
        self.put_into_run(&order);
        self.note(now, &order.by, format!("{} goes back", order.by));
    }

    /// Is the app kept where it was rolled back to? What ends it is looked for first.
    pub(crate) fn is_rolled_back(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) -> bool {
        let Some(rollback) = &self.rollback else {
            return false;
        };
        let why = match rollback.until {
            Until::Release => None,
            Until::NewerCommit => {
                let next = self.next.as_ref().map(|next| &next.commit.revision);
                let newer = next.filter(|next| Some(*next) != rollback.from.as_ref());
                newer.map(|next| format!("{} is newer than what was rolled back", next.short()))
            }
            Until::Time(at) if at <= world.now => Some("its time is over".to_owned()),
            Until::Time(at) => {
                effects.push(Effect::WakeAt(at));
                None
            }
        };
        match why {
            None => true,
            Some(why) => {
                self.end_rollback("automated", &why, world.now);
                false
            }
        }
    }

    pub(crate) fn end_rollback(&mut self, by: &str, why: &str, now: Timestamp) {
        let Some(rollback) = self.rollback.take() else {
            return;
        };
        let text = format!("no longer kept at {}: {why}", rollback.to.short());
        self.note(now, by, text.clone());
        self.log(LogView {
            id: self.operation_id(now),
            kind: LogKind::Release,
            by: by.to_owned(),
            started_at: now,
            finished_at: now,
            well: true,
            revision: Some(rollback.to),
            spec: String::new(),
            objects: 0,
            text,
        });
        self.record.hurry = true;
    }

    /// Somebody lets the app follow its target again.
    pub fn release(&mut self, by: &str, world: &World<'_>) -> Result<Vec<Effect>, Fault> {
        if self.rollback.is_none() {
            let fault = Fault::new(Blame::User, "rollback.none", "the app was not rolled back");
            return Err(fault.hint("there is nothing to release"));
        }
        self.end_rollback(by, "released", world.now);
        let mut effects = Vec::new();
        self.look(world, &mut effects);
        self.think(world, &mut effects);
        self.refresh_word(world.now);
        Ok(effects)
    }

    pub(crate) fn rollback_view(&self) -> Option<RollbackView> {
        self.rollback.as_ref().map(|rollback| RollbackView {
            to: rollback.to.clone(),
            from: rollback.from.clone(),
            reason: rollback.reason.clone(),
            by: rollback.by.clone(),
            at: rollback.at,
            until: rollback.until,
        })
    }
}
