//! The Application is being deleted: its hooks, its objects from the last wave to the first, and then itself.

use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::app::OnDelete;
use lockstep_app::lower::{RESOURCES_FINALIZER, is_of_deletion_hooks};
use lockstep_app::{App, Blame, Fault};
use lockstep_manifest::ObjectId;
use lockstep_plan::{Desired, Mode, Plan, Unstepped, Waiting};

use crate::cluster::asked;
use crate::event::{Effect, World};
use crate::life::{Hold, Life, Phase};
use crate::view::{LogKind, LogView, OperationPhase};

impl Life {
    /// Takes the app's objects away, the last wave first, then lets the Application go. Git is not asked: what is to be
    /// deleted stands in the record, and the hooks for it in what was last deployed.
    pub(crate) fn leave(&mut self, app: &Arc<App>, world: &World<'_>, effects: &mut Vec<Effect>) {
        let has = |is: &dyn Fn(&str) -> bool| app.finalizers.iter().any(|f| is(f));
        let cascades =
            has(&|f| f.starts_with(RESOURCES_FINALIZER)) && app.on_delete != OnDelete::Orphan;
        let has_hooks = has(&is_of_deletion_hooks);
        if !cascades && !has_hooks {
            self.phase = Phase::Resting; // whatever keeps the Application is not ours
            return;
        }
        if self
            .run
            .as_ref()
            .is_some_and(|run| run.kind != LogKind::Deletion)
        {
            self.finish(None, world.now, effects);
        }
        let known = self.enforced.as_ref().or(self.next.as_ref());
        let known = known.map(|slot| Arc::clone(&slot.desired));
        let will = match known.or_else(|| self.will.clone()).filter(|_| has_hooks) {
            None if has_hooks && self.recover_the_will(effects) => {
                self.phase = Phase::Starting;
                return;
            }
            None if has_hooks => {
                self.phase = Phase::Holding(Hold::DeletionHook(self.lost_will()));
                return;
            }
            will => will,
        };
        if !self.observe(world, effects) {
            self.phase = Phase::Starting;
            return;
        }
        self.take_away(app, will.as_deref(), world, effects);
    }

    fn take_away(
        &mut self,
        app: &Arc<App>,
        will: Option<&Desired>,
        world: &World<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if self.run.is_none() {
            // What a sync was refused for good is asked for again: nobody else takes these objects away.
            self.failures.clear();
            let id = self.operation_id(world.now);
            self.begin(id, "automated", LogKind::Deletion, world.now);
        }
        self.follow_hooks(world);
        let made = Arc::new(self.plan(app, Mode::Leave, will, world));
        self.unstepped.clone_from(&made.unstepped);
        if !made.front.is_empty() {
            self.act(&made, None, world, effects);
            return;
        }
        for (_, waiting) in &made.waiting {
            if let Waiting::Retry(at) = waiting {
                effects.push(Effect::WakeAt(*at));
            }
        }
        if self
            .run
            .as_ref()
            .is_some_and(|run| !run.at.hooks.is_empty())
        {
            self.write_note(world, effects);
        }
        if let Some(fault) = hook_failure(&made) {
            self.shown = Some(Arc::clone(&made)); // what a person's sync would try again
            self.phase = Phase::Holding(Hold::DeletionHook(fault));
            return;
        }
        let stuck = made.unstepped.values().any(|why| {
            !matches!(
                why,
                Unstepped::PruneDisabled
                    | Unstepped::NotOurs
                    | Unstepped::NeverSeen
                    | Unstepped::HookRan
                    | Unstepped::HookSkipped
            )
        });
        if let Some((count, asked)) = asked(&made) {
            self.shown = Some(Arc::clone(&made));
            self.phase = Phase::Holding(Hold::Deletion(count, asked));
        } else if made.waiting.is_empty() && !stuck && self.deleting.is_empty() {
            if self.phase != Phase::Gone {
                self.phase = Phase::Gone;
                let tombstone = (!self.leaked.is_empty()).then(|| self.tombstone());
                effects.push(Effect::Farewell(tombstone.map(Box::new)));
            }
        } else {
            self.shown = Some(Arc::clone(&made));
            self.phase = Phase::Leaving(made);
        }
    }

