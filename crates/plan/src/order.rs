//! What waits for what, as edges: waves and kinds, a namespace before its content, a definition before its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_manifest::{GroupKind, Gvk, Health, ObjectId, kinds};

use crate::desired::Wanted;
use crate::make::{Facts, Mode};
use crate::seen::{Inventory, KindView, Observed};
use crate::step::{Action, Reason, Step, Unstepped, Waiting};

/// Where something stands in the order: its wave, and the rank of its kind in there.
type Place = (i32, u16);

/// What orders need to be told of a plan in the making.
pub(crate) struct Ordering<'a> {
    pub(crate) mode: Mode,
    pub(crate) objects: &'a [Arc<Wanted>],
    pub(crate) observed: &'a Observed,
    pub(crate) inventory: &'a Inventory,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) waiting: &'a [(Step, Waiting)],
    pub(crate) unstepped: &'a BTreeMap<ObjectId, Unstepped>,
}

impl Ordering<'_> {
    /// What each of these steps waits for, in their order; none belongs to the front.
    pub(crate) fn edges(&self, steps: &[Step]) -> Vec<Option<Waiting>> {
        let definitions = definitions(self.objects);
        let places = places(self.objects, &definitions);
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
                Action::Prune { .. } | Action::Release => None,
            })
            .collect();
        let wave = self.first_that_holds_waves(steps, &places);
        // What waits by itself (for a namespace, for a retry) does not hold up the kinds after it.
        let mut first_kind: BTreeMap<i32, (u16, &ObjectId)> = BTreeMap::new();
        for (step, need) in steps.iter().zip(&needs) {
            if let (Action::Apply(_), None, Some(&(wave, rank))) =
                (&step.action, need, places.get(&step.id))
            {
                let first = first_kind.entry(wave).or_insert((rank, &step.id));
                *first = (*first).min((rank, &step.id));
            }
        }
        let unapplied = self.first_unapplied(steps);
        let last_deletion = self.last_deletion(steps);
        let edges = steps
            .iter()
            .zip(needs)
            .map(|(step, need)| match &step.action {
                Action::Release => None,
                Action::Prune { .. } => unapplied.clone().map(Waiting::Applied).or_else(|| {
                    let (place, last) = last_deletion.as_ref()?;
                    (*place > place_of(step)).then(|| Waiting::Gone(last.clone()))
                }),
                Action::Apply(_) => need.or_else(|| {
                    let is_drift = matches!(step.reason, Reason::Heal | Reason::Recreate);
                    if self.mode == Mode::Heal && is_drift {
                        return None; // putting back what stood there before waits for nobody
                    }
                    let mine = *places.get(&step.id)?;
                    let held = wave.as_ref().filter(|(place, _)| place.0 < mine.0);
                    if let Some((_, waiting)) = held {
                        return Some(waiting.clone());
                    }
                    let (rank, first) = first_kind.get(&mine.0)?;
                    (*rank < mine.1).then(|| Waiting::Applied((*first).clone()))
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

    /// The first object that is not applied, or applied in this sync and not healthy: later waves wait for it.
    fn first_that_holds_waves(
        &self,
        steps: &[Step],
        places: &BTreeMap<&ObjectId, Place>,
    ) -> Option<(Place, Waiting)> {
        // Drift that waits for its time was applied once; it is no wave's business.
        let retries = self
            .waiting
            .iter()
            .filter(|(_, why)| !matches!(why, Waiting::HealAt(_)));
        let pending: BTreeSet<&ObjectId> = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .map(|step| &step.id)
            .collect();
        let held = self.objects.iter().filter_map(|wanted| {
            let id = &wanted.id;
            let is_stuck = matches!(
                self.unstepped.get(id),
                Some(
                    Unstepped::Failed(_)
                        | Unstepped::NotServed(_)
                        | Unstepped::Unobserved(_)
                        | Unstepped::Terminating
                )
            );
            let waiting = if pending.contains(id) || is_stuck {
                Waiting::Applied(id.clone())
            } else if self.facts.touched.contains(id) && !self.is_healthy(id) {
                Waiting::Healthy(id.clone())
            } else {
                return None;
            };
            Some((*places.get(id)?, id, waiting))
        });
        held.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)))
            .map(|(place, _, waiting)| (place, waiting))
    }

    /// Something that git wants and that is not applied yet: nothing is deleted before, lest what takes an object's
    /// place cannot be created and neither is there.
    fn first_unapplied(&self, steps: &[Step]) -> Option<ObjectId> {
        let retries = self
            .waiting
            .iter()
            .filter(|(_, why)| matches!(why, Waiting::Retry(_)));
        let is_apply = |step: &&Step| matches!(step.action, Action::Apply(_));
        let planned = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .find(is_apply);
        planned.map(|step| step.id.clone()).or_else(|| {
            let stuck = self.objects.iter().find(|wanted| {
                matches!(
                    self.unstepped.get(&wanted.id),
                    Some(Unstepped::Failed(_) | Unstepped::NotServed(_) | Unstepped::Unobserved(_))
                )
            });
            stuck.map(|wanted| wanted.id.clone())
        })
    }

    /// The last deletion that is not done: the ones before it wait.
    fn last_deletion(&self, steps: &[Step]) -> Option<(Place, ObjectId)> {
        let retries = self
            .waiting
            .iter()
            .filter(|(_, why)| matches!(why, Waiting::Retry(_)));
        let planned = steps
            .iter()
            .chain(retries.map(|(step, _)| step))
            .filter(|step| matches!(step.action, Action::Prune { .. }))
            .map(|step| (place_of(step), step.id.clone()));
        let wanted: BTreeSet<&ObjectId> = self.objects.iter().map(|wanted| &wanted.id).collect();
        let under_way = self.inventory.entries.iter().filter(|(id, _)| {
            !wanted.contains(id)
                && matches!(
                    self.unstepped.get(*id),
                    Some(Unstepped::Terminating | Unstepped::Failed(_) | Unstepped::Unobserved(_))
                )
        });
        let under_way =
            under_way.map(|(id, entry)| ((entry.wave, kinds::rank(&id.kind)), id.clone()));
        planned
            .chain(under_way)
            .max_by(|a, b| (a.0, &b.1).cmp(&(b.0, &a.1)))
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

/// Where each object stands. As in Argo CD a namespace is moved before the first object that lives in it, and a
/// definition before the first of its kind, whatever their own waves: otherwise the two could wait for each other.
fn places<'a>(
    objects: &'a [Arc<Wanted>],
    definitions: &BTreeMap<GroupKind, &'a Wanted>,
) -> BTreeMap<&'a ObjectId, Place> {
    let mut places: BTreeMap<&ObjectId, Place> = objects
        .iter()
        .map(|wanted| (&wanted.id, (wanted.wave, kinds::rank(&wanted.id.kind))))
        .collect();
    for wanted in objects {
        let Some(&(wave, rank)) = places.get(&wanted.id) else {
            continue;
        };
        let namespace = namespace_id(&wanted.id.namespace);
        let definition = definitions.get(&wanted.id.group_kind()).map(|crd| &crd.id);
        for before in [Some(&namespace), definition].into_iter().flatten() {
            if let Some(place) = places.get_mut(before) {
                *place = (place.0.min(wave), place.1.min(rank));
            }
        }
    }
    places
}

fn place_of(step: &Step) -> Place {
    (step.wave, kinds::rank(&step.id.kind))
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
