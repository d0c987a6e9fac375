//! Watches of the kinds that are in use: one each, selected by our label, for all apps.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use lockstep_app::{Blame, Fault};
use lockstep_cluster::{Lookup, Seen as Watched};
use lockstep_manifest::{GroupKind, Gvk, Manifest, ObjectId, marks};
use lockstep_plan::{KindView, Seen};
use lockstep_reconcile::{Event, Look};

use super::{Engine, Feed, News, contain};

/// How far one kind is seen.
#[derive(Debug)]
struct Kind {
    view: Option<KindView>,
    /// What a list under way has said so far.
    listed: Option<BTreeSet<ObjectId>>,
    /// The newest version that the list has said.
    newest: u64,
    is_watched: bool,
}

/// All kinds in use.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    all: HashMap<GroupKind, Kind>,
    discovering: bool,
}

impl Kinds {
    pub(super) fn view(&self, kind: &GroupKind) -> Option<KindView> {
        self.all.get(kind).and_then(|kind| kind.view.clone())
    }
}

impl Engine {
    /// Starts the watches that are missing. A kind that is not served, or not known, gets an answer all the same.
    pub(super) fn observe(&mut self, kinds: BTreeSet<Gvk>) {
        for gvk in kinds {
            let kind = gvk.group_kind();
            if self.kinds.all.contains_key(&kind) {
                continue;
            }
            let served = self.cluster.served();
            let found = match served.find(&gvk) {
                Lookup::NotServed => served.any_version(&kind),
                other => other,
            };
            let (view, watched) = match found {
                Lookup::Found(resource) => (None, Some(resource.gvk)),
                Lookup::NotServed => (Some(KindView::NotServed), None),
                Lookup::Unknown(why) => {
                    (Some(KindView::Unobserved(unknown_kind(&kind, &why))), None)
                }
            };
            let decided = view.is_some();
            let state = Kind {
                view,
                listed: None,
                newest: 0,
                is_watched: watched.is_some(),
            };
            self.kinds.all.insert(kind.clone(), state);
            if let Some(gvk) = watched {
                let stream = self.cluster.watch(&gvk, marks::PART_OF);
                self.feed(Feed::Kind(kind), stream);
            } else if decided {
                self.wake_everyone_soon();
            }
        }
    }

