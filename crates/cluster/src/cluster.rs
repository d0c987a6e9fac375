//! The server itself: what it serves, and reading from it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Config;
use lockstep_manifest::{Gvk, Manifest, ObjectId};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;

use crate::call::{self, Answer, Ask, CallError, LIST_DEADLINE, READ_DEADLINE};
use crate::connect::{self, Connect};
use crate::error::{ClusterError, Permission};
use crate::path;
use crate::served::{self, List, Lookup, Resource, Served};

/// The field manager of everything we apply.
pub const FIELD_MANAGER: &str = "lockstep";

/// How many calls are under way at once.
///
/// An API server allows 100 streams a connection and leaves the 101st waiting without a word (kube-rs has no count).
/// 64 leave room for leases, which do not queue here, and are more than a server answers at once.
const CALLS: usize = 64;

/// How many of those calls apply objects of one kind.
///
/// Creating a Service allocates an address, and an API server that is asked for 64 of them at once keeps the last one
/// waiting for 4 s, while everything else waits behind them. When 300 apps come to the same kind at the same moment,
/// this lets those that are past it go on.
const CALLS_A_KIND: usize = 16;

/// How many watches one connection carries: below the same 100, with room for those that are just being replaced.
const WATCHES_A_CONNECTION: usize = 80;

/// A discovery that is younger is not repeated when a kind is missing: forty objects of a missing kind ask once.
const DISCOVERY_REST: Duration = Duration::from_secs(2);

/// How many objects one page of a list has: client-go's figure.
const PAGE: usize = 500;

/// One API server. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: Config,
    server: String,
    calls: kube::Client,
    permits: Semaphore,
    kinds: std::sync::Mutex<HashMap<Gvk, Arc<Semaphore>>>,
    watches: std::sync::Mutex<Vec<WatchConnection>>,
    served: watch::Sender<Arc<Served>>,
    discovery: Mutex<Discovery>,
}

/// A connection that carries watches only.
struct WatchConnection {
    client: kube::Client,
    carried: Arc<AtomicUsize>,
}

/// The right to one watch on a connection; given back when dropped.
pub(crate) struct WatchSlot {
    pub(crate) client: kube::Client,
    carried: Arc<AtomicUsize>,
}

