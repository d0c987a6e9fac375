//! Makes plans from what is known, to be carried out or to be shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_app::{App, Blame, Fault};
use lockstep_plan::{
    Action, Barred, Desired, Elsewhere, Facts, KindView, Mode, Plan, Reason, Step, plan,
};

use crate::event::{Effect, World};
use crate::life::Life;

/// How many steps of a plan that people look at are dry-run: more than fits a screen, few enough not to hurt.
const PROBES: usize = 50;

impl Life {
    pub(crate) fn plan(
        &mut self,
        app: &App,
        mode: Mode,
        desired: Option<&Desired>,
        world: &World<'_>,
    ) -> Plan {
        self.plan_for(app, mode, desired, world, false)
    }

    pub(crate) fn plan_for(
        &mut self,
        app: &App,
        mode: Mode,
        desired: Option<&Desired>,
        world: &World<'_>,
        for_show: bool,
    ) -> Plan {
        self.observed.namespaces.clear();
        let is_there = world
            .namespaces
            .is_some_and(|all| all.contains(&app.namespace));
        // What we made is there before the watch says so; once it has, only the watch counts.
        self.namespace_made &= !is_there;
        if is_there || self.namespace_made {
            self.observed.namespaces.insert(app.namespace.clone());
        }
        let mut elsewhere = Elsewhere::default();
        let mut wanted = BTreeSet::new();
        for object in desired.iter().flat_map(|desired| &desired.objects) {
            wanted.insert(&object.id);
            if let Some((key, name)) = (world.owner)(&object.id)
                && key != self.key
            {
                elsewhere.owned.insert(object.id.clone(), name);
            }
        }
        for id in self
            .inventory
            .entries
            .keys()
            .filter(|id| !wanted.contains(id))
        {
            if let Some(name) = (world.wanted_by)(&self.key, id) {
                elsewhere.wanted.insert(id.clone(), name);
            }
        }
        let kinds = |kind: &lockstep_manifest::GroupKind| {
            (world.kinds)(kind).unwrap_or_else(|| {
                KindView::Unobserved(Fault::new(
                    Blame::Environment,
                    "unknown.first_check",
                    format!("{kind} has not been looked at yet"),
                ))
            })
        };
        let facts = Facts {
            kinds: &kinds,
            elsewhere: &elsewhere,
            others_looking: world.others_looking,
            failures: &self.failures,
            touched: &self.touched,
            drift: &self.drift,
            namespace_is_as_wanted: self.namespace_is_as_wanted(app),
            asked_since: if mode == Mode::Leave {
                app.leaving_since
            } else {
                self.next
                    .as_ref()
                    .or(self.enforced.as_ref())
                    .map(|slot| slot.seen_at)
            },
            approved: &self.approval.deletions,
            // What is shown is what a sync would do, whatever runs.
            run: self.run.as_ref().map(|run| &run.at).filter(|_| !for_show),
            barred: self.barred().filter(|_| !for_show),
            now: world.now,
        };
        plan(app, mode, desired, &self.observed, &self.inventory, &facts)
    }

    /// Was the namespace given the labels and annotations that the app wants on it? Where it wants none, it was.
    fn namespace_is_as_wanted(&self, app: &App) -> bool {
        let wants_none = app.namespace_labels.is_empty() && app.namespace_annotations.is_empty();
        let given = self.record.namespace.as_str();
        (wants_none && given.is_empty()) || given == lockstep_plan::namespace_digest(app).0
    }

    /// May no sync of the enforced commit begin by itself?
    pub(crate) fn barred(&self) -> Option<Barred> {
        let (slot, attempt) = (self.enforced.as_ref()?, self.attempt.as_ref()?);
        let is_of = attempt.revision == slot.commit.revision && attempt.spec == slot.spec;
        is_of.then_some(attempt.barred)
    }

    /// Makes the plan that people look at: what a sync would do now.
    pub(crate) fn show(&mut self, app: &Arc<App>, world: &World<'_>, effects: &mut Vec<Effect>) {
        let slot = self.next.clone().or_else(|| self.enforced.clone());
        let Some(slot) = slot else { return };
        let made = self.plan_for(app, Mode::Sync, Some(&slot.desired), world, true);
        self.show_plan(made, effects);
        self.refresh_ledger();
    }

    pub(crate) fn show_plan(&mut self, mut made: Plan, effects: &mut Vec<Effect>) {
        let digest = made.digest();
        if self.probed_plan.as_ref() != Some(&digest) {
            self.probed_plan = Some(digest.clone());
            self.probed.clear();
            let steps: Vec<Step> = made
                .steps()
                .filter(|step| {
                    matches!(step.action, Action::Apply(_))
                        // What is to be made may be there already, made by somebody else.
                        && matches!(step.reason, Reason::Create | Reason::Update | Reason::Heal)
                })
                .take(PROBES)
                .cloned()
                .collect();
            if !steps.is_empty() {
                effects.push(Effect::Probe {
                    plan: digest,
                    steps,
                });
            }
        }
        let waiting = made.waiting.iter_mut().map(|(step, _)| step);
        for step in made.front.iter_mut().chain(waiting) {
            if let Some(foreseen) = self.probed.get(&step.id) {
                step.changes.clone_from(&foreseen.changes);
                step.taken.clone_from(&foreseen.taken);
            }
        }
        self.shown = Some(Arc::new(made));
    }
}
