//! A watch that goes on by itself: lists, follows, resumes, and says when it does not see.
//!
//! kube's watcher is not used: it echoes answers into the log, cannot fall back from streaming lists to pages, and
//! rewrites metadata through a typed struct. The protocol is the API server's own (KEP-3157, KEP-956).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use futures::{Stream, stream};
use http::Request;
use lockstep_app::Fault;
use lockstep_manifest::{Gvk, Manifest};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::call::{CallError, network, unreachable_for};
use crate::cluster::{Cluster, HEADERS_DEADLINE, WatchSlot, not_json, permission};
use crate::error::{ClusterError, Permission};
use crate::path;
use crate::served::{Resource, Served};
use crate::status::Status;

/// What a watch says.
///
/// Shape: `Restarted`, everything there is as `Applied`, `Complete`, and then changes as they come. What was there
/// before a `Restarted` and was not said again until `Complete` is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// All that was said before is void; it is said again from the beginning.
    Restarted,
    /// The object is there, as it stands here.
    Applied(Box<Manifest>),
    /// The object is gone, or no longer carries the labels that select it; this is how it was last. Who must know
    /// which reads it.
    Deleted(Box<Manifest>),
    /// Everything there is has been said since `Restarted`; also said when a watch that was broken sees again.
    Complete,
    /// Nothing is seen at present: what is known is old. It goes on by itself, and says `Complete` when it sees.
    Broken(Fault),
}

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) gvk: Gvk,
    /// Empty: all of them.
    pub(crate) namespace: String,
    pub(crate) selector: String,
}

/// The longest line of a watch: etcd holds objects of 1.5 MB, and JSON is about twice that.
const LONGEST_LINE: usize = 8 << 20;

/// How long the server keeps a watch open, with as much again at random so that they do not all end together. A dead
/// connection is noticed by its pings long before.
const OPEN_FOR_SECONDS: u64 = 240;

/// How much longer than it promised the server may keep silent.
const GRACE: Duration = Duration::from_secs(15);

/// The waits after a failure: from half a second, doubled, to half a minute (F-01).
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Watches a kind in all namespaces; an empty selector selects everything.
    ///
    /// Bounds: memory is one object and what the consumer holds; where the server has no streaming lists, one page of
    /// 500 objects. A consumer that is slow slows the stream, and loses nothing.
    pub fn watch(&self, gvk: &Gvk, selector: &str) -> impl Stream<Item = Seen> + Send + use<> {
        self.watch_in(Scope {
            gvk: gvk.clone(),
            namespace: String::new(),
            selector: selector.to_owned(),
        })
    }

    pub(crate) fn watch_in(&self, scope: Scope) -> impl Stream<Item = Seen> + Send + use<> {
        let watch = Watch {
            cluster: self.clone(),
            served: self.served_changes(),
            scope,
            slot: None,
            phase: Phase::Start,
            begin: Begin::Streaming,
            sight: Sight::NotYet,
            failures: 0,
            rest_until: None,
            said: VecDeque::new(),
        };
        stream::unfold(watch, |mut watch| async move {
            let seen = watch.next().await;
            Some((seen, watch))
        })
    }
}

struct Watch {
    cluster: Cluster,
    served: watch::Receiver<Arc<Served>>,
    scope: Scope,
    slot: Option<WatchSlot>,
    phase: Phase,
    begin: Begin,
    sight: Sight,
    failures: u32,
    rest_until: Option<Instant>,
    said: VecDeque<Seen>,
}

/// How everything there is gets said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// By the watch itself: half the time, and one object in memory.
    Streaming,
    /// By pages, where the server has no streaming lists.
    Pages,
}

/// Does the consumer have a true picture?
#[derive(PartialEq)]
enum Sight {
    NotYet,
    Complete,
    Broken(Fault),
}

enum Phase {
    /// Nothing is known.
    Start,
    /// In the middle of the pages.
    Paging { next: Option<String> },
    /// Everything up to this version was said; a watch has to be opened.
    Resume { version: String },
    /// A watch says everything there is.
    Saying { lines: Lines },
    /// A watch says what changes.
    Following { version: String, lines: Lines },
}

