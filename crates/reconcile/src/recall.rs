//! What is remembered of an app when its life begins: by its record, else by the marks on its objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_manifest::ObjectId;
use lockstep_plan::{Barred, Entry};

use crate::event::{Effect, Recalled};
use crate::life::Life;
use crate::run::Attempt;
use crate::view::{HistoryView, LogKind, LogView};

impl Life {
    pub(crate) fn recalled(
        &mut self,
        recalled: Recalled,
        history: Vec<HistoryView>,
        effects: &mut Vec<Effect>,
    ) {
        let is_first = !self.record.claimed;
        self.record.known = true;
        self.record.claimed = false;
        self.record.resource_version = recalled.resource_version;
        self.record.dirty |= recalled.lags;
        self.record.order = self.record.order.max(recalled.order);
        self.record.revision = recalled.revision;
        self.record.spec = recalled.spec;
        self.record.bases = recalled.bases;
        self.record.bases_are_gone = false;
        self.record.run = recalled.run.as_ref().map(|run| run.run.id.clone());
        // What we know in memory and the record does not stays: the inventory only ever grows here.
        for (id, entry) in recalled.entries {
            self.inventory_changes.push((id.clone(), true));
            let mine = self.inventory.entries.entry(id).or_default();
            if mine.digest.is_none() {
                let uid = mine.uid.take();
                *mine = entry;
                mine.uid = mine.uid.take().or(uid);
            }
        }
        // What carries our mark and is named in the record, though a crash kept its uid out of it, is ours as well:
        // the watch may have said it before the record was read.
        for (id, entry) in &mut self.inventory.entries {
            if entry.uid.is_none()
                && let Some(seen) = self.observed.objects.get(id)
            {
                entry.uid = Some(seen.uid.clone());
                self.record.dirty = true;
            }
        }
        if self.history.is_empty() {
            self.live = history.first().map(|newest| newest.commit.clone());
            self.history = history.into();
        }
        if recalled.is_lost {
            let text = "the record of what this app may have touched is lost; its objects are looked for by their marks";
            self.note_at_start(text);
            effects.push(Effect::Find);
        }
        if is_first && self.run.is_none() {
            self.record.bundle = recalled.bundle;
            self.record.namespace = recalled.namespace;
            self.log = recalled.log.into();
            self.rollback = recalled.rollback;
            self.attempt = self.attempted_before();
            if let Some(run) = recalled.run {
                self.resume(run);
            }
        }
    }

    /// The last sync, if it failed: by itself it is not tried again after a restart either.
    fn attempted_before(&self) -> Option<Attempt> {
        let is_sync = |entry: &&LogView| matches!(entry.kind, LogKind::Sync | LogKind::Rollback);
        let last = self.log.iter().find(is_sync).filter(|last| !last.well)?;
        Some(Attempt {
            revision: last.revision.clone()?,
            spec: last.spec.clone(),
            why: last.text.clone(),
            barred: Barred::Failed,
        })
    }

    /// The objects that carry our mark: what of them no record names is ours, by its mark alone.
    pub(crate) fn found(&mut self, entries: BTreeMap<ObjectId, Entry>, now: Timestamp) {
        let mut count = 0;
        for (id, entry) in entries {
            if !self.inventory.entries.contains_key(&id) {
                self.inventory_changes.push((id.clone(), true));
                self.inventory.entries.insert(id, entry);
                count += 1;
            }
        }
        if count > 0 {
            self.record.dirty = true;
            let text = format!(
                "{count} objects were found by their marks; none of them is deleted without a person"
            );
            self.note(now, "lockstep", text);
        }
    }

    fn note_at_start(&mut self, text: &str) {
        let at = self.word.1;
        self.note(at, "lockstep", text.to_owned());
    }
}
