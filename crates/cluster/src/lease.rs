//! A Lease: who may act. `coordination.k8s.io/v1`, one PUT every 3 s by its holder, one GET every 2 s by who waits.
//!
//! The epoch is the Lease's `leaseTransitions`: it rises with every change of holder and is carried by every claim,
//! so that one who does not know yet that he lost cannot begin anything.
//!
//! The holder may keep a text beside its name. It is written by the same compare-and-swap as the name, so nobody can
//! write it who is not the holder, and whoever takes the lease over reads it in the moment in which it becomes theirs.

mod term;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use lockstep_manifest::{Gvk, Manifest, ObjectId};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::call::{Ask, CallError, JSON};
use crate::cluster::{Cluster, parse_object, permission};
use crate::error::ClusterError;
use crate::path;

use term::{ATTEMPT, Candidate, DURATION, LOOK, Move, Over, Renewal, Standing, Term};

/// The annotation with the holder's text.
pub const CLAIMS: &str = "lockstep.dev/claims";

/// A lease that is held: until when we may act on it, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Nothing may be begun that could still be under way then.
    pub until: Instant,
    /// Rises by one with every change of holder.
    pub epoch: u64,
}

/// How [`Lease::keep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// We were asked to stop, and gave the lease back.
    Stopped,
    /// Somebody else holds it.
    Taken,
    /// It could not be renewed for too long.
    Expired,
}

/// One lease and our part in it.
#[derive(Debug)]
pub struct Lease {
    cluster: Cluster,
    object: ObjectId,
    identity: String,
    hold: watch::Sender<Option<Hold>>,
    term: tokio::sync::Mutex<Option<Term>>,
    /// What is to stand beside our name, and how often that was changed.
    text: watch::Sender<Text>,
    /// Somebody waits for it to be written.
    hurry: Notify,
    /// Up to which change it has been written.
    written: watch::Sender<u64>,
}

/// What stands beside the holder's name.
#[derive(Clone, Debug, Default)]
struct Text {
    changes: u64,
    text: Arc<str>,
}

/// The text was not written, or it is not known whether it was: we do not hold the lease any more, or not for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost before anything could be written in it")]
pub struct NotHeld;

impl Lease {
    /// The lease `name`. The identity must differ with every process, also with every restart in the same pod.
    pub fn new(cluster: Cluster, namespace: &str, name: &str, identity: &str) -> Self {
        let gvk = lease();
        let object = ObjectId {
            group: gvk.group,
            kind: gvk.kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Self {
            cluster,
            object,
            identity: identity.to_owned(),
            hold: watch::Sender::new(None),
            term: tokio::sync::Mutex::default(),
            text: watch::Sender::default(),
            hurry: Notify::new(),
            written: watch::Sender::default(),
        }
    }

    /// Who we are.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Is it ours, and how? The time is not looked at: compare `until` with now, or use [`Lease::allows`].
    pub fn hold(&self) -> Option<Hold> {
        *self.hold.borrow()
    }

    /// The same, to be told of changes.
    pub fn holds(&self) -> watch::Receiver<Option<Hold>> {
        self.hold.subscribe()
    }

    /// Until when we may act.
    pub fn margin(&self) -> Option<Instant> {
        self.hold().map(|hold| hold.until)
    }

    /// The epoch in which we act.
    pub fn epoch(&self) -> Option<u64> {
        self.hold().map(|hold| hold.epoch)
    }

    /// May something be begun that takes this long at most?
    pub fn allows(&self, takes: Duration) -> bool {
        self.hold()
            .is_some_and(|hold| Instant::now() + takes < hold.until)
    }

    /// What stands beside our name: after [`Lease::acquire`] what the holder before us left there.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text.borrow().text)
    }

    /// Puts this beside our name with the next renewal, whenever that is.
    pub fn put(&self, text: &str) {
        self.text.send_modify(|now| {
            now.changes += 1;
            now.text = Arc::from(text);
        });
    }

