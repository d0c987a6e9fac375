//! What waits for what, as edges: phases, waves and kinds, a namespace before its content, a definition before its
//! objects, a hook before what comes after it.
//!
//! Source of the order: `argo-cd.md` 2.2; that a deletion comes after what is applied in the same wave is our own, lest
//! what takes an object's place cannot be created and neither is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_manifest::marks::HookPhase;
use lockstep_manifest::{GroupKind, Gvk, Health, ObjectId, kinds};

use crate::desired::Wanted;
use crate::hook::{Hook, HookState};
use crate::make::{Facts, Mode};
use crate::seen::{Inventory, KindView, Observed};
use crate::step::{Action, Reason, Step, Unstepped, Waiting};

/// A phase and a wave in it: what stands in one begins when the one before is done.
type Stage = (HookPhase, i32);

/// Where something stands in the order: its stage, and the rank of its kind in there. Deletions have no rank.
type Place = (Stage, u16);

/// What orders need to be told of a plan in the making.
pub(crate) struct Ordering<'a> {
    pub(crate) mode: Mode,
    pub(crate) objects: &'a [Arc<Wanted>],
    pub(crate) hooks: &'a [Arc<Hook>],
    pub(crate) observed: &'a Observed,
    pub(crate) inventory: &'a Inventory,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) waiting: &'a [(Step, Waiting)],
    pub(crate) unstepped: &'a BTreeMap<ObjectId, Unstepped>,
    /// In which wave each deletion is.
    pub(crate) stages: &'a BTreeMap<ObjectId, i32>,
}

/// Something that is not done, and what those after it wait for.
struct Holder {
    stage: Stage,
    on: Waiting,
}

