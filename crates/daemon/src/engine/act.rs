//! The cluster: claiming, applying, deleting, asking by dry run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use lockstep_app::app::{App, AppKey};
use lockstep_app::lower::{RESOURCES_FINALIZER, is_of_deletion_hooks};
use lockstep_app::project::{Project, Scope};
use lockstep_app::{Blame, Fault};
use lockstep_cluster::lease::Lease;
use lockstep_cluster::{ClaimError, Cluster, Extras, Lookup, WriteError, Written};
use lockstep_manifest::write::Propagation;
use lockstep_manifest::{Digest, Gvk, Manifest, ObjectId, Uid, Write, marks, pointer};
use lockstep_plan::hook::leftover;
use lockstep_plan::{Action, Hook, Leftover, Reason, Seen, Step, Wanted, changes::changes};
use lockstep_reconcile::{Event, Measured, Outcome, RecordDraft};
use serde_json::{Map, Value};

use super::{Engine, News};
use crate::record;

/// How many objects of one front are applied at once.
///
/// An API server answers a small apply in 5 to 20 ms, so 8 in flight are some 600 a second from one app: more than
/// most control planes enjoy for long, and fronts are short. All apps together share the client's own limit.
const APPLIES_IN_FLIGHT: usize = 8;
/// The longest that a write may take; nothing is begun that could outlive the lease.
const WRITE: Duration = Duration::from_secs(5);

/// What carrying out a step needs, shared by all steps of a front.
struct Hands {
    cluster: Cluster,
    lease: Arc<Lease>,
    app: Arc<App>,
    project: Result<Arc<Project>, Fault>,
    set: String,
    before: BTreeMap<ObjectId, Arc<Manifest>>,
    /// Which object was seen under each name: that one is changed, or none. Otherwise an object that somebody deletes
    /// just now would be made again under a record that names the old uid, and never be deleted after a crash.
    seen: BTreeMap<ObjectId, Uid>,
}

impl Engine {
    pub(super) fn claim(&mut self, key: &AppKey, turn: u64, draft: RecordDraft) {
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let uid = life.uid().clone();
        let apps = self.apps.clone();
        let holder = self.lease.identity().to_owned();
        let epoch = self.lease.epoch();
        let lease = Arc::clone(&self.lease);
        let key = key.clone();
        self.spawn(async move {
            let result = match epoch.filter(|_| lease.allows(WRITE)) {
                None => Err(not_ours()),
                Some(epoch) => {
                    let record = record::write(&key, &uid, &draft, &holder, epoch);
                    match apps.claim(&record, draft.previous.as_deref()).await {
                        Ok(claimed) => Ok(claimed.resource_version),
                        Err(ClaimError::Lost { object }) => Err(Fault::new(
                            Blame::Environment,
                            "record.lost",
                            format!("{object} was written by somebody else"),
                        )),
                        // Whether it was written is not known: it is read again before anything else.
                        Err(ClaimError::Failed(error)) if error.outcome_unknown() => Err(Fault {
                            code: "record.lost".to_owned(),
                            ..error.fault()
                        }),
                        Err(ClaimError::Failed(error)) => Err(error.fault()),
                    }
                }
            };
            vec![News::App {
                key,
                uid,
                event: Event::Claimed { turn, result },
            }]
        });
    }