/// Why a phase ended.
enum Trouble {
    /// What is known is too old; begin anew.
    Expired,
    /// Streaming lists are not served.
    NoStreaming,
    /// The connection ended, as all do.
    Ended,
    /// Nothing can be seen.
    Broken(ClusterError),
}

impl Watch {
    async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.said.pop_front() {
                return seen;
            }
            self.rested().await;
            let phase = std::mem::replace(&mut self.phase, Phase::Start);
            let version = phase.version().map(str::to_owned);
            match self.step(phase).await {
                Ok(next) => self.phase = next,
                Err(trouble) => {
                    if let Trouble::Broken(ClusterError::NotServed { .. }) = &trouble {
                        // The path is gone: what we believe to be served is old.
                        let asked = self.cluster.discover_soon().await;
                        tracing::debug!(ok = asked.is_ok(), "asked again what is served");
                    }
                    self.recover(trouble, version);
                }
            }
        }
    }

    /// Waits as long as was decided, or until something else is served.
    async fn rested(&mut self) {
        let Some(until) = self.rest_until.take() else {
            return;
        };
        tokio::select! {
            () = sleep_until(until) => {}
            Ok(()) = self.served.changed() => {}
        }
    }

    async fn step(&mut self, phase: Phase) -> Result<Phase, Trouble> {
        match phase {
            Phase::Start => match self.begin {
                Begin::Streaming => {
                    let lines = self.open(Open::Everything).await?;
                    self.said.push_back(Seen::Restarted);
                    self.sight = Sight::NotYet;
                    Ok(Phase::Saying { lines })
                }
                Begin::Pages => self.page(None).await,
            },
            Phase::Paging { next } => self.page(next).await,
            Phase::Resume { version } => {
                let lines = self.open(Open::Since(&version)).await?;
                if self.sight != Sight::Complete {
                    self.complete();
                }
                Ok(Phase::Following { version, lines })
            }
            Phase::Saying { mut lines } => match self.line(&mut lines).await? {
                Line::Applied(object) => {
                    self.said.push_back(Seen::Applied(object));
                    Ok(Phase::Saying { lines })
                }
                Line::Deleted(object) => {
                    self.said.push_back(Seen::Deleted(object));
                    Ok(Phase::Saying { lines })
                }
                Line::Bookmark { version, end: true } => {
                    self.complete();
                    Ok(Phase::Following { version, lines })
                }
                Line::Bookmark { end: false, .. } => Ok(Phase::Saying { lines }),
            },
            Phase::Following { version, mut lines } => {
                let version = match self.line(&mut lines).await? {
                    Line::Applied(object) => {
                        let version = object.resource_version().unwrap_or(&version).to_owned();
                        self.said.push_back(Seen::Applied(object));
                        version
                    }
                    Line::Deleted(object) => {
                        let version = object.resource_version().unwrap_or(&version).to_owned();
                        self.said.push_back(Seen::Deleted(object));
                        version
                    }
                    Line::Bookmark { version, .. } => version,
                };
                Ok(Phase::Following { version, lines })
            }
        }
    }

    fn complete(&mut self) {
        self.sight = Sight::Complete;
        self.said.push_back(Seen::Complete);
    }

    /// Decides how to go on. `version`: up to which everything was said.
    fn recover(&mut self, trouble: Trouble, version: Option<String>) {
        match trouble {
            Trouble::Expired => {
                self.phase = Phase::Start;
                // When a server restarts, every watch expires at once (F-04).
                self.rest(Duration::from_millis(fastrand::u64(0..1000)));
            }
            Trouble::NoStreaming => {
                self.begin = Begin::Pages;
                self.phase = Phase::Start;
            }
            Trouble::Ended => {
                self.phase = match version {
                    Some(version) => Phase::Resume { version },
                    None => Phase::Start,
                };
                // The first time at once; a server that ends each watch as it begins gets the usual waits.
                if self.failures > 0 {
                    self.rest(wait(self.failures, fastrand::f64()));
                }
                self.failures = self.failures.saturating_add(1);
            }
            Trouble::Broken(error) => {
                let gone = matches!(error, ClusterError::NotServed { .. });
                self.phase = match version {
                    // A kind that went and came back has another history.
                    Some(version) if !gone => Phase::Resume { version },
                    _ => Phase::Start,
                };
                let wait = wait(self.failures, fastrand::f64());
                self.rest(error.retry_after().map_or(wait, |asked| asked.max(wait)));
                self.failures = self.failures.saturating_add(1);
                let fault = error.fault();
                if self.sight != Sight::Broken(fault.clone()) {
                    self.said.push_back(Seen::Broken(fault.clone()));
                    self.sight = Sight::Broken(fault);
                }
            }
        }
    }

    fn rest(&mut self, wait: Duration) {
        self.served.mark_unchanged();
        self.rest_until = Some(Instant::now() + wait);
    }

    async fn page(&mut self, next: Option<String>) -> Result<Phase, Trouble> {
        let resource = self.resource().await?;
        let Scope {
            namespace,
            selector,
            ..
        } = &self.scope;
        let page = self
            .cluster
            .page(&resource, namespace, selector, next.as_deref())
            .await;
        let page = match page {
            Ok(page) => page,
            Err(ClusterError::Refused { status: 410, .. }) => return Err(Trouble::Expired),
            Err(error) => return Err(Trouble::Broken(error)),
        };
        if next.is_none() {
            self.said.push_back(Seen::Restarted);
            self.sight = Sight::NotYet;
        }
        self.said.extend(
            page.objects
                .into_iter()
                .map(|object| Seen::Applied(Box::new(object))),
        );
        if page.next.is_some() {
            return Ok(Phase::Paging { next: page.next });
        }
        self.complete();
        Ok(Phase::Resume {
            version: page.version,
        })
    }

    async fn resource(&mut self) -> Result<Resource, Trouble> {
        self.cluster
            .resource(&self.scope.gvk)
            .await
            .map_err(Trouble::Broken)
    }

    /// Opens a watch.
    async fn open(&mut self, open: Open<'_>) -> Result<Lines, Trouble> {
        let resource = self.resource().await?;
        let Scope {
            namespace,
            selector,
            gvk,
        } = &self.scope;
        let seconds = OPEN_FOR_SECONDS + fastrand::u64(0..OPEN_FOR_SECONDS);
        let path = path::collection(&resource, namespace).map_err(|error| {
            let (what, why) = (gvk.to_string(), error.to_string());
            Trouble::Broken(ClusterError::Unaskable { what, why })
        })?;
        let open_for = seconds.to_string();
        let mut pairs = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", open_for.as_str()),
            ("labelSelector", selector.as_str()),
        ];
        match open {
            // Without a version it is a consistent read: never older than this moment.
            Open::Everything => pairs.extend([
                ("sendInitialEvents", "true"),
                ("resourceVersionMatch", "NotOlderThan"),
            ]),
            Open::Since(version) => pairs.push(("resourceVersion", version)),
        }
        let path = path::query(path, &pairs);
        let broken = |error| {
            let permission = permission(&["list", "watch"], &resource, namespace);
            Trouble::Broken(ClusterError::from_call(
                self.cluster.server(),
                &permission,
                gvk,
                error,
            ))
        };
        let slot = match self.slot.take() {
            Some(slot) => slot,
            None => self.cluster.watch_slot().map_err(Trouble::Broken)?,
        };
        let client = slot.client.clone();
        self.slot = Some(slot);
        let request = Request::get(path).body(Vec::new()).map_err(|error| {
            broken(CallError::NotUnderstood {
                why: error.to_string(),
            })
        })?;
        let opened = timeout(HEADERS_DEADLINE, client.request_stream(request)).await;
        match opened {
            Ok(Ok(reader)) => Ok(Lines {
                permission: permission(&["list", "watch"], &resource, namespace),
                reader: Box::pin(reader),
                buffer: Vec::new(),
                silence: Duration::from_secs(seconds) + GRACE,
            }),
            Ok(Err(error)) => Err(match unreachable_for(&error) {
                CallError::Refused(status) if status.code == 410 => Trouble::Expired,
                CallError::Refused(status)
                    if open == Open::Everything && [400, 405, 422].contains(&status.code) =>
                {
                    Trouble::NoStreaming
                }
                other => broken(other),
            }),
            Err(_) => Err(broken(CallError::TimedOut {
                after: HEADERS_DEADLINE,
            })),
        }
    }

    /// Reads one event.
    async fn line(&mut self, lines: &mut Lines) -> Result<Line, Trouble> {
        let (server, scope) = (self.cluster.server(), &self.scope);
        let permission = lines.permission.clone();
        let broken = |error| {
            Trouble::Broken(ClusterError::from_call(
                server,
                &permission,
                &scope.gvk,
                error,
            ))
        };
        match lines.next().await {
            Ok(Some(bytes)) => match Line::parse(bytes) {
                Ok(Event::Line(line)) => {
                    self.failures = 0;
                    Ok(line)
                }
                Ok(Event::Error(status)) if status.code == 410 => Err(Trouble::Expired),
                Ok(Event::Error(status)) => Err(broken(CallError::Refused(status))),
                Err(why) => Err(broken(CallError::NotUnderstood { why })),
            },
            // Servers and proxies end watches as they like; the next one goes on where this ended.
            Ok(None) | Err(Cut::Connection) => Err(Trouble::Ended),
            Err(Cut::TooLong) => {
                let why = format!("a watch event is longer than {LONGEST_LINE} bytes");
                Err(broken(CallError::NotUnderstood { why }))
            }
        }
    }
}