    fn lost_will(&self) -> Fault {
        let why = self.will_fault.clone().unwrap_or_else(|| {
            Fault::new(
                Blame::User,
                "delete.hooks_unknown",
                "nothing was ever deployed",
            )
        });
        Fault {
            message: format!("the hooks of the deletion are not known: {}", why.message),
            hint: Some(
                "take the finalizers pre-delete-finalizer and post-delete-finalizer.argocd.argoproj.io off the Application to go without them"
                    .to_owned(),
            ),
            ..why
        }
    }

    /// Somebody gives these objects up: they stay as they are, and nobody looks after them any more.
    pub fn abandon(
        &mut self,
        by: &str,
        objects: &[ObjectId],
        world: &World<'_>,
    ) -> Result<Vec<Effect>, Fault> {
        let unknown = objects
            .iter()
            .find(|id| !self.inventory.entries.contains_key(*id));
        if let Some(id) = unknown {
            let fault = Fault::new(
                Blame::User,
                "abandon.unknown",
                format!("{id} is not an object of this app"),
            );
            return Err(fault.hint("see its objects with: lockstep status"));
        }
        let is_wanted = |id: &&ObjectId| self.desired().is_some_and(|d| d.get(id).is_some());
        let leaves = self.app.as_ref().is_some_and(|app| app.leaving);
        if let Some(id) = objects.iter().find(|id| !leaves && is_wanted(id)) {
            let fault = Fault::new(
                Blame::User,
                "abandon.wanted",
                format!("{id} is in git, so it would be taken up again at once"),
            );
            return Err(fault.hint("take it out of git first"));
        }
        for id in objects {
            self.inventory.entries.remove(id);
            self.inventory_changes.push((id.clone(), false));
            self.deleting.remove(id);
            self.failures.remove(id);
            self.forget_drift(id);
            if leaves {
                self.leaked.push(id.clone());
            }
        }
        let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
        let text = format!("gave up {}", names.join(", "));
        self.note(world.now, by, format!("{by} {text}"));
        self.log(released(self.operation_id(world.now), by, text, world.now));
        self.record.hurry = true;
        let mut effects = Vec::new();
        self.think(world, &mut effects);
        self.refresh_word(world.now);
        Ok(effects)
    }

    /// What stays of a record when its app goes and objects of it do not.
    fn tombstone(&mut self) -> crate::event::RecordDraft {
        let mut draft = self.draft(None, None);
        draft.run = None;
        draft.is_tombstone = true;
        draft.entries = self
            .leaked
            .iter()
            .map(|id| (id.clone(), lockstep_plan::Entry::default()))
            .collect();
        draft
    }

    /// A failed hook of a deletion is tried again in a run of its own.
    pub(crate) fn leave_again(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.will_fault = None;
        if self.run.is_some() {
            self.conclude(OperationPhase::Failed, "tried again".to_owned(), true);
            self.finish(None, now, effects);
        }
    }
}

fn hook_failure(made: &Plan) -> Option<Fault> {
    made.unstepped.iter().find_map(|(id, why)| {
        let Unstepped::HookFailed(why) = why else {
            return None;
        };
        let fault = Fault::new(
            Blame::User,
            "delete.hook_failed",
            format!("hook {id} failed: {why}"),
        );
        Some(fault)
    })
}

fn released(id: String, by: &str, text: String, now: Timestamp) -> LogView {
    LogView {
        id,
        kind: LogKind::Release,
        by: by.to_owned(),
        started_at: now,
        finished_at: now,
        well: true,
        revision: None,
        spec: String::new(),
        objects: 0,
        text,
    }
}
