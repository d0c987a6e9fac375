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

use base64::Engine as _;
use bytes::Bytes;
use gix::ObjectId;
use lockstep_app::app::{Login, RemoteUrl, Revision};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url, redirect};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{FetchError, SetupError, Why};
use crate::packet::{Decoder, Encoder, Packet, decode, text};
use crate::refs::{BadListing, Refs};
use crate::sources::Options;

/// One listing of refs. A repository with 200,000 refs sends some 14 MB.
const LARGEST_LISTING_BYTES: usize = 128 << 20;

/// How many pieces of a pack wait for the disk: 16 of at most 64 KiB are 1 MiB for each fetch under way.
pub(crate) const PIECES_WAITING: usize = 16;

/// A connection that nobody used for so long is closed. Longer than the usual poll of 60 s, so that polls share one.
const IDLE: Duration = Duration::from_secs(90);

/// Some hosts answer the smart protocol only to clients whose name begins with `git/`.
const USER_AGENT: &str = concat!("git/lockstep-", env!("CARGO_PKG_VERSION"));

/// A remote together with who we are to it.
///
/// The credentials are attached to this one address: redirects are not followed, so they go nowhere else.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) remote: RemoteUrl,
    pub(crate) secret: Option<String>,
    authorization: Option<HeaderValue>,
    host: String,
}

impl Account {
    pub(crate) fn new(remote: &RemoteUrl, login: Option<&Login>) -> Result<Self, FetchError> {
        let url = Url::parse(remote.as_str()).map_err(|_| FetchError::NotGit {
            remote: remote.clone(),
        })?;
        let host = format!(
            "{}://{}:{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        let mut authorization = None;
        if let Some(login) = login {
            if url.scheme() != "https" && !is_loopback(&url) {
                return Err(FetchError::PlainHttp {
                    remote: remote.clone(),
                    secret: login.secret.clone(),
                });
            }
            let pair = format!("{}:{}", login.user, login.password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            // Base64 has no character that a header could not hold.
            let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|_| {
                FetchError::NotGit {
                    remote: remote.clone(),
                }
            })?;
            value.set_sensitive(true);
            authorization = Some(value);
        }
        let secret = login.map(|login| login.secret.clone());
        Ok(Self {
            remote: remote.clone(),
            secret,
            authorization,
            host,
        })
    }

    /// The directory's name for this remote and this Secret.
    pub(crate) fn digest(&self) -> String {
        digest(&[
            self.remote.as_str(),
            self.secret.as_deref().unwrap_or_default(),
        ])
    }

    /// The same with the password: who has another one does not share an errand.
    pub(crate) fn identity(&self) -> String {
        let password = self
            .authorization
            .as_ref()
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let password = hex::encode(Sha256::digest(password));
        digest(&[
            self.remote.as_str(),
            self.secret.as_deref().unwrap_or_default(),
            &password,
        ])
    }

    fn unreachable(&self, why: Why) -> FetchError {
        FetchError::Unreachable {
            remote: self.remote.clone(),
            why,
        }
    }

    fn corrupt(&self, what: &'static str) -> FetchError {
        FetchError::Corrupt {
            remote: self.remote.clone(),
            what,
        }
    }
}

/// 128 bits of SHA-256 over the parts, in hexadecimal digits. No part can hold the NUL between them.
fn digest(parts: &[&str]) -> String {
    let mut digest = hex::encode(Sha256::digest(parts.join("\0")));
    digest.truncate(32);
    digest
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What a remote told about itself, kept so that it is asked once.
#[derive(Clone, Debug)]
pub(crate) struct Speaks {
    protocol: Protocol,
    pub(crate) hash: gix::hash::Kind,
    /// The address that answers: the remote's, or the same with `.git` behind it.
    base: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// Commands, one a request.
    V2 { unborn: bool, shallow: bool },
    /// Refs come with the capabilities; also what servers of protocol 1 are spoken to in.
    V0 { shallow: bool, sidebands: bool },
}

/// Which commit, and which we have that its pack may build on.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) commit: ObjectId,
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
        if response.status().is_redirection() && !base.ends_with(".git") {
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
            .lines(have)
            .line("done")
            .flush()
            .bytes()),
        Protocol::V0 { .. } => Ok(Encoder::default()
            .line(&format!(
                "{want} side-band-64k thin-pack no-progress ofs-delta agent={USER_AGENT}"
            ))
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

/// A response with the status and the content type of git's protocol, or what its absence means.
fn accepted(
    account: &Account,
    response: Response,
    content_type: &str,
) -> Result<Response, FetchError> {
    let remote = account.remote.clone();
    let secret = account.secret.clone();
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .map(Duration::from_secs);
    let exhausted = header("x-ratelimit-remaining") == Some("0");
    match status {
        StatusCode::OK => {
            if header("content-type").is_some_and(|is| is.starts_with(content_type)) {
                Ok(response)
            } else {
                Err(FetchError::NotGit { remote })
            }
        }
        StatusCode::TOO_MANY_REQUESTS => Err(FetchError::RateLimited {
            remote,
            retry_after,
        }),
        StatusCode::FORBIDDEN if exhausted || retry_after.is_some() => {
            Err(FetchError::RateLimited {
                remote,
                retry_after,
            })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Refused {
            remote,
            secret,
            status: status.as_u16(),
        }),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(FetchError::NoSuchRepository { remote, secret })
        }
        _ if status.is_redirection() => Err(FetchError::Redirected {
            remote,
            to: redirect_target(&response),
        }),
        _ => Err(account.unreachable(Why::Status(status.as_u16()))),
    }
}

/// The repository that a redirect leads to, without user, query and what we had appended ourselves.
fn redirect_target(response: &Response) -> Option<RemoteUrl> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let mut to = response.url().join(location).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    let to = to.as_str();
    let base = to
        .strip_suffix("/info/refs")
        .or_else(|| to.strip_suffix("/git-upload-pack"))
        .unwrap_or(to);
    base.parse().ok()
}

async fn body(account: &Account, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut whole = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(account, error))?
    {
        if whole.len() + chunk.len() > LARGEST_LISTING_BYTES {
            return Err(bad_listing(account, &BadListing::TooMany));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// What the transport's error means; its text, which holds the address and may hold more, is left behind.
fn unreachable(account: &Account, error: reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut why = None;
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            why = Some(Why::Tls(tls.to_string()));
        } else if let Some(io) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Kind;
            if let Some(tls) = io
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                why = Some(Why::Tls(tls.to_string()));
            } else {
                why = why.or(match io.kind() {
                    Kind::ConnectionRefused => Some(Why::ConnectionRefused),
                    Kind::ConnectionReset
                    | Kind::ConnectionAborted
                    | Kind::BrokenPipe
                    | Kind::UnexpectedEof => Some(Why::BrokeOff),
                    Kind::TimedOut => Some(Why::Silent),
                    _ => None,
                });
            }
        }
        cause = error.source();
    }
    account.unreachable(why.unwrap_or(if error.is_timeout() {
        Why::Silent
    } else if error.is_connect() {
        Why::NoConnection
    } else {
        Why::BrokeOff
    }))
}

