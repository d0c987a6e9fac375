//! What faces ask for.

use lockstep_app::app::AppKey;
use lockstep_reconcile::{Event, Look, Order, OrderRefused};

use super::Engine;
use crate::board::{Command, SyncOrder, SyncRefused};

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Sync(order, reply) => {
                let answer = self.order(order);
                self.publish(); // who asks next finds the operation on the board
                if reply.send(answer).is_err() {
                    tracing::debug!("nobody waits for the answer to a sync any more");
                }
            }
            Command::Pushed { remote } => self.pushed(&remote),
            Command::Refresh { app } => {
                if let Some(key) = self.key_of(&app) {
                    self.step(&key, Event::Poke(Look::Source));
                }
            }
        }
    }

    fn order(&mut self, wanted: SyncOrder) -> Result<String, SyncRefused> {
        if !self.leading {
            return Err(SyncRefused::NotLeading);
        }
        let key: AppKey = self.key_of(&wanted.app).ok_or(SyncRefused::NotFound)?;
        let mut life = self.lives.remove(&key).ok_or(SyncRefused::NotFound)?;
        let order = Order {
            id: None,
            by: wanted.by,
            plan: wanted.plan,
            prune: wanted.prune,
            revision: wanted.revision,
            dry_run: wanted.dry_run,
        };
        let answer = self.in_world(&key, |world| life.order(order, world));
        let (answer, effects) = match answer {
            Ok((id, effects)) => (Ok(id), effects),
            Err(OrderRefused::PlanChanged(now)) => (
                Err(SyncRefused::PlanChanged {
                    now: now.map(|digest| digest.0),
                }),
                Vec::new(),
            ),
            Err(OrderRefused::Running(operation)) => {
                (Err(SyncRefused::Running { operation }), Vec::new())
            }
            Err(OrderRefused::Fault(fault)) => (Err(SyncRefused::Fault(fault)), Vec::new()),
        };
        self.after(&key, life, effects, None);
        answer
    }
}
