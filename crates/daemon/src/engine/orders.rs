//! What faces ask for.

use lockstep_app::app::AppKey;
use lockstep_reconcile::{Event, Look, OrderRefused};

use super::Engine;
use crate::board::{Command, Demand, SyncRefused, What};

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Demand(demand, reply) => {
                let answer = self.demanded(demand);
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

    /// Does what somebody asks of an app. Answers with the operation's id; it is empty where there is none.
    fn demanded(&mut self, demand: Demand) -> Result<String, SyncRefused> {
        if !self.leading {
            return Err(SyncRefused::NotLeading);
        }
        let key: AppKey = self.key_of(&demand.app).ok_or(SyncRefused::NotFound)?;
        let mut life = self.lives.remove(&key).ok_or(SyncRefused::NotFound)?;
        let by = demand.by.as_str();
        let answer = self.in_world(&key, |world| {
            let plain = |effects| (String::new(), effects);
            match demand.what {
                What::Sync(order) => life.order(*order, world),
                What::Terminate => life
                    .terminate(by, world)
                    .map(plain)
                    .map_err(OrderRefused::Fault),
                What::Release => life
                    .release(by, world)
                    .map(plain)
                    .map_err(OrderRefused::Fault),
                What::Abandon(objects) => life
                    .abandon(by, &objects, world)
                    .map(plain)
                    .map_err(OrderRefused::Fault),
            }
        });
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
