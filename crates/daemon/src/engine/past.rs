//! What was deployed: kept for later, and brought back; and what the marks in the cluster say of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use lockstep_app::app::{App, AppKey, Bases, Revision};
use lockstep_app::{Blame, Fault};
use lockstep_cluster::{Apps, Cluster, Extras, Served, WriteError};
use lockstep_manifest::{Digest, Manifest, ObjectId, marks};
use lockstep_plan::{Desired, Entry, prepare};
use lockstep_reconcile::{Event, Slot, spec_digest};
use serde_json::Value;

use super::make::{Errand, scope_in};
use super::{Engine, News};
use crate::bundle::{self, Unpacked};

/// A deployment is stored when it has stood this long and no app syncs: objects, records and statuses matter more, and
/// until then the commit can be rendered again.
const STORED_AFTER: Duration = Duration::from_secs(20);
/// It waits no longer than this for a moment without a sync.
const STORED_AT_LAST: Duration = Duration::from_mins(5);
/// How often the finalizers of hooks are sent when the Application changes meanwhile: two of our own writes may come in
/// between, and a person's. After that the life asks again.
const GUARD_TRIES: usize = 4;
/// How many kinds are listed at once when a record is lost.
const LISTS_AT_ONCE: usize = 4;

impl Engine {
    /// Keeps what is deployed, and forgets what nobody can go back to any more.
    pub(super) fn store(
        &mut self,
        key: &AppKey,
        slot: Box<Slot>,
        hurry: bool,
        keep: Option<BTreeSet<Digest>>,
    ) {
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let uid = life.uid().clone();
        let apps = self.apps.clone();
        let turns = Arc::clone(&self.storing);
        let mut calm = self.calm.subscribe();
        let stop = self.stop.clone();
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let waits = async {
                if hurry {
                    return None;
                }
                tokio::time::sleep(STORED_AFTER).await;
                let turn = turns.acquire().await.ok();
                let calm = calm.wait_for(|calm| *calm);
                let _late = tokio::time::timeout(STORED_AT_LAST, calm).await;
                turn
            };
            let _turn = tokio::select! {
                biased;
                () = stop.cancelled() => return Vec::new(), // it can be rendered again
                turn = waits => turn,
            };
            let digest = slot.desired.digest();
            let result = match bundle::pack(&key, &uid, &slot) {
                Err(error) => Err(Fault::new(
                    Blame::User,
                    "bundle.too_large",
                    error.to_string(),
                )),
                Ok(packed) => apps
                    .store_bundle(&packed)
                    .await
                    .map_err(|error| error.fault()),
            };
            if let (Ok(()), Some(keep)) = (&result, keep) {
                let keep = keep
                    .iter()
                    .map(|digest| bundle::name(&key, digest))
                    .collect();
                let set = marks::set_id(&key.namespace, &key.name);
                if let Err(error) = apps.forget_bundles(&set, &keep).await {
                    tracing::debug!(app = %key, %error, "old bundles stay for now");
                }
            }
            let event = Event::Stored {
                bundle: digest,
                result,
            };
            vec![News::App { key, uid, event }]
        });
    }

    /// Brings what was deployed: as it was stored, or rendered again and compared.
    pub(super) fn recover(
        &mut self,
        key: &AppKey,
        turn: u64,
        revision: Revision,
        bases: Bases,
        wanted: Option<Digest>,
    ) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let uid = app.uid.clone();
        let errand = self.errand(key, &app, revision, bases.clone());
        let served = self.cluster.served();
        let apps = self.apps.clone();
        let now = self.now;
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let stored = match &wanted {
                None => None,
                Some(digest) => {
                    let found = apps.bundle(&bundle::name(&key, digest)).await;
                    // One that cannot be read is as good as none: rendering again shows whether it is the same.
                    found
                        .ok()
                        .flatten()
                        .and_then(|live| bundle::unpack(&live).ok())
                }
            };
            let past = Past {
                app: &app,
                served: &served,
                bases,
                wanted,
                now,
            };
            let result = past.bring(stored, errand).await;
            let event = Event::Recovered { turn, result };
            vec![News::App { key, uid, event }]
        });
    }

    /// Puts the finalizers of deletion hooks on an Application, or takes them off.
    pub(super) fn guard(&mut self, key: &AppKey, wanted: Vec<String>) {
        let (Some(object), Some(life)) = (self.written.get(key), self.lives.get(key)) else {
            return;
        };
        let broke = self.broke(key);
        let (apps, uid, key) = (self.apps.clone(), life.uid().clone(), key.clone());
        let object = Arc::clone(object);
        self.spawn(broke, async move {
            let result = guarded(&apps, &key, &object, &wanted).await;
            if let Err(fault) = &result {
                tracing::debug!(app = %key, %fault, "the finalizers of its hooks could not be set");
            }
            let event = Event::Guarded(result);
            vec![News::App { key, uid, event }]
        });
    }

    /// Looks through everything that is served for objects that carry the app's mark and name themselves in it.
    pub(super) fn find_marked(&mut self, key: &AppKey) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let broke = self.broke(key);
        let (uid, cluster, key) = (app.uid.clone(), self.cluster.clone(), key.clone());
        self.spawn(broke, async move {
            let entries = marked(&cluster, &app).await;
            let event = Event::Found(entries);
            vec![News::App { key, uid, event }]
        });
    }
}