    pub(super) fn apply(&mut self, key: &AppKey, turn: u64, steps: Vec<Step>) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let uid = life.uid().clone();
        let before = steps
            .iter()
            .filter_map(|step| Some((step.id.clone(), Arc::clone(life.before(&step.id)?))))
            .collect();
        let observed = &life.observed().objects;
        let seen = steps
            .iter()
            .filter_map(|step| Some((step.id.clone(), observed.get(&step.id)?.uid.clone())))
            .collect();
        let hands = Arc::new(Hands {
            cluster: self.cluster.clone(),
            lease: Arc::clone(&self.lease),
            project: self.project_of(&app),
            set: Self::set_of(key),
            app: Arc::new(app),
            before,
            seen,
        });
        let news = self.news.clone();
        let metrics = Arc::clone(&self.metrics);
        let key = key.clone();
        self.work.spawn(async move {
            let mut done = stream::iter(steps)
                .map(|step| {
                    let hands = Arc::clone(&hands);
                    async move { (step.id.clone(), hands.carry_out(&step).await) }
                })
                .buffer_unordered(APPLIES_IN_FLIGHT);
            while let Some((id, outcome)) = done.next().await {
                metrics.apply_requested(verb_of(&outcome), code_of(&outcome));
                let event = Event::Applied { turn, id, outcome };
                let said = News::App {
                    key: key.clone(),
                    uid: uid.clone(),
                    event,
                };
                if news.send(said).await.is_err() {
                    return;
                }
            }
            let said = News::App {
                key,
                uid,
                event: Event::FrontDone { turn },
            };
            let _closed = news.send(said).await;
        });
    }

    pub(super) fn probe(&mut self, key: &AppKey, plan: Digest, steps: Vec<Step>) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let uid = app.uid.clone();
        let project = self.project_of(&app);
        let cluster = self.cluster.clone();
        let key = key.clone();
        self.spawn(async move {
            let mut found = BTreeMap::new();
            let Ok(project) = project else {
                return Vec::new();
            };
            let mut asked = stream::iter(steps)
                .map(|step| {
                    let (cluster, project, app) = (&cluster, &project, &app);
                    async move {
                        (
                            step.id.clone(),
                            would_change(cluster, project, app, &step).await,
                        )
                    }
                })
                .buffer_unordered(APPLIES_IN_FLIGHT);
            while let Some((id, changes)) = asked.next().await {
                if let Some(changes) = changes {
                    found.insert(id, changes);
                }
            }
            drop(asked);
            vec![News::App {
                key,
                uid,
                event: Event::Probed {
                    plan,
                    changes: found,
                },
            }]
        });
    }

    /// Asks how these objects compare by the rules of now.
    pub(super) fn measure(&mut self, key: &AppKey, asked: Vec<Arc<Wanted>>) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let uid = app.uid.clone();
        let project = self.project_of(&app);
        let cluster = self.cluster.clone();
        let key = key.clone();
        self.spawn(async move {
            let (cluster, project, app) = (&cluster, &project, &app);
            let found = stream::iter(asked)
                .map(|wanted| async move {
                    let measured = match project {
                        Ok(project) => compared(cluster, project, app, &wanted).await,
                        Err(_) => None,
                    };
                    (wanted.id.clone(), measured)
                })
                .buffer_unordered(APPLIES_IN_FLIGHT)
                .collect()
                .await;
            let event = Event::Measured(found);
            vec![News::App { key, uid, event }]
        });
    }

    /// Everything is gone that had to go: the finalizer comes off.
    pub(super) fn farewell(&mut self, key: &AppKey, tombstone: Option<RecordDraft>) {
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let finalizers: Vec<String> = life
            .app()
            .map(|app| app.finalizers.clone())
            .unwrap_or_default()
            .into_iter()
            .filter(|finalizer| {
                !finalizer.starts_with(RESOURCES_FINALIZER) && !is_of_deletion_hooks(finalizer)
            })
            .collect();
        let holder = self.lease.identity().to_owned();
        let tombstone = tombstone.zip(self.lease.epoch()).map(|(draft, epoch)| {
            let record = record::write(key, life.uid(), &draft, &holder, epoch);
            (record, draft.previous)
        });
        let extras = Extras {
            uid: Some(life.uid().clone()),
            set_finalizers: Some(finalizers),
            ..Extras::default()
        };
        let apps = self.apps.clone();
        let key = key.clone();
        let stop = self.stop.clone();
        self.spawn(async move {
            if let Some((record, previous)) = tombstone
                && let Err(error) = apps.claim(&record, previous.as_deref()).await
            {
                tracing::error!(app = %key, %error, "what it leaves behind could not be written down");
            }
            let mut wait = Duration::from_secs(1);
            loop {
                let Err(error) = apps.publish(&key, Value::Null, extras.clone()).await else {
                    return Vec::new(); // its watch says the rest
                };
                tracing::warn!(app = %key, %error, "the finalizer could not be taken off");
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Vec::new(),
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(30)),
                }
            }
        });
    }
}

impl Hands {
    async fn carry_out(&self, step: &Step) -> Outcome {
        if !self.lease.allows(WRITE) {
            return Outcome::Failed(not_ours());
        }
        let project = match &self.project {
            Ok(project) => project,
            Err(fault) => return Outcome::Failed(fault.clone()),
        };
        match &step.action {
            Action::Apply(wanted) => self.apply(project, step, wanted).await,
            Action::Prune {
                gvk,
                uid,
                propagation,
            } => self.prune(project, &step.id, gvk, uid, *propagation).await,
            Action::Release => Outcome::Released,
            Action::Run { hook, runs_in } => self.run(project, step, hook, runs_in).await,
            Action::LetGo { gvk, uid } => self.let_go(project, &step.id, gvk, uid).await,
        }
    }

