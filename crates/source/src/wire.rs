//! Git's smart HTTP protocol on one shared client: list the refs, ask for a pack.
//!
//! gix's own transport opens a thread and a connection for every conversation and asks for the capabilities each time;
//! from a push to the tree that would be five round trips on two fresh connections. Here capabilities are asked for
//! once per remote, connections are kept, and a push costs two: `ls-refs` and `fetch`. Packs, indices and objects are
//! gix's (see [`crate::store`]).
//!
//! Source: gitprotocol-http(5), gitprotocol-v2(5), and gitprotocol-pack(5) for servers that know protocol 0 only.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gix::ObjectId;
use lockstep_app::app::Revision;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Response, redirect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::account::Account;
use crate::answer::{
    Protocol, Speaks, accepted, bad_listing, body, greeting, redirect_target, unreachable,
};
use crate::error::{FetchError, SetupError, Why};
use crate::packet::{Decoder, Encoder, Packet};
use crate::refs::Refs;
use crate::sources::Options;

/// How many pieces of a pack wait for the disk: 16 of at most 64 KiB are 1 MiB for each fetch under way.
pub(crate) const PIECES_WAITING: usize = 16;

/// A connection that nobody used for so long is closed. Longer than the usual poll of 60 s, so that polls share one.
const IDLE: Duration = Duration::from_secs(90);

/// Some hosts answer the smart protocol only to clients whose name begins with `git/`.
const USER_AGENT: &str = concat!("git/lockstep-", env!("CARGO_PKG_VERSION"));

/// Which commit, and which we have that its pack may build on.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) commit: ObjectId,
    /// Others that are worth bringing along.
    pub(crate) also: Vec<ObjectId>,
    pub(crate) have: Vec<ObjectId>,
}

/// A piece of a pack. A channel that closes without `End` broke off.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    End,
}

/// The shared client, and the seats at each host.
pub(crate) struct Wire {
    client: reqwest::Client,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    at_once: usize,
    listing_deadline: Duration,
    largest_repository_bytes: u64,
}

