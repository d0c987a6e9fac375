//! The independent watcher: raw watches on a connection of their own, each event stamped as its bytes arrive.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::Client;
use super::say;
use crate::controlplane::Address;
use crate::kube::path;

/// What was seen of an object.
#[derive(Debug)]
pub struct Seen {
    /// When the bytes came; for what was there at the beginning, when the list did.
    pub at: Instant,
    /// Which of the watched kinds.
    pub kind: &'static str,
    /// It is gone.
    pub removed: bool,
    /// The object.
    pub object: Value,
}

impl Seen {
    /// A text in the object; empty where it is not there.
    pub fn text(&self, pointer: &str) -> &str {
        self.object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The version of the object, which etcd counts up.
    pub fn version(&self) -> u64 {
        version(&self.object)
    }
}

/// The version of an object, which etcd counts up.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Some kinds, watched at once.
pub struct Watch {
    events: mpsc::UnboundedReceiver<Result<Seen>>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Lists these kinds in a namespace (an empty one is all of them), with these labels, and watches from there. What is
    /// there already comes first.
    pub async fn open(
        address: &Address,
        kinds: &[&'static str],
        namespace: &str,
        labels: &str,
    ) -> Result<Self> {
        let client = Client::open(address).await?;
        let (sender, events) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for kind in kinds.iter().copied() {
            let collection = format!(
                "{}?labelSelector={}",
                path(kind, namespace, ""),
                labels.replace('=', "%3D")
            );
            let list: Value =
                serde_json::from_slice(&client.stream(&collection).await?.bytes().await?)?;
            let version = version(&list);
            let items = list["items"].as_array().cloned().unwrap_or_default();
            for object in items {
                sender.send(Ok(Seen {
                    at: Instant::now(),
                    kind,
                    removed: false,
                    object,
                }))?;
            }
            let (sender, client) = (sender.clone(), client.clone());
            tasks.spawn(async move {
                let mut place = Place {
                    collection,
                    version,
                    kind,
                };
                // A send fails when nobody listens any more; then this ends too.
                if let Err(error) = place.follow(&client, &sender).await {
                    let _nobody = sender.send(Err(error));
                }
            });
        }
        Ok(Self {
            events,
            _tasks: tasks,
        })
    }

    /// The next event; fails when a watch has ended.
    pub async fn next(&mut self) -> Result<Seen> {
        self.events.recv().await.context("the watch has ended")?
    }

    /// The next event that is wished for, within this time.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut wished: impl FnMut(&Seen) -> bool,
    ) -> Result<Seen> {
        let looking = async {
            loop {
                let seen = self.next().await?;
                if wished(&seen) {
                    return Ok(seen);
                }
            }
        };
        tokio::time::timeout(limit, looking)
            .await
            .unwrap_or_else(|_| bail!("waited {limit:?} for {what}"))
    }

    /// Waits until nothing has come for this long.
    pub async fn silence(&mut self, length: Duration) -> Result<()> {
        while let Ok(seen) = tokio::time::timeout(length, self.next()).await {
            seen?;
        }
        Ok(())
    }
}

/// How far one watch has come.
struct Place {
    collection: String,
    version: u64,
    kind: &'static str,
}

impl Place {
    /// Reads on and on. A server that has much to do ends watches that it could not write to in time; the next one
    /// begins where that one was, so nothing is missed, and what came late is stamped late.
    async fn follow(
        &mut self,
        client: &Client,
        sender: &mpsc::UnboundedSender<Result<Seen>>,
    ) -> Result<()> {
        loop {
            let path = format!(
                "{}&watch=true&timeoutSeconds=7200&resourceVersion={}",
                self.collection, self.version
            );
            let answer = client.stream(&path).await?;
            self.read(answer, sender).await?;
            say(&format!("the server ended the watch of {}", self.kind));
        }
    }

    async fn read(
        &mut self,
        answer: reqwest::Response,
        sender: &mpsc::UnboundedSender<Result<Seen>>,
    ) -> Result<()> {
        let kind = self.kind;
        let mut stream = answer.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.next().await {
            let at = Instant::now();
            let chunk = chunk.with_context(|| format!("the watch of {kind} broke off"))?;
            buffer.extend_from_slice(&chunk);
            let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let rest = buffer.split_off(end + 1);
            let lines = buffer.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                let mut event: Value = serde_json::from_slice(line)?;
                if event["type"] == "ERROR" {
                    bail!("the watch of {kind}: {}", event["object"]);
                }
                let removed = event["type"] == "DELETED";
                let object = event["object"].take();
                self.version = version(&object);
                sender.send(Ok(Seen {
                    at,
                    kind,
                    removed,
                    object,
                }))?;
            }
            buffer = rest;
        }
        Ok(())
    }
}