    /// Makes a hook, once nothing of an earlier run stands in its way.
    async fn run(&self, project: &Project, step: &Step, hook: &Hook, runs_in: &str) -> Outcome {
        let (wanted, id) = (&hook.wanted, &step.id);
        let live = match self.cluster.get(&wanted.gvk, id).await {
            Ok(live) => live,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let tracking = marks::tracking_id(&self.app.key.name, id, &self.app.namespace);
        let stands = live.map(|live| (leftover(&live, runs_in, &self.set, &tracking), live));
        match stands {
            Some((Leftover::Foreign(why), _)) => return Outcome::NotOurs { why },
            Some((Leftover::Earlier, live)) => {
                return match self
                    .delete(project, &wanted.gvk, live, Propagation::Background)
                    .await
                {
                    Outcome::Absent => Outcome::Deleting, // it is looked again before the next is made
                    other => other,
                };
            }
            Some((Leftover::Itself, _)) | None => {}
        }
        let write = Write::apply(hook.body(runs_in, id));
        let authorized = match project.authorize(&self.app, write, wanted.scope) {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        self.applied(step, wanted, self.cluster.write(authorized).await)
    }

    /// Takes our finalizer off a hook that has ended.
    async fn let_go(&self, project: &Project, id: &ObjectId, gvk: &Gvk, uid: &Uid) -> Outcome {
        let live = match self.cluster.get(gvk, id).await {
            Ok(Some(live)) if live.uid().as_ref() == Some(uid) => live,
            Ok(_) => return Outcome::Absent,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let answered = match Write::let_go(&live, marks::HOOK_FINALIZER) {
            None => Some(live),
            Some(write) => {
                let authorized = match project.authorize(&self.app, write, self.scope(gvk, id)) {
                    Ok(authorized) => authorized,
                    Err(refused) => return Outcome::Failed(refused.fault()),
                };
                match self.cluster.write(authorized).await {
                    Ok(written) => written.live,
                    Err(error) => return Outcome::Failed(error.fault()),
                }
            }
        };
        // What was terminating is gone with its last finalizer; its watch says so.
        match answered.as_ref().and_then(|live| Seen::of(live, &[])) {
            Some(seen) => Outcome::Applied {
                seen,
                changes: Vec::new(),
            },
            None => Outcome::Absent,
        }
    }

    fn scope(&self, gvk: &Gvk, id: &ObjectId) -> Scope {
        match self.cluster.served().find(gvk) {
            Lookup::Found(resource) if resource.namespaced => Scope::Namespaced,
            _ if id.namespace.is_empty() => Scope::Cluster,
            _ => Scope::Namespaced,
        }
    }

    /// Deletes exactly this live object; a hook is let go first.
    async fn delete(
        &self,
        project: &Project,
        gvk: &Gvk,
        live: Manifest,
        propagation: Propagation,
    ) -> Outcome {
        let id = live.id();
        let scope = self.scope(gvk, &id);
        let mut live = live;
        if let Some(write) = Write::let_go(&live, marks::HOOK_FINALIZER) {
            let authorized = match project.authorize(&self.app, write, scope) {
                Ok(authorized) => authorized,
                Err(refused) => return Outcome::Failed(refused.fault()),
            };
            live = match self.cluster.write(authorized).await {
                Ok(Written {
                    live: Some(live), ..
                }) => live,
                Ok(_) => return Outcome::Absent,
                Err(error) => return Outcome::Failed(error.fault()),
            };
        }
        let (Some(uid), Some(version)) = (live.uid(), live.resource_version()) else {
            return Outcome::NotOurs {
                why: "the server does not say its version".to_owned(),
            };
        };
        let version = version.to_owned();
        let write = Write::delete(id, gvk.clone(), uid, version, propagation);
        let authorized = match project.authorize(&self.app, write, scope) {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        match self.cluster.write(authorized).await {
            Ok(written) if written.live.is_none() => Outcome::Absent,
            Ok(_) => Outcome::Deleting,
            Err(error) => Outcome::Failed(error.fault()),
        }
    }

    async fn apply(&self, project: &Project, step: &Step, wanted: &Wanted) -> Outcome {
        let mut body = wanted.manifest.as_ref().clone();
        if !wanted.handed_over.is_empty() {
            match self.cluster.get(&wanted.gvk, &wanted.id).await {
                Ok(Some(live)) => body = keep_live_values(body, &live, &wanted.handed_over),
                Ok(None) => {}
                Err(error) => return Outcome::Failed(error.fault()),
            }
        }
        let mut write = Write::apply(body);
        write.preconditions.uid = self.seen.get(&step.id).cloned();
        let authorized = if step.reason == Reason::Namespace {
            project.authorize_namespace(&self.app, write)
        } else {
            project.authorize(&self.app, write, wanted.scope)
        };
        let authorized = match authorized {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        self.applied(step, wanted, self.cluster.write(authorized).await)
    }

    fn applied(
        &self,
        step: &Step,
        wanted: &Wanted,
        written: Result<Written, WriteError>,
    ) -> Outcome {
        match written {
            Ok(written) => {
                let seen = written
                    .live
                    .as_ref()
                    .and_then(|live| Seen::of(live, &wanted.ignored));
                match (seen, &written.live) {
                    (Some(seen), Some(live)) => Outcome::Applied {
                        seen,
                        changes: self
                            .before
                            .get(&step.id)
                            .map(|before| changes(before, live))
                            .unwrap_or_default(),
                    },
                    _ => Outcome::Failed(Fault::new(
                        Blame::Environment,
                        "unknown.cluster",
                        format!("the API server took {} and did not answer with it", step.id),
                    )),
                }
            }
            Err(error) => Outcome::Failed(error.fault()),
        }
    }

    /// Deletes what is in the record with its uid *and* carries our mark on a fresh read; everything else stays.
    async fn prune(
        &self,
        project: &Project,
        id: &ObjectId,
        gvk: &Gvk,
        uid: &Uid,
        propagation: Propagation,
    ) -> Outcome {
        let live = match self.cluster.get(gvk, id).await {
            Ok(Some(live)) => live,
            Ok(None) => return Outcome::Absent,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let is_marked = live.label(marks::PART_OF) == Some(self.set.as_str());
        match live.uid() {
            Some(now) if now == *uid => {}
            _ if is_marked => {
                let why = "it is another object of the same name than the one on record".to_owned();
                return Outcome::NotOurs { why };
            }
            _ => return Outcome::Absent, // ours is gone; the one that stands there is somebody else's
        }
        if !is_marked {
            let why = format!("it carries no mark of this app (label {})", marks::PART_OF);
            return Outcome::NotOurs { why };
        }
        self.delete(project, gvk, live, propagation).await
    }
}

/// What an apply of this step would change, by the server's own word. None: it would not say.
async fn would_change(
    cluster: &Cluster,
    project: &Project,
    app: &App,
    step: &Step,
) -> Option<Vec<lockstep_plan::FieldChange>> {
    let Action::Apply(wanted) = &step.action else {
        return None;
    };
    let (live, answered) = dry_run(cluster, project, app, wanted).await?;
    Some(changes(&live, &answered))
}

/// An object and what an apply would make of it, measured by the same rules.
async fn compared(
    cluster: &Cluster,
    project: &Project,
    app: &App,
    wanted: &Wanted,
) -> Option<Measured> {
    let (live, answered) = dry_run(cluster, project, app, wanted).await?;
    Some(Measured {
        digest: wanted.digest.clone(),
        seen: Seen::of(&live, &wanted.ignored)?,
        answered: Seen::of(&answered, &wanted.ignored)?.fingerprint,
    })
}

/// What is live, and what the server answers to an apply that it does not carry out.
async fn dry_run(
    cluster: &Cluster,
    project: &Project,
    app: &App,
    wanted: &Wanted,
) -> Option<(Manifest, Manifest)> {
    let live = cluster.get(&wanted.gvk, &wanted.id).await.ok()??;
    let body = keep_live_values(wanted.manifest.as_ref().clone(), &live, &wanted.handed_over);
    let authorized = project
        .authorize(app, Write::dry_run(body), wanted.scope)
        .ok()?;
    let answered = cluster.write(authorized).await.ok()?.live?;
    Some((live, answered))
}

/// The manifest with the live values under these pointers: what an autoscaler set stays set while we apply the rest,
/// and stays when we stop declaring it.
fn keep_live_values(body: Manifest, live: &Manifest, pointers: &[String]) -> Manifest {
    let places = body.places().clone();
    let mut value = body.clone().into_value();
    let now = Value::Object(live.body().clone());
    for at in pointers {
        match now.pointer(at) {
            Some(kept) => put(&mut value, at, kept.clone()),
            None => {
                pointer::remove(&mut value, at);
            }
        }
    }
    Manifest::from_value(value).map_or(body, |kept| kept.with_places(places))
}

/// Sets the value under a pointer through maps that are there; lists and missing maps are left alone.
fn put(root: &mut Value, at: &str, value: Value) {
    let Some(parts) = pointer::parts(at) else {
        return;
    };
    let Some((last, parents)) = parts.split_last() else {
        return;
    };
    let mut here = root;
    for part in parents {
        here = match here {
            Value::Object(map) => map
                .entry(part.clone())
                .or_insert_with(|| Value::Object(Map::new())),
            Value::Array(list) => {
                let Some(item) = part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| list.get_mut(index))
                else {
                    return;
                };
                item
            }
            _ => return,
        };
    }
    if let Value::Object(map) = here {
        map.insert(last.clone(), value);
    }
}

fn not_ours() -> Fault {
    Fault::new(
        Blame::Environment,
        "lease.lost",
        "this replica does not hold the lease, so it writes nothing",
    )
}

fn verb_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } | Outcome::Failed(_) => "apply",
        Outcome::Deleting | Outcome::Absent | Outcome::NotOurs { .. } => "delete",
        Outcome::Released => "release",
    }
}

fn code_of(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Failed(fault) if fault.blame == Blame::User => 422,
        Outcome::Failed(_) => 503,
        _ => 200,
    }
}