    /// Forwards a watch to the engine until the process stops.
    pub(super) fn feed(
        &mut self,
        feed: Feed,
        stream: impl futures::Stream<Item = Watched> + Send + 'static,
    ) {
        let news = self.news.clone();
        let stop = self.stop.clone();
        let broke = match &feed {
            Feed::Kind(_) => {
                let fault = contain::fault("watching this kind");
                News::Watched(feed.clone(), Watched::Broken(fault))
            }
            _ => News::Lost("the watch of Applications and what they refer to"),
        };
        self.spawn_saying(Some(broke), async move {
            let mut stream = std::pin::pin!(stream);
            loop {
                let seen = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    seen = stream.next() => seen,
                };
                let Some(seen) = seen else { return };
                if news.send(News::Watched(feed.clone(), seen)).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn kind_watched(&mut self, kind: &GroupKind, seen: Watched) {
        match seen {
            Watched::Restarted => {
                if let Some(state) = self.kinds.all.get_mut(kind) {
                    state.listed = Some(BTreeSet::new());
                    state.newest = 0;
                }
            }
            Watched::Applied(live) => self.kind_applied(kind, *live),
            Watched::Deleted(live) => self.kind_deleted(&live),
            Watched::Complete => self.kind_complete(kind),
            Watched::Broken(fault) => {
                if let Some(state) = self.kinds.all.get_mut(kind) {
                    state.view = Some(KindView::Unobserved(fault));
                    state.listed = None;
                }
                self.poke_users_of(kind);
            }
        }
    }

    fn kind_applied(&mut self, kind: &GroupKind, live: Manifest) {
        let id = live.id();
        if let Some(state) = self.kinds.all.get_mut(kind) {
            let version = live
                .resource_version()
                .and_then(|v| v.parse().ok())
                .unwrap_or(0);
            state.newest = state.newest.max(version);
            if let Some(listed) = &mut state.listed {
                listed.insert(id.clone());
            }
        }
        self.saw(&id, live);
    }

    /// Tells the app whose mark the object carries.
    fn saw(&mut self, id: &ObjectId, live: Manifest) {
        let Some(set) = live.label(marks::PART_OF) else {
            return;
        };
        let Some(key) = self.by_set.get(set).cloned() else {
            self.strays.put(set, id, &live);
            return;
        };
        let ignored = self
            .lives
            .get(&key)
            .map(|life| life.ignored(id))
            .unwrap_or_default();
        let Some(uid) = self.lives.get(&key).map(|life| life.uid().clone()) else {
            return;
        };
        self.contained(&key, &uid, "reading an object of this app", |engine| {
            if let Some(seen) = Seen::of(&live, &ignored) {
                engine.step(&key, Event::Saw(id.clone(), seen, Some(Arc::new(live))));
            }
        });
    }

    fn kind_deleted(&mut self, live: &Manifest) {
        let id = live.id();
        let version = live
            .resource_version()
            .and_then(|v| v.parse().ok())
            .unwrap_or(u64::MAX);
        // The object's last state may lack our label already: whoever has it in the inventory is told as well.
        let by_mark = live
            .label(marks::PART_OF)
            .and_then(|set| self.by_set.get(set))
            .cloned();
        let by_inventory = self.owners.get(&id).cloned();
        let mut told = BTreeSet::new();
        for key in by_mark.into_iter().chain(by_inventory) {
            if told.insert(key.clone()) {
                let event = Event::Gone {
                    id: id.clone(),
                    uid: live.uid(),
                    resource_version: version,
                };
                self.step(&key, event);
            }
        }
        self.strays.drop_one(&id);
    }

    /// The list is complete: what we knew and it did not say is gone, unless we made it after the list was taken.
    fn kind_complete(&mut self, kind: &GroupKind) {
        let Some(state) = self.kinds.all.get_mut(kind) else {
            return;
        };
        state.view = Some(KindView::Observed);
        let Some(listed) = state.listed.take() else {
            self.poke_users_of(kind);
            return;
        };
        self.strays.keep_listed(kind, &listed);
        let mut missing = Vec::new();
        for (key, life) in &self.lives {
            for id in life.observed().objects.keys() {
                if id.group == kind.group && id.kind == kind.kind && !listed.contains(id) {
                    missing.push((key.clone(), id.clone()));
                }
            }
        }
        for (_, id) in missing {
            let version = self.version_for(&id);
            let cluster = self.cluster.clone();
            let kind = kind.clone();
            self.spawn(None, async move {
                let gvk = Gvk {
                    group: id.group.clone(),
                    version,
                    kind: id.kind.clone(),
                };
                match cluster.get(&gvk, &id).await {
                    Ok(live) => vec![News::Checked {
                        kind,
                        id,
                        live: live.map(Box::new),
                    }],
                    Err(_) => Vec::new(), // not known; the next list says it again
                }
            });
        }
        self.poke_users_of(kind);
    }

    fn version_for(&self, id: &ObjectId) -> String {
        let known = self.owners.get(id).and_then(|key| self.lives.get(key));
        known
            .and_then(|life| life.inventory().entries.get(id))
            .map_or_else(|| "v1".to_owned(), |entry| entry.version.clone())
    }

    /// A fresh read of one object that a list did not say.
    pub(super) fn checked(
        &mut self,
        _kind: &GroupKind,
        id: &ObjectId,
        live: Option<Box<Manifest>>,
    ) {
        let marked = live
            .as_ref()
            .is_some_and(|live| live.label(marks::PART_OF).is_some());
        match live {
            Some(live) if marked => self.saw(id, *live),
            _ => {
                if let Some(key) = self.owners.get(id).cloned() {
                    let event = Event::Gone {
                        id: id.clone(),
                        uid: None,
                        resource_version: u64::MAX,
                    };
                    self.step(&key, event);
                }
            }
        }
    }

    fn poke_users_of(&mut self, kind: &GroupKind) {
        let is_used = |id: &ObjectId| id.group == kind.group && id.kind == kind.kind;
        let keys: Vec<_> = self
            .lives
            .iter()
            .filter(|(_, life)| {
                life.desired().is_some_and(|desired| {
                    desired.kinds.iter().any(|gvk| gvk.group_kind() == *kind)
                }) || life.inventory().entries.keys().any(is_used)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.step(&key, Event::Poke(Look::Cluster));
        }
    }

    pub(super) fn wake_everyone_soon(&mut self) {
        let now = self.now;
        for key in self.lives.keys() {
            self.wakes.set(key, now);
        }
    }

    /// Asks the server what it serves, one question at a time.
    pub(super) fn discover(&mut self) {
        if self.kinds.discovering {
            return;
        }
        self.kinds.discovering = true;
        let cluster = self.cluster.clone();
        self.spawn(Some(News::Served), async move {
            if let Err(error) = cluster.discover().await {
                tracing::debug!(%error, "discovery failed");
            }
            vec![News::Served]
        });
    }

    /// The server may serve other kinds now: those that had no watch are looked at again.
    pub(super) fn served_changed(&mut self) {
        self.kinds.discovering = false;
        let served = self.cluster.served();
        let before = self.kinds.all.len();
        self.kinds.all.retain(|kind, state| {
            state.is_watched || matches!(served.any_version(kind), Lookup::NotServed)
        });
        if self.kinds.all.len() != before {
            self.wake_everyone_soon();
        }
    }
}

fn unknown_kind(kind: &GroupKind, why: &str) -> Fault {
    Fault::new(
        Blame::Environment,
        "unknown.cluster",
        format!("the API server cannot say whether it serves {kind}: {why}"),
    )
    .hint("look at its APIServices: kubectl get apiservices")
}
