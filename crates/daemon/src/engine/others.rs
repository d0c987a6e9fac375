//! What one app's news mean to the others: siblings of one branch, and objects that several want.

use std::sync::Arc;

use lockstep_app::app::{AppKey, RemoteUrl, Revision};
use lockstep_manifest::ObjectId;
use lockstep_plan::Desired;
use lockstep_reconcile::{Event, Look};

use super::Engine;

impl Engine {
    /// One app has found a new commit: the others of its branch look as well, before this one acts on it. The first
    /// rouses all; one that was looking then and comes back with an older answer is told so, once.
    pub(super) fn rouse_siblings(&mut self, key: &AppKey, revision: &Revision) {
        let source = self.names.get(key).and_then(|app| app.sources.first());
        let Some((life, source)) = self.lives.get(key).zip(source) else {
            return;
        };
        let branch = (source.remote.clone(), source.target.clone());
        let found = self.roused.get(&branch);
        if found == Some(revision) {
            return;
        }
        if life.target() == Some(revision) {
            if found.is_some() {
                self.roused.remove(&branch);
                self.step(key, Event::Poke(Look::Source));
            }
            return;
        }
        let siblings: Vec<AppKey> = self
            .names
            .values()
            .filter(|app| app.key != *key)
            .filter(|app| {
                let source = app.sources.first();
                source.is_some_and(|s| s.remote == branch.0 && s.target == branch.1)
            })
            .map(|app| app.key.clone())
            .filter(|other| {
                self.lives.get(other).is_some_and(|life| {
                    !life.is_looking() && life.target().is_some_and(|known| known != revision)
                })
            })
            .collect();
        self.roused.insert(branch, revision.clone());
        for sibling in siblings {
            self.step(&sibling, Event::Poke(Look::Source));
        }
    }

    pub(super) fn remote_of(&self, key: &AppKey) -> Option<RemoteUrl> {
        let source = self.names.get(key)?.sources.first()?;
        Some(source.remote.clone())
    }

    /// Keeps the list of who is finding out what its commit wants; when the last of a remote knows, the others may
    /// delete what nobody has taken over.
    pub(super) fn note_looking(&mut self, key: &AppKey, is_looking: bool) {
        let Some(remote) = self.remote_of(key) else {
            return;
        };
        if is_looking {
            self.looking.entry(remote).or_default().insert(key.clone());
            return;
        }
        let Some(keys) = self.looking.get_mut(&remote) else {
            return;
        };
        if keys.remove(key) && keys.is_empty() {
            self.looking.remove(&remote);
            let waiting: Vec<AppKey> = self
                .lives
                .iter()
                .filter(|(_, life)| life.waits_for_others())
                .map(|(key, _)| key.clone())
                .collect();
            for key in waiting {
                self.wakes.set(&key, self.now);
            }
        }
    }

    /// Which apps want which objects: for handing over, and for saying who was first.
    pub(super) fn register_wants(&mut self, key: &AppKey, desired: Option<Arc<Desired>>) {
        if let Some(old) = self.wants.remove(key) {
            for wanted in &old.objects {
                if let Some(keys) = self.wanted.get_mut(&wanted.id) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.wanted.remove(&wanted.id);
                    }
                }
            }
        }
        if let Some(desired) = desired {
            for wanted in &desired.objects {
                self.wanted
                    .entry(wanted.id.clone())
                    .or_default()
                    .insert(key.clone());
            }
            self.wants.insert(key.clone(), desired);
        }
    }

    pub(super) fn register_inventory(&mut self, key: &AppKey, changes: Vec<(ObjectId, bool)>) {
        for (id, gained) in changes {
            if gained {
                self.owners.entry(id).or_insert_with(|| key.clone());
                continue;
            }
            if self.owners.get(&id) == Some(key) {
                self.owners.remove(&id);
            }
            let others: Vec<AppKey> = self
                .wanted
                .get(&id)
                .into_iter()
                .flatten()
                .filter(|other| *other != key)
                .cloned()
                .collect();
            for other in others {
                // It is free now: whoever has it in git looks again, after this turn.
                self.wakes.set(&other, self.now);
            }
        }
    }

    pub(super) fn poke_all(&mut self, look: Look) {
        let keys: Vec<AppKey> = self.lives.keys().cloned().collect();
        for key in keys {
            self.step(&key, Event::Poke(look));
        }
    }
}