impl Phase {
    /// Up to which version everything was said.
    fn version(&self) -> Option<&str> {
        match self {
            Self::Resume { version } | Self::Following { version, .. } => Some(version),
            Self::Start | Self::Paging { .. } | Self::Saying { .. } => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open<'a> {
    Everything,
    Since(&'a str),
}

/// How long to wait after so many failures. `chance` in 0..1 makes it between half and all of the doubled wait.
fn wait(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST_WAIT
        .saturating_mul(1_u32 << failures.min(10))
        .min(LONGEST_WAIT);
    doubled.mul_f64(0.5 + chance / 2.0)
}

/// The lines of a watch.
struct Lines {
    permission: Permission,
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    buffer: Vec<u8>,
    silence: Duration,
}

/// Why there are no more lines.
enum Cut {
    Connection,
    TooLong,
}

impl Lines {
    /// The next line, without its end. None: the stream ended.
    async fn next(&mut self) -> Result<Option<&[u8]>, Cut> {
        // One very large object must not keep its memory for the life of the watch.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        loop {
            let chunk = match timeout(self.silence, self.reader.fill_buf()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    tracing::debug!(why = network(&error), "watch cut");
                    return Err(Cut::Connection);
                }
                Err(_) => return Err(Cut::Connection),
            };
            if chunk.is_empty() {
                // Half a line at the end is no event.
                return Ok(None);
            }
            let (taken, whole) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (chunk.len(), false),
            };
            if self.buffer.len() + taken > LONGEST_LINE {
                return Err(Cut::TooLong);
            }
            self.buffer.extend_from_slice(&chunk[..taken]);
            self.reader.as_mut().consume(taken);
            if whole {
                return Ok(Some(&self.buffer));
            }
        }
    }
}

