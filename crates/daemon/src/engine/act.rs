//! The cluster: claiming, applying, deleting, asking by dry run.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use lockstep_app::app::{App, AppKey};
use lockstep_app::lower::{RESOURCES_FINALIZER, is_of_deletion_hooks};
use lockstep_app::project::Project;
use lockstep_app::{Blame, Fault};
use lockstep_cluster::lease::Lease;
use lockstep_cluster::{Cluster, ClusterError, Extras, WriteError, Written};
use lockstep_manifest::fields::takeover;
use lockstep_manifest::write::{Conflicts, Manner, Propagation, Takeover};
use lockstep_manifest::{Digest, Manifest, ObjectId, Uid, Write, marks};
use lockstep_plan::hook::leftover;
use lockstep_plan::{Action, Hook, Leftover, Reason, Seen, Step, Wanted, changes::changes};
use lockstep_reconcile::{Event, Life, Outcome, RecordDraft};
use serde_json::Value;

pub(super) mod claim;
mod clear_away;
mod foresee;
mod hand_over;
mod remove;

use foresee::Look;

use super::{Engine, News, contain};
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
    known: BTreeMap<ObjectId, Known>,
}

/// What is known of an object before it is touched.
#[derive(Default)]
struct Known {
    /// Which object was seen under this name: that one is changed, or none. Otherwise an object that somebody deletes
    /// just now would be made again under a record that names the old uid, and never be deleted after a crash.
    uid: Option<Uid>,
    /// No server has answered an apply of ours to it yet: what other tools left behind on it is taken over.
    is_first_contact: bool,
    /// Do we own its `spec.replicas`?
    owns_replicas: bool,
}

impl Known {
    fn of(life: &Life, id: &ObjectId) -> Self {
        let seen = life.observed().objects.get(id);
        let entry = life.inventory().entries.get(id);
        Self {
            uid: seen.map(|seen| seen.uid.clone()),
            is_first_contact: entry.is_none_or(|entry| entry.digest.is_none()),
            owns_replicas: seen.is_some_and(|seen| seen.owns_replicas),
        }
    }
}

impl Engine {
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
        let known = steps
            .iter()
            .map(|step| (step.id.clone(), Known::of(life, &step.id)))
            .collect();
        let hands = Arc::new(Hands {
            cluster: self.cluster.clone(),
            lease: Arc::clone(&self.lease),
            project: self.project_of(&app),
            set: Self::set_of(key),
            app,
            before,
            known,
        });
        let news = self.news.clone();
        let metrics = Arc::clone(&self.metrics);
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn_saying(broke, async move {
            let mut done = stream::iter(steps)
                .map(|step| {
                    let hands = Arc::clone(&hands);
                    async move {
                        let done = AssertUnwindSafe(hands.carry_out(&step)).catch_unwind();
                        // The other objects of the front go on.
                        let broke = |_| Outcome::Failed(contain::fault("applying this object"));
                        (step.id.clone(), done.await.unwrap_or_else(broke))
                    }
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
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let steps: Vec<(Step, Known)> = steps
            .into_iter()
            .map(|step| {
                let known = Known::of(life, &step.id);
                (step, known)
            })
            .collect();
        let uid = app.uid.clone();
        let project = self.project_of(&app);
        let cluster = self.cluster.clone();
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let mut found = BTreeMap::new();
            let Ok(project) = project else {
                return Vec::new();
            };
            let mut asked = stream::iter(steps)
                .map(|(step, known)| {
                    let look = Look {
                        cluster: &cluster,
                        project: &project,
                        app: &app,
                    };
                    async move { (step.id.clone(), look.foresee(&step, &known).await) }
                })
                .buffer_unordered(APPLIES_IN_FLIGHT);
            while let Some((id, foreseen)) = asked.next().await {
                if let Some(foreseen) = foreseen {
                    found.insert(id, foreseen);
                }
            }
            drop(asked);
            vec![News::App {
                key,
                uid,
                event: Event::Probed {
                    plan,
                    foreseen: found,
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
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let (cluster, project, app) = (&cluster, &project, &app);
            let found = stream::iter(asked)
                .map(|wanted| async move {
                    let measured = match project {
                        Ok(project) => {
                            let look = Look {
                                cluster,
                                project,
                                app,
                            };
                            look.compare(&wanted).await
                        }
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
        let broke = self.broke(key);
        let key = key.clone();
        let stop = self.stop.clone();
        self.spawn(broke, async move {
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
        let mut write = Write::apply(hook.body(runs_in, id));
        write.manner.validation = wanted.manner.validation;
        let authorized = match project.authorize(&self.app, write, wanted.scope) {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        self.applied(step, wanted, self.cluster.write(authorized).await)
    }

    async fn apply(&self, project: &Project, step: &Step, wanted: &Wanted) -> Outcome {
        let none = Known::default();
        let known = self.known.get(&step.id).unwrap_or(&none);
        let (body, release) = match self.body(wanted, known).await {
            Ok(found) => found,
            Err(error) => return Outcome::Failed(error.fault()),
        };
        let before = self.before.get(&step.id);
        let mut write = Write::apply(body);
        write.preconditions.uid.clone_from(&known.uid);
        write.manner = Manner {
            release,
            ..manner(wanted, known)
        };
        if before.is_some() {
            write.manner.conflicts = Conflicts::Force; // what was there is known, and so is whose it was
        }
        let authorized = if step.reason == Reason::Namespace {
            project.authorize_namespace(&self.app, write)
        } else {
            project.authorize(&self.app, write, wanted.scope)
        };
        let authorized = match authorized {
            Ok(authorized) => authorized,
            Err(refused) => return Outcome::Failed(refused.fault()),
        };
        match self.cluster.write(authorized).await {
            Err(WriteError::Immutable { .. }) if wanted.recreate => {
                self.clear_away(project, wanted).await
            }
            written => self.applied(step, wanted, written),
        }
    }

    fn applied(
        &self,
        step: &Step,
        wanted: &Wanted,
        written: Result<Written, WriteError>,
    ) -> Outcome {
        let before = self.before.get(&step.id);
        match written {
            Ok(written) => {
                let seen = written
                    .live
                    .as_ref()
                    .and_then(|live| Seen::of(live, &wanted.ignored));
                match (seen, &written.live) {
                    (Some(seen), Some(live)) => Outcome::Applied {
                        seen,
                        changes: before
                            .map(|before| changes(before, live))
                            .unwrap_or_default(),
                        taken: takeover::together(
                            before
                                .map(|before| takeover::seized(before, live))
                                .into_iter()
                                .flatten()
                                .chain(written.taken),
                        ),
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

    /// What is sent of it, and the JSON pointers that are given up before.
    async fn body(
        &self,
        wanted: &Wanted,
        known: &Known,
    ) -> Result<(Manifest, Vec<String>), ClusterError> {
        let body = wanted.manifest.as_ref().clone();
        let pointers = hand_over::pointers(&self.cluster, wanted, known.owns_replicas).await?;
        if pointers.is_empty() {
            return Ok((body, Vec::new()));
        }
        Ok(match self.cluster.get(&wanted.gvk, &wanted.id).await? {
            Some(live) => hand_over::leave(body, &live, &pointers),
            None => (body, Vec::new()),
        })
    }
}

/// How it is applied now: what was left behind is taken over once.
fn manner(wanted: &Wanted, known: &Known) -> Manner {
    let mut manner = wanted.manner.clone();
    if matches!(manner.takeover, Takeover::LeftBehind { .. }) && !known.is_first_contact {
        manner.takeover = Takeover::None;
    }
    manner
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
