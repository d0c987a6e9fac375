//! Watches: what they say, when they end, and what the world makes of a server's events.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_app::app::AppKey;
use lockstep_app::{Blame, Fault};
use lockstep_manifest::{GroupKind, Manifest, marks};
use lockstep_plan::{KindView, Seen};
use lockstep_reconcile::{Event, Look};

use super::{Item, Lane, World};
use crate::server::Said;

impl World {
    /// Makes a watch end, or begin anew with a list.
    pub(crate) fn watch(&mut self, kind: &GroupKind, works: bool) {
        if works && self.unseen.remove(kind) {
            self.watched.remove(kind);
            self.lanes.remove(&Lane::Kind(kind.clone()));
            self.observe(kind);
        } else if !works && self.watched.contains(kind) {
            self.unseen.insert(kind.clone());
            self.lanes.remove(&Lane::Kind(kind.clone()));
            let fault = Fault::new(Blame::Environment, "unknown.cluster", "the watch broke");
            self.kinds.insert(kind.clone(), KindView::Unobserved(fault));
            self.poke(Look::Cluster);
        }
    }

    pub(super) fn spread_events(&mut self) {
        for (kind, said) in std::mem::take(&mut self.server.events) {
            if let Said::Is(live) = &said {
                let id = live.id();
                let is_slow =
                    matches!(&*id.kind, "Deployment" | "CustomResourceDefinition" | "Job");
                let is_terminating = live.is_terminating();
                if is_slow && !self.never_ready.contains(&id.name) {
                    self.lane(Lane::Controllers)
                        .push_back(Item::Ready(id.clone()));
                }
                if self.server.finalizers && is_terminating {
                    self.lane(Lane::Controllers).push_back(Item::LetGo(id));
                }
            }
            if kind.is("", "Namespace") {
                let now = self.server.namespaces();
                self.lane(Lane::Namespaces).push_back(Item::Namespaces(now));
            }
            if self.watched.contains(&kind) && !self.unseen.contains(&kind) {
                let item = Item::Watched(kind.clone(), said);
                self.lane(Lane::Kind(kind)).push_back(item);
            }
        }
    }

    pub(super) fn observe(&mut self, kind: &GroupKind) {
        if !self.server.serves(kind) {
            self.kinds.insert(kind.clone(), KindView::NotServed);
            self.poke_later();
        } else if self.watched.insert(kind.clone()) {
            let said = self.server.list(kind);
            let items = said
                .into_iter()
                .map(|said| Item::Watched(kind.clone(), said));
            let items: Vec<Item> = items.collect();
            self.lane(Lane::Kind(kind.clone())).extend(items);
        }
    }

    fn poke_later(&mut self) {
        for key in self.actors.keys() {
            self.wakes.insert(key.clone(), self.now);
        }
    }

    pub(super) fn watched_said(&mut self, kind: &GroupKind, said: Said) {
        match said {
            Said::Is(live) => self.saw(live),
            Said::Deleted(live) => {
                let id = live.id();
                let version = live
                    .resource_version()
                    .and_then(|v| v.parse().ok())
                    .unwrap_or(u64::MAX);
                let by_mark = self.marked_by(&live);
                let told: BTreeSet<AppKey> = by_mark
                    .into_iter()
                    .chain(self.owners.get(&id).cloned())
                    .collect();
                for key in told {
                    let uid = live.uid();
                    self.feed(
                        &key,
                        Event::Gone {
                            id: id.clone(),
                            uid,
                            resource_version: version,
                        },
                    );
                }
            }
            Said::Complete { listed } => {
                self.kinds.insert(kind.clone(), KindView::Observed);
                let mut missing = Vec::new();
                for (key, actor) in &self.actors {
                    for id in actor.life.observed().objects.keys() {
                        if id.group_kind() == *kind
                            && !listed.contains(id)
                            && !self.server.objects.contains_key(id)
                        {
                            missing.push((key.clone(), id.clone()));
                        }
                    }
                }
                for (key, id) in missing {
                    self.feed(
                        &key,
                        Event::Gone {
                            id,
                            uid: None,
                            resource_version: u64::MAX,
                        },
                    );
                }
                self.poke(Look::Cluster);
            }
        }
    }

    fn marked_by(&self, live: &Manifest) -> Option<AppKey> {
        let set = live.label(marks::PART_OF)?;
        let mut keys = self.actors.keys();
        keys.find(|key| marks::set_id(&key.namespace, &key.name) == set)
            .cloned()
    }

    fn saw(&mut self, live: Manifest) {
        let Some(key) = self.marked_by(&live) else {
            return;
        };
        let id = live.id();
        let ignored = self.life(&key).ignored(&id);
        if let Some(seen) = Seen::of(&live, &ignored) {
            let event = Event::Saw(id, seen, (!self.watches_forget).then(|| Arc::new(live)));
            self.old_news.push((key.clone(), event.clone()));
            self.feed(&key, event);
        }
    }
}