impl Wire {
    pub(crate) fn new(options: &Options) -> Result<Self, SetupError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(SetupError::NoTlsProvider);
        }
        let mut client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(options.timeout.min(Duration::from_secs(10)))
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true);
        if let Some(path) = &options.ca_file {
            client = client.tls_certs_merge(authorities(path)?);
        }
        Ok(Self {
            client: client.build().map_err(SetupError::Client)?,
            hosts: Mutex::default(),
            at_once: options.requests_per_host.max(1),
            listing_deadline: options.timeout,
            largest_repository_bytes: options.largest_repository_bytes,
        })
    }

    /// A seat at the host. Waiting for one counts towards no deadline: the host did nothing wrong.
    pub(crate) async fn seat(&self, account: &Account) -> Result<OwnedSemaphorePermit, FetchError> {
        let seats = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Semaphore::new(self.at_once));
            Arc::clone(hosts.entry(account.host.clone()).or_insert_with(fresh))
        };
        // It is never closed.
        seats
            .acquire_owned()
            .await
            .map_err(|_| account.unreachable(Why::NoConnection))
    }

    /// Lists the refs, and says what the remote speaks.
    pub(crate) async fn list(
        &self,
        account: &Account,
        speaks: Option<Arc<Speaks>>,
        also: &[String],
    ) -> Result<(Refs, Arc<Speaks>), FetchError> {
        let _seat = self.seat(account).await?;
        let after = self.listing_deadline;
        tokio::time::timeout(after, self.listing(account, speaks, also))
            .await
            .unwrap_or_else(|_| {
                Err(FetchError::TimedOut {
                    remote: account.remote.clone(),
                    doing: "listing",
                    after,
                })
            })
    }

    async fn listing(
        &self,
        account: &Account,
        speaks: Option<Arc<Speaks>>,
        also: &[String],
    ) -> Result<(Refs, Arc<Speaks>), FetchError> {
        let speaks = match speaks {
            Some(speaks) if matches!(speaks.protocol, Protocol::V2 { .. }) => speaks,
            _ => match self.greet(account).await? {
                (speaks, Some(refs)) => return Ok((refs, Arc::new(speaks))),
                (speaks, None) => Arc::new(speaks),
            },
        };
        let unborn = matches!(speaks.protocol, Protocol::V2 { unborn: true, .. });
        let request = command("ls-refs", speaks.hash)
            .line("peel")
            .line("symrefs")
            .lines(unborn.then(|| "unborn".to_owned()))
            .lines(
                ["HEAD", "refs/heads/", "refs/tags/"].map(|prefix| format!("ref-prefix {prefix}")),
            )
            .lines(also.iter().map(|name| format!("ref-prefix {name}")))
            .flush()
            .bytes();
        let response = self.ask(account, &speaks, request).await?;
        let answer = body(account, response).await?;
        let refs = Refs::from_listing(account.remote.clone(), &answer)
            .map_err(|bad| bad_listing(account, &bad))?;
        Ok((refs, speaks))
    }

    /// What the remote speaks, without its refs where they are not part of the answer anyway.
    pub(crate) async fn capabilities(&self, account: &Account) -> Result<Arc<Speaks>, FetchError> {
        let _seat = self.seat(account).await?;
        let after = self.listing_deadline;
        let speaks = tokio::time::timeout(after, self.greet(account))
            .await
            .unwrap_or_else(|_| {
                Err(FetchError::TimedOut {
                    remote: account.remote.clone(),
                    doing: "listing",
                    after,
                })
            })?;
        Ok(Arc::new(speaks.0))
    }

    async fn greet(&self, account: &Account) -> Result<(Speaks, Option<Refs>), FetchError> {
        let mut base = account.remote.as_str().to_owned();
        let mut response = self.advertisement(account, &base).await?;
        // Some hosts send `/shop` to `/shop.git`. That is the same repository at the same host, so it is asked there
        // at once instead of telling every user to add four letters.
        if response.status().is_redirection() && base.strip_suffix(".git").is_none() {
            let with_suffix = format!("{base}.git");
            if redirect_target(&response).is_some_and(|to| to.as_str() == with_suffix) {
                base = with_suffix;
                response = self.advertisement(account, &base).await?;
            }
        }
        let response = accepted(
            account,
            response,
            "application/x-git-upload-pack-advertisement",
        )?;
        let answer = body(account, response).await?;
        greeting(account, base, &answer)
    }

    async fn advertisement(&self, account: &Account, base: &str) -> Result<Response, FetchError> {
        let url = format!("{base}/info/refs?service=git-upload-pack");
        let request = self.client.get(url).headers(headers(account));
        request
            .send()
            .await
            .map_err(|error| unreachable(account, error))
    }

    async fn ask(
        &self,
        account: &Account,
        speaks: &Speaks,
        request: Vec<u8>,
    ) -> Result<Response, FetchError> {
        let response = self
            .client
            .post(format!("{}/git-upload-pack", speaks.base))
            .headers(headers(account))
            .header(
                header::CONTENT_TYPE,
                "application/x-git-upload-pack-request",
            )
            .header(header::ACCEPT, "application/x-git-upload-pack-result")
            .body(request)
            .send()
            .await
            .map_err(|error| unreachable(account, error))?;
        accepted(account, response, "application/x-git-upload-pack-result")
    }

    /// Asks for a commit at depth 1 and passes its pack on as it arrives.
    ///
    /// The caller holds a seat and a deadline. Ends early, and well, when nobody takes the pieces any more: then the taker knows why.
    pub(crate) async fn fetch(
        &self,
        account: &Account,
        speaks: &Speaks,
        wanted: &Wanted,
        to: mpsc::Sender<Piece>,
    ) -> Result<(), FetchError> {
        let request = fetch_request(account, speaks, wanted)?;
        let mut response = self.ask(account, speaks, request).await?;
        let mut decoder = Decoder::default();
        let mut received: u64 = 0;
        let mut begun = false;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unreachable(account, error))?
        {
            received += chunk.len() as u64;
            if received > self.largest_repository_bytes {
                return Err(FetchError::TooLarge {
                    remote: account.remote.clone(),
                    what: "the pack",
                    limit: format!("{} bytes", self.largest_repository_bytes),
                });
            }
            decoder.push(&chunk);
            while let Some(packet) = decoder
                .next()
                .map_err(|_| account.corrupt("the answer to a fetch is no packet lines"))?
            {
                match packet {
                    Packet::Data(mut data) => match data.first() {
                        Some(1) => {
                            begun = true;
                            if to.send(Piece::Data(data.split_off(1))).await.is_err() {
                                return Ok(());
                            }
                        }
                        // Progress, which we asked to be spared.
                        Some(2) => {}
                        Some(3) => return Err(account.unreachable(Why::ServerError)),
                        _ if data.starts_with(b"ERR ") => {
                            return Err(refusal(account, wanted, &data));
                        }
                        // Section names, what is shallow, what is acknowledged: we asked for one commit at depth 1
                        // and know all that already.
                        _ => {}
                    },
                    // Protocol 0 has a flush between what is shallow and the pack.
                    Packet::Flush if begun => {
                        return match to.send(Piece::End).await {
                            Ok(()) | Err(_) => Ok(()),
                        };
                    }
                    Packet::Flush | Packet::Delimiter | Packet::End => {}
                }
            }
        }
        Err(account.unreachable(Why::BrokeOff))
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, SetupError> {
    let bad = |cause: Box<dyn std::error::Error + Send + Sync>| SetupError::Authorities {
        path: path.to_owned(),
        cause,
    };
    let pem = std::fs::read(path).map_err(|error| bad(error.into()))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(error.into()))
}