    /// Puts this beside our name at once, and waits until it stands there, through every failure.
    ///
    /// Errors: the lease ended first. What was to be written may stand there all the same.
    pub async fn write(&self, text: &str) -> Result<(), NotHeld> {
        self.put(text);
        let changes = self.text.borrow().changes;
        let (mut holds, mut written) = (self.holds(), self.written.subscribe());
        self.hurry.notify_one();
        tokio::select! {
            biased;
            stands = written.wait_for(|written| *written >= changes) => stands.map(|_| ()).map_err(|_| NotHeld),
            _ = holds.wait_for(Option::is_none) => Err(NotHeld),
        }
    }

    /// Waits until the lease is ours, through every failure. None: we were asked to stop first.
    pub async fn acquire(&self, stop: &CancellationToken) -> Option<Hold> {
        let mut term = self.term.lock().await;
        let mut candidate = Candidate::new(&self.identity);
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                tried = self.try_once(&mut candidate) => match tried {
                    Ok(Tried::Ours(begun)) => {
                        let hold = Hold { until: begun.until(), epoch: begun.epoch };
                        *term = Some(begun);
                        self.hold.send_replace(Some(hold));
                        tracing::info!(epoch = hold.epoch, "lease acquired");
                        return Some(hold);
                    }
                    Ok(Tried::LookAt(at)) => at,
                    Err(error) => {
                        tracing::debug!(%error, "lease not to be had");
                        Instant::now() + LOOK
                    }
                },
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Renews the lease that [`Lease::acquire`] got, until it ends. When it ends, so must all that acts on it.
    pub async fn keep(&self, stop: &CancellationToken) -> Ended {
        let mut held = self.term.lock().await;
        let Some(mut term) = held.take() else {
            return Ended::Expired;
        };
        let mut is_free = true;
        let ended = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.hold.send_replace(None);
                    self.release(&term).await;
                    return Ended::Stopped;
                }
                () = sleep_until(term.due()) => {}
                () = self.hurry.notified(), if is_free => {
                    if *self.written.borrow() >= self.text.borrow().changes {
                        continue; // the renewal that was under way took it along
                    }
                }
            }
            let sent = Instant::now();
            let Some(takes) = term.attempt(sent) else {
                break Ended::Expired;
            };
            let text = self.text.borrow().clone();
            let renewal = timeout(takes, self.renew(&term, takes, &text.text))
                .await
                .unwrap_or(Renewal::Failed);
            // One that failed rests for a moment, however many wait.
            is_free = matches!(renewal, Renewal::Done(_));
            if is_free {
                self.written.send_replace(text.changes);
            }
            match term.renewed(&self.identity, renewal, sent, Instant::now()) {
                Ok(()) => {
                    self.hold.send_replace(Some(Hold {
                        until: term.until(),
                        epoch: term.epoch,
                    }));
                }
                Err(Over::Taken) => break Ended::Taken,
                Err(Over::Expired) => break Ended::Expired,
            }
        };
        self.hold.send_replace(None);
        tracing::warn!(epoch = term.epoch, ?ended, "lease lost");
        ended
    }

    async fn try_once(&self, candidate: &mut Candidate) -> Result<Tried, ClusterError> {
        let path = self.path().await?;
        let standing = match self
            .cluster
            .call_at_once(Ask::get(path.clone()).within(ATTEMPT))
            .await
        {
            Ok(answer) => Some(self.cluster.object(&answer)?),
            Err(CallError::Refused(status)) if status.code == 404 && status.names().is_some() => {
                None
            }
            Err(error) => return Err(self.failed("get", error).await),
        };
        let now = Instant::now();
        let seen = standing.as_ref().map(Standing::of);
        let (method, path, epoch, version, verb) = match candidate.consider(seen.as_ref(), now) {
            Move::LookAt(at) => return Ok(Tried::LookAt(at)),
            Move::Create => {
                let collection = path.rsplit_once('/').map_or("", |(all, _)| all).to_owned();
                (Method::POST, collection, 0, None, "create")
            }
            Move::Take { version, epoch } => (Method::PUT, path, epoch, Some(version), "update"),
        };
        let left = standing
            .as_ref()
            .and_then(|object| object.annotation(CLAIMS));
        let left = left.unwrap_or_default();
        let body = self.body(&self.identity, epoch, version.as_deref(), DURATION, left);
        let ask = Ask::change(method, path, JSON, body).within(ATTEMPT);
        match self.cluster.call_at_once(ask).await {
            Ok(answer) => {
                let version = version_of(&answer.body);
                self.put(left);
                Ok(Tried::Ours(Term::begin(epoch, version, now)))
            }
            // Somebody was quicker.
            Err(CallError::Refused(status)) if status.code == 409 => Ok(Tried::LookAt(now + LOOK)),
            Err(error) => Err(self.failed(verb, error).await),
        }
    }

    async fn renew(&self, term: &Term, takes: Duration, text: &str) -> Renewal {
        let Ok(path) = self.path().await else {
            return Renewal::Failed;
        };
        let version = Some(term.version.as_str());
        let body = self.body(&self.identity, term.epoch, version, DURATION, text);
        let ask = Ask::change(Method::PUT, path.clone(), JSON, body).within(takes);
        match self.cluster.call_at_once(ask).await {
            Ok(answer) => Renewal::Done(version_of(&answer.body)),
            Err(CallError::Refused(status)) if status.code == 409 || status.code == 404 => {
                match self
                    .cluster
                    .call_at_once(Ask::get(path).within(takes))
                    .await
                {
                    Ok(answer) => match parse_object(&answer.body) {
                        Ok(object) => Renewal::Changed(Some(Standing::of(&object))),
                        Err(_) => Renewal::Failed,
                    },
                    Err(CallError::Refused(status)) if status.code == 404 => Renewal::Changed(None),
                    Err(_) => Renewal::Failed,
                }
            }
            Err(error) => {
                tracing::debug!(?error, "lease not renewed");
                Renewal::Failed
            }
        }
    }

    /// Gives it back, so that the next one need not wait. Best effort: it expires anyway.
    async fn release(&self, term: &Term) {
        let Ok(path) = self.path().await else { return };
        let (version, text) = (Some(term.version.as_str()), self.text());
        let body = self.body("", term.epoch, version, Duration::from_secs(1), &text);
        let ask = Ask::change(Method::PUT, path, JSON, body).within(ATTEMPT);
        match self.cluster.call_at_once(ask).await {
            Ok(_) => tracing::info!(epoch = term.epoch, "lease released"),
            Err(error) => tracing::debug!(?error, "lease not released"),
        }
    }

    async fn path(&self) -> Result<String, ClusterError> {
        let resource = self.cluster.resource(&lease()).await?;
        path::object(&resource, &self.object.namespace, &self.object.name).map_err(|error| {
            ClusterError::Unaskable {
                what: self.object.to_string(),
                why: error.to_string(),
            }
        })
    }

    async fn failed(&self, verb: &'static str, error: CallError) -> ClusterError {
        match self.cluster.resource(&lease()).await {
            Ok(resource) => {
                let permission = permission(&[verb], &resource, &self.object.namespace);
                ClusterError::from_call(self.cluster.server(), &permission, &resource.gvk, error)
            }
            Err(error) => error,
        }
    }

    /// The object as we want it. Its times are for people: nobody here reads them.
    fn body(
        &self,
        holder: &str,
        epoch: u64,
        version: Option<&str>,
        duration: Duration,
        text: &str,
    ) -> Vec<u8> {
        let now = Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
            .to_string();
        let mut body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.object.name, "namespace": self.object.namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration.as_secs(),
                "leaseTransitions": epoch,
                "renewTime": now,
            },
        });
        if let Some(version) = version {
            body["metadata"]["resourceVersion"] = Value::from(version);
        }
        if !text.is_empty() {
            body["metadata"]["annotations"] = json!({ CLAIMS: text });
        }
        body.to_string().into_bytes()
    }
}

enum Tried {
    Ours(Term),
    LookAt(Instant),
}

impl Standing {
    fn of(object: &Manifest) -> Self {
        let number = |key| {
            object
                .get(&["spec", key])
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        Self {
            holder: object.text(&["spec", "holderIdentity"]).to_owned(),
            version: object.resource_version().unwrap_or_default().to_owned(),
            transitions: number("leaseTransitions"),
            duration: Duration::from_secs(number("leaseDurationSeconds")),
        }
    }
}

fn version_of(body: &[u8]) -> String {
    parse_object(body)
        .ok()
        .and_then(|object| object.resource_version().map(str::to_owned))
        .unwrap_or_default()
}

fn lease() -> Gvk {
    Gvk::from_api_version("coordination.k8s.io/v1", "Lease")
}
