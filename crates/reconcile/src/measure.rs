//! What counts as drift has changed: fingerprints taken by other rules say nothing, so the server is asked.
//!
//! A fingerprint leaves out what is ignored. When `ignoreDifferences` changes, what the server answered to our last
//! apply and what is live are known by the old rules only, and comparing across rules would call the difference of
//! rules drift: a value that was to be left alone would be put back. A dry run of the same apply, and a fresh read, say
//! both by the new rules, without a write.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_manifest::ObjectId;
use lockstep_plan::Wanted;

use crate::event::{Effect, Measured, Slot};
use crate::life::Life;

impl Life {
    /// Notes whose fingerprints cannot be trusted once `new` is what the cluster is kept at: where the rules are not
    /// those of `old`, and, after a restart, wherever they may not be those of the record.
    pub(crate) fn doubt(&mut self, old: Option<&Slot>, new: &Slot) {
        let respecified =
            old.is_none() && !self.record.spec.is_empty() && self.record.spec != new.spec;
        for wanted in &new.desired.objects {
            let was = old.and_then(|slot| slot.desired.get(&wanted.id));
            let changed = was.is_some_and(|was| was.ignored != wanted.ignored);
            if changed && let Some(seen) = self.observed.objects.get_mut(&wanted.id) {
                seen.fingerprint = None;
            }
            if changed || respecified {
                self.doubtful.insert(wanted.id.clone());
            }
        }
    }

    /// Asks how the doubtful objects compare by the rules of now; true while an answer is awaited. What is to be applied
    /// anyway, or compares as equal, needs no asking.
    pub(crate) fn measure(&mut self, slot: &Slot, effects: &mut Vec<Effect>) -> bool {
        if !self.doubtful.is_empty() {
            let doubtful = std::mem::take(&mut self.doubtful);
            let differs = |wanted: &&Arc<Wanted>| {
                let entry = self.inventory.entries.get(&wanted.id);
                let seen = self.observed.objects.get(&wanted.id);
                matches!((entry, seen), (Some(entry), Some(seen))
                    if entry.digest.as_ref() == Some(&wanted.digest)
                        && entry.seen != seen.fingerprint
                        && !seen.terminating)
            };
            let asked: Vec<Arc<Wanted>> = slot
                .desired
                .objects
                .iter()
                .filter(|wanted| doubtful.contains(&wanted.id))
                .filter(differs)
                .cloned()
                .collect();
            if !asked.is_empty() {
                self.measuring
                    .extend(asked.iter().map(|wanted| wanted.id.clone()));
                effects.push(Effect::Measure(asked));
            }
        }
        !self.measuring.is_empty()
    }

    /// The server said how they compare; where it would not, they count as they did before, and an apply decides.
    pub(crate) fn measured(&mut self, found: BTreeMap<ObjectId, Option<Measured>>, now: Timestamp) {
        for (id, measured) in found {
            self.measuring.remove(&id);
            let Some(measured) = measured else { continue };
            let entry = self.inventory.entries.get_mut(&id);
            let Some(entry) = entry.filter(|entry| {
                entry.digest.as_ref() == Some(&measured.digest)
                    && entry.uid.as_ref() == Some(&measured.seen.uid)
            }) else {
                continue; // it was applied, or made again, in the meantime
            };
            if entry.seen != measured.answered {
                entry.seen = measured.answered;
                self.record.dirty = true;
            }
            let known = self.observed.objects.get(&id);
            if known.is_some_and(|known| known.resource_version <= measured.seen.resource_version) {
                self.observed.objects.insert(id.clone(), measured.seen);
            }
            self.clock_drift(&id, None, now);
        }
    }
}