impl Ordering<'_> {
    /// What each of these steps waits for, in their order; none belongs to the front.
    pub(crate) fn edges(&self, steps: &[Step]) -> Vec<Option<Waiting>> {
        let definitions = definitions(self.objects);
        let places = self.places(&definitions);
        let applies = |step: &&Step| matches!(step.action, Action::Apply(_));
        let pending: BTreeSet<&ObjectId> = steps
            .iter()
            .chain(self.waiting.iter().map(|(step, _)| step))
            .filter(applies)
            .map(|step| &step.id)
            .collect();
        let needs: Vec<Option<Waiting>> = steps
            .iter()
            .map(|step| match &step.action {
                Action::Apply(wanted) => self.need(wanted, step, &pending, &definitions),
                Action::Run { hook, .. } => self.need(&hook.wanted, step, &pending, &definitions),
                Action::Prune { .. } | Action::Release | Action::LetGo { .. } => None,
            })
            .collect();
        let first = self.first_holder(steps, &places);
        // What waits by itself (for a namespace, for a retry) does not hold up the kinds after it.
        let mut first_kind: BTreeMap<Stage, (u16, &ObjectId)> = BTreeMap::new();
        for (step, need) in steps.iter().zip(&needs) {
            if let (Action::Apply(_), None, Some(&(stage, rank))) =
                (&step.action, need, places.get(&step.id))
            {
                let first = first_kind.entry(stage).or_insert((rank, &step.id));
                *first = (*first).min((rank, &step.id));
            }
        }
        let unapplied = self.first_unapplied(steps, &places);
        let deletion = self.first_deletion(steps);
        let held = |stage: Stage| {
            let before = first.as_ref().filter(|holder| holder.stage < stage);
            before.map(|holder| holder.on.clone())
        };
        let edges = steps
            .iter()
            .zip(needs)
            .map(|(step, need)| match &step.action {
                Action::Release | Action::LetGo { .. } => None,
                Action::Prune { .. } if step.reason == Reason::HookOver => None,
                Action::Prune { .. } => {
                    let stage = self.stage_of(step);
                    let beside = unapplied.as_ref().filter(|(first, _)| *first <= stage);
                    let order = deletion.as_ref();
                    let order = order.filter(|(place, _)| *place < self.place_of_deletion(step));
                    held(stage)
                        .or_else(|| beside.map(|(_, id)| Waiting::Applied(id.clone())))
                        .or_else(|| order.map(|(_, id)| Waiting::Gone(id.clone())))
                }
                Action::Run { .. } => need.or_else(|| held(self.stage_of(step))),
                Action::Apply(_) => need.or_else(|| {
                    let is_drift = matches!(step.reason, Reason::Heal | Reason::Recreate);
                    if self.mode == Mode::Heal && is_drift {
                        return None; // putting back what stood there before waits for nobody
                    }
                    if step.reason == Reason::Namespace {
                        return None;
                    }
                    let (stage, rank) = *places.get(&step.id)?;
                    held(stage).or_else(|| {
                        let (lower, first) = first_kind.get(&stage)?;
                        (*lower < rank).then(|| Waiting::Applied((*first).clone()))
                    })
                }),
            });
        edges.collect()
    }

    /// What an object cannot do without, whatever its wave: its namespace, its definition, a server that serves it.
    fn need(
        &self,
        wanted: &Wanted,
        step: &Step,
        pending: &BTreeSet<&ObjectId>,
        definitions: &BTreeMap<GroupKind, &Wanted>,
    ) -> Option<Waiting> {
        if step.reason == Reason::Namespace {
            return None;
        }
        let namespace = namespace_id(&wanted.id.namespace);
        if !wanted.id.namespace.is_empty() && pending.contains(&namespace) {
            return Some(Waiting::Applied(namespace));
        }
        let definition = definitions.get(&wanted.id.group_kind());
        let definition = definition.filter(|crd| !self.facts.elsewhere.owned.contains_key(&crd.id));
        if let Some(crd) = definition {
            if pending.contains(&crd.id) {
                return Some(Waiting::Applied(crd.id.clone()));
            }
            if !self.is_healthy(&crd.id) {
                return Some(Waiting::Healthy(crd.id.clone()));
            }
        }
        let is_served = (self.facts.kinds)(&wanted.id.group_kind()) != KindView::NotServed;
        (!is_served).then(|| Waiting::Served(wanted.gvk.clone()))
    }

    /// The first thing in the order that is not done: what stands in later stages waits for it. An object is done when
    /// it is applied and, if that was in this sync, healthy; a hook when it has succeeded; a deletion when it is gone.
    fn first_holder(&self, steps: &[Step], places: &BTreeMap<&ObjectId, Place>) -> Option<Holder> {
        let objects = self.first_open_object(steps, places);
        let hooks = self.first_open_hook(steps);
        let deletion = self.first_deletion(steps).map(|((stage, ..), id)| Holder {
            stage,
            on: Waiting::Gone(id),
        });
        let all = [objects, hooks, deletion].into_iter().flatten();
        all.min_by_key(|holder| holder.stage)
    }

    fn first_open_object(
        &self,
        steps: &[Step],
        places: &BTreeMap<&ObjectId, Place>,
    ) -> Option<Holder> {
        // Drift that waits for its time was applied once, and what is not part of the sync holds up nothing of it.
        let retries = self.waiting.iter().filter(|(_, on)| on.goes_on());
        let pending: BTreeSet<&ObjectId> = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .filter(|step| matches!(step.action, Action::Apply(_)))
            .map(|step| &step.id)
            .collect();
        let held = self.objects.iter().filter_map(|wanted| {
            let id = &wanted.id;
            let is_stuck = self.unstepped.get(id).is_some_and(|why| {
                why.is_stuck()
                    || matches!(why, Unstepped::Unobserved(_) | Unstepped::Terminating(_))
            });
            let on = if pending.contains(id) || is_stuck {
                Waiting::Applied(id.clone())
            } else if self.facts.touched.contains(id) && !self.is_healthy(id) {
                Waiting::Healthy(id.clone())
            } else {
                return None;
            };
            Some((*places.get(id)?, id, on))
        });
        let first = held.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        first.map(|((stage, _), _, on)| Holder { stage, on })
    }

    fn first_open_hook(&self, steps: &[Step]) -> Option<Holder> {
        let planned = steps
            .iter()
            .chain(self.waiting.iter().map(|(step, _)| step))
            .filter(|step| matches!(step.action, Action::Run { .. }))
            .map(|step| ((step.phase, step.wave), step.id.clone()));
        // What failed stands in the way, too; so does what could not even be made.
        let failed = self.facts.run.into_iter().flat_map(|run| {
            let is_failed = |state: &HookState| matches!(state, HookState::Failed(_));
            let failed = run
                .hooks
                .iter()
                .filter(move |(_, hook)| is_failed(&hook.state));
            failed.map(|((phase, id), _)| ((*phase, i32::MIN), id.clone()))
        });
        let refused = self.hooks.iter().filter_map(|hook| {
            let id = &hook.wanted.id;
            let is_stuck = self.unstepped.get(id).is_some_and(Unstepped::is_stuck);
            is_stuck.then(|| ((hook.phase, hook.wanted.wave), id.clone()))
        });
        let first = planned.chain(failed).chain(refused).min();
        first.map(|(stage, id)| Holder {
            stage,
            on: Waiting::Hook(id),
        })
    }

    /// The first stage in which something that git wants is not applied yet: nothing is deleted there or later before,
    /// lest what takes an object's place cannot be created and neither is there.
    fn first_unapplied(
        &self,
        steps: &[Step],
        places: &BTreeMap<&ObjectId, Place>,
    ) -> Option<(Stage, ObjectId)> {
        let retries = self
            .waiting
            .iter()
            .filter(|(_, on)| matches!(on, Waiting::Retry(_)));
        let is_apply = |step: &&Step| matches!(step.action, Action::Apply(_));
        let planned = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .filter(is_apply)
            .map(|step| &step.id);
        let stuck = self.objects.iter().map(|wanted| &wanted.id).filter(|id| {
            matches!(
                self.unstepped.get(*id),
                Some(Unstepped::Failed(_) | Unstepped::NotServed(_) | Unstepped::Unobserved(_))
            )
        });
        let found = planned.chain(stuck).map(|id| {
            let stage = places
                .get(id)
                .map_or((HookPhase::PreSync, i32::MIN), |at| at.0);
            (stage, id)
        });
        found.min().map(|(stage, id)| (stage, id.clone()))
    }

    /// The first deletion that is not done: the others wait until it is gone.
    fn first_deletion(&self, steps: &[Step]) -> Option<((Stage, u16), ObjectId)> {
        let retries = self
            .waiting
            .iter()
            .filter(|(_, on)| matches!(on, Waiting::Retry(_)));
        let planned = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .filter(|step| {
                matches!(step.action, Action::Prune { .. }) && step.reason != Reason::HookOver
            })
            .map(|step| (self.place_of_deletion(step), step.id.clone()));
        let wanted: BTreeSet<&ObjectId> = self.objects.iter().map(|wanted| &wanted.id).collect();
        let under_way = self.inventory.entries.iter().filter(|(id, entry)| {
            let is_going = matches!(
                self.unstepped.get(*id),
                Some(Unstepped::Terminating(_) | Unstepped::Failed(_) | Unstepped::Unobserved(_))
            );
            is_going && !wanted.contains(id) && !(entry.is_hook && self.mode != Mode::Leave)
        });
        let under_way = under_way.map(|(id, entry)| {
            let wave = self.stages.get(id).copied().unwrap_or(entry.wave);
            let place = ((HookPhase::Sync, wave), u16::MAX - kinds::rank(&id.kind));
            (place, id.clone())
        });
        planned.chain(under_way).min()
    }

    /// In the reverse order of kinds, in its stage.
    fn place_of_deletion(&self, step: &Step) -> (Stage, u16) {
        (self.stage_of(step), u16::MAX - kinds::rank(&step.id.kind))
    }

    fn stage_of(&self, step: &Step) -> Stage {
        let wave = self.stages.get(&step.id).copied();
        match step.action {
            Action::Prune { .. } => (step.phase, wave.unwrap_or(step.wave)),
            _ => (step.phase, step.wave),
        }
    }

    /// Where each object stands. As in Argo CD a namespace is moved before the first that lives in it, and a definition
    /// before the first of its kind, whatever their own phases and waves: otherwise the two could wait for each other.
    fn places(&self, definitions: &BTreeMap<GroupKind, &Wanted>) -> BTreeMap<&ObjectId, Place> {
        let of_objects = self
            .objects
            .iter()
            .map(|wanted| (&wanted.id, (HookPhase::Sync, wanted.wave)));
        let of_hooks = self
            .hooks
            .iter()
            .map(|hook| (&hook.wanted.id, (hook.phase, hook.wanted.wave)));
        let mut places: BTreeMap<&ObjectId, Place> = of_objects
            .clone()
            .map(|(id, stage)| (id, (stage, kinds::rank(&id.kind))))
            .collect();
        for (id, stage) in of_objects.chain(of_hooks) {
            let rank = kinds::rank(&id.kind);
            let namespace = namespace_id(&id.namespace);
            let definition = definitions.get(&id.group_kind()).map(|crd| &crd.id);
            for before in [Some(&namespace), definition].into_iter().flatten() {
                if let Some(place) = places.get_mut(before) {
                    *place = (place.0.min(stage), place.1.min(rank));
                }
            }
        }
        places
    }

    fn is_healthy(&self, id: &ObjectId) -> bool {
        self.observed
            .objects
            .get(id)
            .is_some_and(|seen| matches!(seen.health, Health::Healthy | Health::None))
    }
}

/// The kinds that definitions among these objects bring.
pub(crate) fn definitions(objects: &[Arc<Wanted>]) -> BTreeMap<GroupKind, &Wanted> {
    objects
        .iter()
        .filter(|wanted| {
            wanted
                .id
                .group_kind()
                .is("apiextensions.k8s.io", "CustomResourceDefinition")
        })
        .map(|wanted| {
            let kind = wanted.manifest.text(&["spec", "names", "kind"]);
            (
                GroupKind::new(wanted.manifest.text(&["spec", "group"]), kind),
                wanted.as_ref(),
            )
        })
        .collect()
}

/// Is this kind neither served nor brought by a definition in git? Then its objects are held.
pub(crate) fn nobody_serves(
    wanted: &Wanted,
    facts: &Facts<'_>,
    definitions: &BTreeMap<GroupKind, &Wanted>,
) -> Option<Gvk> {
    let kind = wanted.id.group_kind();
    let is_held = !definitions.contains_key(&kind) && (facts.kinds)(&kind) == KindView::NotServed;
    is_held.then(|| wanted.gvk.clone())
}

pub(crate) fn namespace_id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}