/// Puts these finalizers of deletion hooks on an Application that was seen like this. Nobody's change of it is lost; our
/// own, of its status, comes in between as a rule, since both follow a sync.
async fn guarded(
    apps: &Apps,
    key: &AppKey,
    seen: &Arc<Manifest>,
    wanted: &[String],
) -> Result<(), Fault> {
    let mut object = Arc::clone(seen);
    for _ in 1..GUARD_TRIES {
        let refused = apps.publish(key, Value::Null, guard(&object, wanted)).await;
        match refused {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(error.fault()),
        }
        match apps.application(key).await {
            Ok(Some(now)) if now.uid() == object.uid() => object = Arc::new(now),
            Ok(_) => return Ok(()), // it is gone
            Err(error) => return Err(error.fault()),
        }
    }
    let last = apps.publish(key, Value::Null, guard(&object, wanted)).await;
    last.map(|_| ()).map_err(|error| error.fault())
}

fn guard(object: &Manifest, wanted: &[String]) -> Extras {
    let stand = object
        .get(&["metadata", "finalizers"])
        .and_then(Value::as_array);
    let others = stand
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|finalizer| !lockstep_app::lower::is_of_deletion_hooks(finalizer))
        .map(str::to_owned);
    Extras {
        uid: object.uid(),
        resource_version: object.resource_version().map(str::to_owned),
        set_finalizers: Some(others.chain(wanted.iter().cloned()).collect()),
        ..Extras::default()
    }
}

/// What is to be brought back.
struct Past<'a> {
    app: &'a App,
    served: &'a Served,
    bases: Bases,
    wanted: Option<Digest>,
    now: jiff::Timestamp,
}

impl Past<'_> {
    async fn bring(
        &self,
        stored: Option<Unpacked>,
        errand: Result<Errand, Fault>,
    ) -> Result<Slot, Fault> {
        let Some(wanted) = &self.wanted else {
            let (memo, commit) = errand?.run().await.result?;
            return Ok(memo.slot(commit, self.now));
        };
        if let Some(stored) = stored.as_ref().filter(|stored| stored.sealed.is_empty())
            && let Some(slot) = self.slot(stored, Vec::new(), wanted)
        {
            return Ok(slot);
        }
        let (memo, commit) = errand?.run().await.result.map_err(|fault| Fault {
            message: format!(
                "what was deployed cannot be brought back: {}",
                fault.message
            ),
            ..fault
        })?;
        if memo.desired.digest() == *wanted {
            return Ok(memo.slot(commit, self.now));
        }
        let secrets = stored
            .as_ref()
            .and_then(|stored| opened(stored, &memo.desired));
        stored
            .as_ref()
            .zip(secrets)
            .and_then(|(stored, secrets)| self.slot(stored, secrets, wanted))
            .ok_or_else(|| {
                let text = "the commit renders to something else than what was deployed of it, and what was deployed is not stored in whole";
                Fault::new(Blame::User, "rollback.differs", text)
                    .hint("revert the commit in git, or sync to another deployment")
            })
    }

    /// The stored objects made ready again, if they are what they say.
    fn slot(&self, stored: &Unpacked, secrets: Vec<Manifest>, wanted: &Digest) -> Option<Slot> {
        let manifests = stored.manifests.iter().cloned().chain(secrets).collect();
        let revision = stored.commit.revision.clone();
        let desired = prepare(self.app, revision, manifests, &|gvk| {
            scope_in(self.served, gvk)
        });
        (desired.digest() == *wanted).then(|| Slot {
            commit: stored.commit.clone(),
            desired: std::sync::Arc::new(desired),
            kind: stored.kind.clone(),
            spec: spec_digest(&self.app.source_digest, &self.bases),
            bases: self.bases.clone(),
            seen_at: self.now,
            rendered_at: self.now,
            warnings: Vec::new(),
        })
    }
}

/// The Secrets that the bundle names, from what the commit renders to now; none if one of them is another.
fn opened(stored: &Unpacked, desired: &Desired) -> Option<Vec<Manifest>> {
    let found = stored.sealed.iter().map(|(id, digest)| {
        let hooks = desired.hooks.iter().map(|hook| &hook.wanted);
        let mut all = desired.objects.iter().chain(hooks);
        let wanted = all.find(|wanted| wanted.id == *id && wanted.digest == *digest)?;
        Some(wanted.manifest.as_ref().clone())
    });
    found.collect()
}

/// Everything that carries the app's mark, as far as it can be listed.
async fn marked(cluster: &Cluster, app: &App) -> BTreeMap<ObjectId, Entry> {
    let set = marks::set_id(&app.key.namespace, &app.key.name);
    let selector = format!("{}={set}", marks::PART_OF);
    let kinds: Vec<_> = cluster
        .served()
        .kinds()
        .map(|resource| resource.gvk)
        .collect();
    let lists = stream::iter(kinds)
        .map(|gvk| {
            let selector = &selector;
            async move {
                let listed = cluster.list(&gvk, "", selector).await;
                listed.unwrap_or_else(|error| {
                    tracing::debug!(kind = %gvk, %error, "cannot be looked through for marks");
                    Vec::new()
                })
            }
        })
        .buffer_unordered(LISTS_AT_ONCE);
    let found: Vec<Vec<Manifest>> = lists.collect().await;
    found
        .into_iter()
        .flatten()
        .filter(|live| {
            // A copy that some controller made carries the tracking id of what it was copied from.
            let own = marks::tracking_id(&app.key.name, &live.id(), &app.namespace);
            live.annotation(marks::TRACKING_ID) == Some(own.as_str())
        })
        .map(|live| {
            let entry = Entry {
                uid: live.uid(),
                version: live.gvk().version,
                wave: marks::wave(&live),
                prune: marks::prune(&live),
                delete: marks::delete(&live),
                is_hook: live.annotation(marks::RUNS_IN).is_some(),
                by_mark_alone: true,
                ..Entry::default()
            };
            (live.id(), entry)
        })
        .collect()
}