fn bad_listing(account: &Account, bad: &BadListing) -> FetchError {
    match bad {
        BadListing::Malformed => {
            account.corrupt("its list of refs is not what the git protocol says")
        }
        BadListing::ServerError => account.unreachable(Why::ServerError),
        BadListing::TooMany => FetchError::TooLarge {
            remote: account.remote.clone(),
            what: "the list of refs",
            limit: format!("{LARGEST_LISTING_BYTES} bytes"),
        },
    }
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

/// Reads the capabilities, and the refs when the server does not speak protocol 2.
fn greeting(
    account: &Account,
    base: String,
    answer: &[u8],
) -> Result<(Speaks, Option<Refs>), FetchError> {
    let not_git = || FetchError::NotGit {
        remote: account.remote.clone(),
    };
    let packets = decode(answer).map_err(|_| not_git())?;
    let mut lines = packets
        .iter()
        .filter_map(|packet| {
            if let Packet::Data(line) = packet {
                Some(line.as_ref())
            } else {
                None
            }
        })
        .filter(|line| !line.starts_with(b"# service="))
        .peekable();
    let first = lines.peek().copied().ok_or_else(not_git)?;
    if first.starts_with(b"ERR ") {
        return Err(account.unreachable(Why::ServerError));
    }
    if text(first) == Some("version 2") {
        let (mut hash, mut unborn, mut shallow) = (gix::hash::Kind::Sha1, false, false);
        for line in lines.filter_map(text) {
            let (name, values) = line.split_once('=').unwrap_or((line, ""));
            let has = |value| values.split(' ').any(|one| one == value);
            match name {
                "object-format" => hash = object_format(account, values)?,
                "ls-refs" => unborn = has("unborn"),
                "fetch" => shallow = has("shallow"),
                _ => {}
            }
        }
        return Ok((
            Speaks {
                protocol: Protocol::V2 { unborn, shallow },
                hash,
                base,
            },
            None,
        ));
    }
    // Protocol 1 only adds a line that says so.
    let mut lines = lines.skip_while(|line| text(line) == Some("version 1"));
    let first = lines.next().ok_or_else(not_git)?;
    let split = first
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(not_git)?;
    let (first, capabilities) = first.split_at(split);
    let capabilities = text(capabilities.get(1..).unwrap_or_default()).ok_or_else(not_git)?;
    let (mut hash, mut head) = (gix::hash::Kind::Sha1, None);
    for capability in capabilities.split(' ') {
        if let Some(format) = capability.strip_prefix("object-format=") {
            hash = object_format(account, format)?;
        } else if let Some(target) = capability.strip_prefix("symref=HEAD:") {
            head = Some(target);
        }
    }
    let has = |value| capabilities.split(' ').any(|one| one == value);
    let protocol = Protocol::V0 {
        shallow: has("shallow"),
        sidebands: has("side-band-64k"),
    };
    let lines = std::iter::once(first)
        .chain(lines)
        .filter_map(text)
        .filter(|line| !line.starts_with("shallow "));
    let refs = Refs::from_advertisement(account.remote.clone(), head, lines)
        .map_err(|bad| bad_listing(account, &bad))?;
    Ok((
        Speaks {
            protocol,
            hash,
            base,
        },
        Some(refs),
    ))
}

fn object_format(account: &Account, name: &str) -> Result<gix::hash::Kind, FetchError> {
    name.parse().map_err(|_| FetchError::Unsupported {
        remote: account.remote.clone(),
        what: "stores objects under a hash that is neither SHA-1 nor SHA-256",
    })
}

/// The object id of a revision, when it is one of this kind of repository.
pub(crate) fn object_id(revision: &Revision) -> Option<ObjectId> {
    ObjectId::from_hex(revision.as_str().as_bytes()).ok()
}