/// A command of protocol 2. SHA-1 is not named: it goes without saying, and git before 2.28 refuses the word.
fn command(name: &str, hash: gix::hash::Kind) -> Encoder {
    Encoder::default()
        .line(&format!("command={name}"))
        .line(&format!("agent={USER_AGENT}"))
        .lines((hash != gix::hash::Kind::Sha1).then(|| format!("object-format={hash}")))
        .delimiter()
}

fn fetch_request(
    account: &Account,
    speaks: &Speaks,
    wanted: &Wanted,
) -> Result<Vec<u8>, FetchError> {
    let lacking = |what| {
        Err(FetchError::Unsupported {
            remote: account.remote.clone(),
            what,
        })
    };
    let want = format!("want {}", wanted.commit);
    // What we have was fetched at depth 1: without saying so, the server would leave out what only its parents hold.
    let shallow = wanted.have.iter().map(|id| format!("shallow {id}"));
    let also = wanted.also.iter().map(|id| format!("want {id}"));
    let have = wanted.have.iter().map(|id| format!("have {id}"));
    match speaks.protocol {
        Protocol::V2 { shallow: false, .. } | Protocol::V0 { shallow: false, .. } => {
            lacking("cannot send a single commit without its history")
        }
        Protocol::V0 {
            sidebands: false, ..
        } => lacking("does not know side-band-64k"),
        Protocol::V2 { .. } => Ok(command("fetch", speaks.hash)
            .line("thin-pack")
            .line("no-progress")
            .line("ofs-delta")
            .lines(shallow)
            .line("deepen 1")
            .line(&want)
            .lines(also)
            .lines(have)
            .line("done")
            .flush()
            .bytes()),
        Protocol::V0 { .. } => Ok(Encoder::default()
            .line(&format!(
                "{want} side-band-64k thin-pack no-progress ofs-delta agent={USER_AGENT}"
            ))
            .lines(also)
            .lines(shallow)
            .line("deepen 1")
            .flush()
            .lines(have)
            .line("done")
            .bytes()),
    }
}

fn headers(account: &Account) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("git-protocol", HeaderValue::from_static("version=2"));
    if let Some(authorization) = &account.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    headers
}

/// An `ERR` packet in answer to a fetch: it is about our commit when it holds its id, whatever its words.
fn refusal(account: &Account, wanted: &Wanted, line: &[u8]) -> FetchError {
    let id = wanted.commit.to_string();
    if line.windows(id.len()).any(|part| part == id.as_bytes()) {
        return FetchError::NoSuchTarget {
            remote: account.remote.clone(),
            target: id,
            near: Vec::new(),
        };
    }
    account.unreachable(Why::ServerError)
}

/// The object id of a revision, when it is one of this kind of repository.
pub(crate) fn object_id(revision: &Revision) -> Option<ObjectId> {
    ObjectId::from_hex(revision.as_str().as_bytes()).ok()
}