impl Drop for WatchSlot {
    fn drop(&mut self) {
        self.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Discovery {
    asked: Option<Instant>,
    core_etag: Option<String>,
    groups_etag: Option<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.inner.server)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects, and asks what is served.
    ///
    /// Errors: the configuration is the user's move; a server that does not answer is worth retrying.
    pub async fn connect(connect: Connect) -> Result<Self, ClusterError> {
        let cluster = Self::unconnected(&connect).await?;
        cluster.discover().await?;
        Ok(cluster)
    }

    /// Reads the configuration and sends nothing: for a daemon that starts before its server does.
    pub async fn unconnected(connect: &Connect) -> Result<Self, ClusterError> {
        let config = connect.config().await?;
        let calls = connect::client(&config)?;
        Ok(Self {
            inner: Arc::new(Inner {
                server: config
                    .cluster_url
                    .to_string()
                    .trim_end_matches('/')
                    .to_owned(),
                config,
                calls,
                permits: Semaphore::new(CALLS),
                kinds: std::sync::Mutex::default(),
                watches: std::sync::Mutex::default(),
                served: watch::Sender::new(Arc::new(Served::default())),
                discovery: Mutex::default(),
            }),
        })
    }

    /// Its address.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// The namespace of the ServiceAccount, or of the kubeconfig's context.
    pub fn default_namespace(&self) -> &str {
        &self.inner.config.default_namespace
    }

    /// Asks what is served, and returns the new snapshot.
    ///
    /// Bounds: two requests at once, answered from the server's memory, and with 304 when nothing changed.
    /// Errors: the half that was not answered stays as it was, so the last good answer is never lost.
    pub async fn discover(&self) -> Result<Arc<Served>, ClusterError> {
        let mut discovery = self.inner.discovery.lock().await;
        self.discover_now(&mut discovery).await
    }

    /// The same unless it was asked a moment ago: for a kind that is missed.
    pub(crate) async fn discover_soon(&self) -> Result<Arc<Served>, ClusterError> {
        let mut discovery = self.inner.discovery.lock().await;
        if discovery
            .asked
            .is_some_and(|asked| asked.elapsed() < DISCOVERY_REST)
        {
            return Ok(self.served());
        }
        self.discover_now(&mut discovery).await
    }

    async fn discover_now(&self, discovery: &mut Discovery) -> Result<Arc<Served>, ClusterError> {
        let (core, groups) = futures::join!(
            self.discovered("/api", discovery.core_etag.clone()),
            self.discovered("/apis", discovery.groups_etag.clone()),
        );
        discovery.asked = Some(Instant::now());
        let (core, groups, failed) = match (core, groups) {
            (Ok(core), Ok(groups)) => (core, groups, None),
            (Ok(core), Err(error)) => (core, None, Some(error)),
            (Err(error), Ok(groups)) => (None, groups, Some(error)),
            (Err(error), Err(_)) => return Err(error),
        };
        if let Some((etag, _)) = &core {
            discovery.core_etag.clone_from(etag);
        }
        if let Some((etag, _)) = &groups {
            discovery.groups_etag.clone_from(etag);
        }
        let next = self
            .served()
            .updated(core.map(|(_, list)| list), groups.map(|(_, list)| list));
        self.inner.served.send_if_modified(|served| {
            let changed = **served != next;
            if changed {
                *served = Arc::new(next);
            }
            changed
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(self.served()),
        }
    }

    /// One half; none when it is as it was.
    async fn discovered(
        &self,
        path: &str,
        etag: Option<String>,
    ) -> Result<Option<(Option<String>, List)>, ClusterError> {
        let ask = Ask {
            accept: served::ACCEPT,
            if_none_match: etag,
            ..Ask::get(path.to_owned())
        };
        let permission = Permission {
            verbs: vec!["get"],
            group: String::new(),
            resource: path.to_owned(),
            namespace: String::new(),
        };
        let nothing = Gvk::from_api_version("v1", path);
        let answer = self.call(ask).await.map_err(|error| {
            ClusterError::from_call(&self.inner.server, &permission, &nothing, error)
        })?;
        if answer.status == 304 {
            return Ok(None);
        }
        let list = List::parse(&answer.body).map_err(|why| self.not_understood(why))?;
        Ok(Some((answer.etag, list)))
    }

    /// What was served when it was last asked. Before the first answer every kind is Unknown.
    pub fn served(&self) -> Arc<Served> {
        self.inner.served.borrow().clone()
    }

    /// The same, to be told of changes.
    pub fn served_changes(&self) -> watch::Receiver<Arc<Served>> {
        self.inner.served.subscribe()
    }

    /// Reads one object, as it is now: never from a cache (F-06). None: it is not there.
    pub async fn get(&self, gvk: &Gvk, id: &ObjectId) -> Result<Option<Manifest>, ClusterError> {
        let resource = self.resource(gvk).await?;
        let path = path::object(&resource, &id.namespace, &id.name).map_err(|error| {
            ClusterError::Unaskable {
                what: id.to_string(),
                why: error.to_string(),
            }
        })?;
        match self.call(Ask::get(path)).await {
            Ok(answer) => self.object(&answer).map(Some),
            Err(CallError::Refused(status)) if status.code == 404 && status.names().is_some() => {
                Ok(None)
            }
            Err(error) => {
                let permission = permission(&["get"], &resource, &id.namespace);
                Err(ClusterError::from_call(
                    &self.inner.server,
                    &permission,
                    gvk,
                    error,
                ))
            }
        }
    }

    /// Reads all objects of a kind that carry the labels, as they are now. An empty namespace is all of them.
    ///
    /// Bounds: pages of 500, each with its own deadline.
    pub async fn list(
        &self,
        gvk: &Gvk,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Manifest>, ClusterError> {
        let resource = self.resource(gvk).await?;
        let mut objects = Vec::new();
        let mut next = None;
        loop {
            let page = self
                .page(&resource, namespace, selector, next.as_deref())
                .await?;
            objects.extend(page.objects);
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(objects),
            }
        }
    }

    /// One page of a list.
    pub(crate) async fn page(
        &self,
        resource: &Resource,
        namespace: &str,
        selector: &str,
        next: Option<&str>,
    ) -> Result<Page, ClusterError> {
        let path =
            path::collection(resource, namespace).map_err(|error| ClusterError::Unaskable {
                what: resource.gvk.to_string(),
                why: error.to_string(),
            })?;
        let limit = PAGE.to_string();
        let mut pairs = vec![("limit", limit.as_str()), ("labelSelector", selector)];
        pairs.extend(next.map(|token| ("continue", token)));
        let path = path::query(path, &pairs);
        let answer = self
            .call(Ask::get(path).within(LIST_DEADLINE))
            .await
            .map_err(|error| {
                let permission = permission(&["list", "watch"], resource, namespace);
                ClusterError::from_call(&self.inner.server, &permission, &resource.gvk, error)
            })?;
        Page::parse(&answer.body, &resource.gvk).map_err(|why| self.not_understood(why))
    }

    /// Where a kind is; asks again when it is not known.
    pub(crate) async fn resource(&self, gvk: &Gvk) -> Result<Resource, ClusterError> {
        if let Lookup::Found(resource) = self.served().find(gvk) {
            return Ok(resource);
        }
        match self.discover_soon().await?.find(gvk) {
            Lookup::Found(resource) => Ok(resource),
            Lookup::NotServed => Err(ClusterError::NotServed { gvk: gvk.clone() }),
            Lookup::Unknown(why) => Err(ClusterError::KindUnknown {
                gvk: gvk.clone(),
                why,
            }),
        }
    }

    /// Sends a request in the queue.
    pub(crate) async fn call(&self, ask: Ask) -> Result<Answer, CallError> {
        call::call(&self.inner.calls, Some(&self.inner.permits), ask).await
    }

    /// Sends a request in the queue of its kind first, so that one kind does not fill the queue of all.
    pub(crate) async fn call_for(&self, gvk: &Gvk, ask: Ask) -> Result<Answer, CallError> {
        let kind = {
            let mut kinds = self
                .inner
                .kinds
                .lock()
                .expect("nobody panics while holding this lock");
            let kind = kinds
                .entry(gvk.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(CALLS_A_KIND)));
            Arc::clone(kind)
        };
        // It is never closed, so this is always a permit.
        let _turn = kind.acquire().await.ok();
        self.call(ask).await
    }

    /// Sends a request past the queue: leases, which must not wait for forty applies.
    pub(crate) async fn call_at_once(&self, ask: Ask) -> Result<Answer, CallError> {
        call::call(&self.inner.calls, None, ask).await
    }

    /// A place for one watch, on a connection that has one.
    pub(crate) fn watch_slot(&self) -> Result<WatchSlot, ClusterError> {
        let mut connections = self
            .inner
            .watches
            .lock()
            .expect("nobody panics while holding this lock");
        let free = connections
            .iter()
            .find(|connection| connection.carried.load(Ordering::Relaxed) < WATCHES_A_CONNECTION);
        let connection = if let Some(connection) = free {
            connection
        } else {
            let client = connect::client(&self.inner.config)?;
            connections.push(WatchConnection {
                client,
                carried: Arc::default(),
            });
            connections.last().expect("it was pushed on the line above")
        };
        connection.carried.fetch_add(1, Ordering::Relaxed);
        Ok(WatchSlot {
            client: connection.client.clone(),
            carried: Arc::clone(&connection.carried),
        })
    }

    /// The one object of an answer.
    pub(crate) fn object(&self, answer: &Answer) -> Result<Manifest, ClusterError> {
        parse_object(&answer.body).map_err(|why| self.not_understood(why))
    }

    fn not_understood(&self, why: String) -> ClusterError {
        ClusterError::NotUnderstood {
            server: self.inner.server.clone(),
            why,
        }
    }
}

/// What these verbs need on a kind.
pub(crate) fn permission(
    verbs: &[&'static str],
    resource: &Resource,
    namespace: &str,
) -> Permission {
    Permission {
        verbs: verbs.to_vec(),
        group: resource.gvk.group.clone(),
        resource: resource.plural.clone(),
        namespace: if resource.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
    }
}

/// Reads an object. The text of the error holds a place, never a value.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Manifest, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
    Manifest::from_value(value).map_err(|error| format!("no object: {error}"))
}

pub(crate) fn not_json(error: &serde_json::Error) -> String {
    format!(
        "no JSON of the expected shape, at line {} column {}",
        error.line(),
        error.column()
    )
}

/// One page of a list.
pub(crate) struct Page {
    pub(crate) objects: Vec<Manifest>,
    pub(crate) next: Option<String>,
    pub(crate) version: String,
}

#[derive(Deserialize)]
struct WirePage {
    metadata: WireListMeta,
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct WireListMeta {
    resource_version: String,
    r#continue: String,
}

impl Page {
    fn parse(bytes: &[u8], gvk: &Gvk) -> Result<Self, String> {
        let wire: WirePage = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
        let api_version = gvk.api_version();
        let objects = wire
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|mut item| {
                // The items of a list of a built-in kind do not repeat what they are.
                if let Value::Object(body) = &mut item {
                    body.entry("apiVersion")
                        .or_insert_with(|| Value::from(api_version.as_str()));
                    body.entry("kind")
                        .or_insert_with(|| Value::from(gvk.kind.as_str()));
                }
                Manifest::from_value(item).map_err(|error| format!("no object: {error}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            objects,
            next: Some(wire.metadata.r#continue).filter(|token| !token.is_empty()),
            version: wire.metadata.resource_version,
        })
    }
}

/// How long a read may take; a watch's headers come as fast as a read.
pub(crate) const HEADERS_DEADLINE: Duration = READ_DEADLINE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_a_list_are_told_what_they_are() {
        let bytes = br#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"7","continue":"t"},
                         "items":[{"metadata":{"name":"a","namespace":"b","managedFields":[{"manager":"m"}]}}]}"#;
        let page = Page::parse(bytes, &Gvk::from_api_version("v1", "ConfigMap")).expect("a list");
        assert_eq!(
            (page.next.as_deref(), page.version.as_str()),
            (Some("t"), "7")
        );
        assert_eq!(page.objects[0].id().to_string(), "ConfigMap b/a");
        assert!(
            page.objects[0]
                .get(&["metadata", "managedFields"])
                .is_some()
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place_and_not_by_its_content() {
        let error = parse_object(br#"{"data": hunter2}"#).expect_err("it is no JSON");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