/// One event of a watch.
#[derive(Debug, PartialEq)]
enum Line {
    Applied(Box<Manifest>),
    Deleted(Box<Manifest>),
    Bookmark { version: String, end: bool },
}

enum Event {
    Line(Line),
    Error(Status),
}

#[derive(Deserialize)]
struct Wire {
    r#type: WireType,
    object: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum WireType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl Line {
    fn parse(bytes: &[u8]) -> Result<Event, String> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
        let object = |value| {
            Manifest::from_value(value)
                .map(Box::new)
                .map_err(|error| format!("a watch event is no object: {error}"))
        };
        let line = match wire.r#type {
            WireType::Added | WireType::Modified => Self::Applied(object(wire.object)?),
            WireType::Deleted => Self::Deleted(object(wire.object)?),
            WireType::Bookmark => {
                let at = |pointer| wire.object.pointer(pointer).and_then(Value::as_str);
                Self::Bookmark {
                    version: at("/metadata/resourceVersion")
                        .ok_or("a bookmark has no version")?
                        .to_owned(),
                    end: at("/metadata/annotations/k8s.io~1initial-events-end") == Some("true"),
                }
            }
            WireType::Error => {
                let status = serde_json::from_value(wire.object).map_err(|e| not_json(&e))?;
                return Ok(Event::Error(status));
            }
        };
        Ok(Event::Line(line))
    }
}

#[cfg(test)]
mod tests;
