//! The front door: which commit does a target name, and what files does it hold?

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use gix::ObjectId;
use lockstep_app::app::{Login, RemoteUrl, Revision};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::account::Account;
use crate::answer::Speaks;
use crate::cache::Cache;
use crate::error::{FetchError, SetupError, Why};
use crate::flight::Flights;
use crate::pack::PackReader;
use crate::refs::Refs;
use crate::snapshot::Snapshot;
use crate::store::{Limits, Store, StoreError};
use crate::wire::{PIECES_WAITING, Wanted, Wire, object_id};

/// Where the cache is, and the bounds of everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cache of bare repositories; it belongs to this process alone while it runs.
    pub directory: PathBuf,
    /// How long a listing of refs may take, connection included.
    pub timeout: Duration,
    /// How long one commit may take to arrive and be stored.
    pub fetch_timeout: Duration,
    /// How large one pack may be, and what a repository may grow to before it is cloned afresh.
    pub largest_repository_bytes: u64,
    /// How large one file, folder or commit of a repository may be.
    pub largest_object_bytes: usize,
    /// How many files and folders one commit may have.
    pub most_files: usize,
    /// How many commits are fetched at the same time, from all hosts together.
    pub fetches_at_once: usize,
    /// How many requests go to one host at the same time.
    pub requests_per_host: usize,
    /// A PEM file with certificate authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

impl Options {
    /// The defaults, for a cache in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            // Argo CD's own limit for a listing.
            timeout: Duration::from_secs(15),
            // A gibibyte at 12 MB/s.
            fetch_timeout: Duration::from_secs(90),
            largest_repository_bytes: 1 << 30,
            largest_object_bytes: 128 << 20,
            // Linux, as a tree, has 90,000.
            most_files: 500_000,
            // Each holds a thread and up to a core while its pack is indexed.
            fetches_at_once: 8,
            // Hosts look askance at more from one address; HTTP/2 carries them all on one connection.
            requests_per_host: 8,
            ca_file: None,
        }
    }
}

/// How much was asked of git hosts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Listings of refs.
    pub ls_refs: u64,
    /// Commits fetched.
    pub fetches: u64,
    /// Listings and fetches that failed.
    pub failures: u64,
}

/// What a git host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Which refs there are.
    Listing,
    /// A commit.
    Fetch,
}

type Witness = Box<dyn Fn(&RemoteUrl, Request) + Send + Sync>;

/// Git remotes, and the trees of their commits. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    cache: Cache,
    fetch_deadline: Duration,
    fetching: Semaphore,
    places: Mutex<HashMap<String, Arc<Place>>>,
    listings: Flights<(String, Vec<String>), Arc<Refs>>,
    fetches: Flights<(String, Revision), Snapshot>,
    ls_refs: AtomicU64,
    fetched: AtomicU64,
    failures: AtomicU64,
    witness: OnceLock<Witness>,
}

/// What is kept for one remote and one login.
///
/// The login's Secret is part of it, so that a commit which was fetched with one project's credentials is never
/// served to an app that has none; its password is not, so that a new one finds the old cache.
struct Place {
    digest: String,
    speaks: Mutex<Option<Arc<Speaks>>>,
    /// The last listing.
    refs: Mutex<Option<Arc<Refs>>>,
    store: OnceCell<Mutex<Option<Arc<Store>>>>,
    listing: Semaphore,
    fetching: Semaphore,
}

impl Place {
    fn speaks(&self) -> Option<Arc<Speaks>> {
        self.speaks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_refs(&self, refs: Option<Arc<Refs>>) {
        *self.refs.lock().unwrap_or_else(PoisonError::into_inner) = refs;
    }

    /// Commits of `store` that refs still point to: a fresh clone brings them along, else each of them would be
    /// fetched again one by one.
    fn current(&self, store: &Store, but: ObjectId) -> Vec<ObjectId> {
        let refs = self
            .refs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(refs) = refs else { return Vec::new() };
        let tips: HashSet<ObjectId> = refs
            .iter()
            .filter_map(|(_, revision)| object_id(revision))
            .collect();
        let mut commits = store.commits();
        commits.retain(|commit| *commit != but && tips.contains(commit));
        commits.truncate(MOST_BROUGHT_ALONG);
        commits
    }

    fn set_speaks(&self, speaks: Option<Arc<Speaks>>) {
        *self.speaks.lock().unwrap_or_else(PoisonError::into_inner) = speaks;
    }
}

/// How many commits a fresh clone brings along.
const MOST_BROUGHT_ALONG: usize = 256;

/// Tells the blocking side to give up when the async side does, for whatever reason.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sources {
    /// Takes the cache directory and sets up the client.
    ///
    /// Errors: another process holds the directory, or it cannot be used; no TLS provider is installed.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let limits = Limits {
            repository_bytes: options.largest_repository_bytes,
            object_bytes: options.largest_object_bytes,
            files: options.most_files,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                wire: Wire::new(&options)?,
                cache: Cache::open(&options.directory, limits)?,
                fetch_deadline: options.fetch_timeout,
                fetching: Semaphore::new(options.fetches_at_once.max(1)),
                places: Mutex::default(),
                listings: Flights::default(),
                fetches: Flights::default(),
                ls_refs: AtomicU64::new(0),
                fetched: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                witness: OnceLock::new(),
            }),
        })
    }

    /// Lists `HEAD`, the branches and the tags of a remote.
    ///
    /// Bounds: one round trip, and one more before the first; ends within `Options::timeout` once the host has a place
    /// for it. Callers that come before the question is sent share it; who comes later shares the next one, because
    /// the answer under way may be older than the push that sent them.
    pub async fn refs(
        &self,
        remote: &RemoteUrl,
        login: Option<&Login>,
    ) -> Result<Arc<Refs>, FetchError> {
        self.refs_and(remote, login, &[]).await
    }

    /// Lists the same, and the refs below further full names such as `refs/pull/7/head`, which nobody wants all of.
    pub async fn refs_and(
        &self,
        remote: &RemoteUrl,
        login: Option<&Login>,
        also: &[String],
    ) -> Result<Arc<Refs>, FetchError> {
        let account = Account::new(remote, login)?;
        let mut also = also.to_vec();
        also.sort();
        also.dedup();
        let key = (account.identity(), also);
        let inner = Arc::clone(&self.inner);
        let again = key.clone();
        self.inner
            .listings
            .join(key, move || inner.look(account, again))
            .await
    }

    /// Which commit `target` names, by refs that were listed.
    ///
    /// Shape: empty or `HEAD`, a complete commit id, a full ref name, a branch, a tag, or at least seven digits of a
    /// commit that a ref names or that was fetched before. Refused when a branch and a tag have the same name.
    pub fn resolve(refs: &Refs, target: &str) -> Result<Revision, FetchError> {
        refs.resolve(target)
    }

    /// The files of a commit, fetched at depth 1 when they are not here yet.
    ///
    /// Bounds: no request when the commit is here; else one, and one more before the first to a remote; ends within
    /// `Options::fetch_timeout` once the host has a place for it. One fetch at a time for each remote; callers for the
    /// same commit share it.
    pub async fn tree(
        &self,
        remote: &RemoteUrl,
        login: Option<&Login>,
        revision: &Revision,
    ) -> Result<Snapshot, FetchError> {
        let account = Account::new(remote, login)?;
        let place = self.inner.place(&account);
        if let Some(snapshot) = self.inner.here(&account, &place, revision).await? {
            return Ok(snapshot);
        }
        let key = (account.identity(), revision.clone());
        let inner = Arc::clone(&self.inner);
        let revision = revision.clone();
        self.inner
            .fetches
            .join(key, move || async move {
                inner.bring(account, place, revision).await
            })
            .await
    }

    /// What a target names now, with its files: the way from a push to a tree in two round trips.
    pub async fn latest(
        &self,
        remote: &RemoteUrl,
        login: Option<&Login>,
        target: &str,
    ) -> Result<Snapshot, FetchError> {
        let unusual = target.starts_with("refs/")
            && !target.starts_with("refs/heads/")
            && !target.starts_with("refs/tags/");
        let also = if unusual {
            vec![target.to_owned()]
        } else {
            Vec::new()
        };
        let refs = self.refs_and(remote, login, &also).await?;
        self.tree(remote, login, &refs.resolve(target)?).await
    }

    /// Calls this at every request that is sent, once however many wait for its answer. Only the first one is called.
    pub fn witness(&self, witness: impl Fn(&RemoteUrl, Request) + Send + Sync + 'static) {
        let _first = self.inner.witness.set(Box::new(witness));
    }

    /// How much was asked of git hosts so far.
    pub fn counts(&self) -> Counts {
        Counts {
            ls_refs: self.inner.ls_refs.load(Ordering::Relaxed),
            fetches: self.inner.fetched.load(Ordering::Relaxed),
            failures: self.inner.failures.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn place(&self, account: &Account) -> Arc<Place> {
        let digest = account.digest();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            Arc::new(Place {
                digest: digest.clone(),
                speaks: Mutex::default(),
                refs: Mutex::default(),
                store: OnceCell::new(),
                listing: Semaphore::new(1),
                fetching: Semaphore::new(1),
            })
        };
        Arc::clone(places.entry(digest.clone()).or_insert_with(fresh))
    }

    fn asks(&self, account: &Account, request: Request) {
        let count = match request {
            Request::Listing => &self.ls_refs,
            Request::Fetch => &self.fetched,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(witness) = self.witness.get() {
            witness(&account.remote, request);
        }
    }

    /// The errand of a listing.
    async fn look(
        self: Arc<Self>,
        account: Account,
        key: (String, Vec<String>),
    ) -> Result<Arc<Refs>, FetchError> {
        let place = self.place(&account);
        // Lets everybody who is ready at this moment join. A task of its own makes sure of it; yielding would not,
        // because every caller that joins polls this errand, and so ends the yield before the next one comes.
        let mut turn = JoinSet::new();
        turn.spawn(async {});
        turn.join_next().await;
        let _one = permit(&place.listing, &account).await?;
        self.listings.close(&key);
        self.asks(&account, Request::Listing);
        match self.wire.list(&account, place.speaks(), &key.1).await {
            Ok((mut refs, speaks)) => {
                place.set_speaks(Some(speaks));
                if let Some(store) = self.store(&account, &place).await? {
                    refs.known = store
                        .commits()
                        .iter()
                        .filter_map(|commit| commit.to_string().parse().ok())
                        .collect();
                }
                let refs = Arc::new(refs);
                place.set_refs(Some(Arc::clone(&refs)));
                Ok(refs)
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                place.set_speaks(None);
                Err(error)
            }
        }
    }

    /// The repository of a place, opened once.
    async fn store(
        self: &Arc<Self>,
        account: &Account,
        place: &Place,
    ) -> Result<Option<Arc<Store>>, FetchError> {
        let slot = place
            .store
            .get_or_try_init(|| async {
                let inner = Arc::clone(self);
                let digest = place.digest.clone();
                let opened = blocking(account, move || inner.cache.repository(&digest)).await?;
                Ok(Mutex::new(opened.map(Arc::new)))
            })
            .await?;
        Ok(slot.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The commit, when it is here.
    async fn here(
        self: &Arc<Self>,
        account: &Account,
        place: &Place,
        revision: &Revision,
    ) -> Result<Option<Snapshot>, FetchError> {
        let Some(commit) = object_id(revision) else {
            return Ok(None);
        };
        let Some(store) = self.store(account, place).await? else {
            return Ok(None);
        };
        if !store.has(&commit) {
            return Ok(None);
        }
        let read = blocking(account, move || Snapshot::read(&store, commit)).await;
        match read {
            Ok(snapshot) => Ok(Some(snapshot)),
            // It was listed and cannot be read: the store is suspect now, and the fetch begins afresh.
            Err(FetchError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The errand of a fetch.
    async fn bring(
        self: Arc<Self>,
        account: Account,
        place: Arc<Place>,
        revision: Revision,
    ) -> Result<Snapshot, FetchError> {
        let _one = permit(&place.fetching, &account).await?;
        if let Some(snapshot) = self.here(&account, &place, &revision).await? {
            return Ok(snapshot);
        }
        let first = self.fetch(&account, &place, &revision).await;
        match first {
            // The cache may be what is broken; it is suspect now, so this goes into a fresh clone.
            Err(FetchError::Corrupt { .. }) => self.fetch(&account, &place, &revision).await,
            first => first,
        }
    }

    async fn fetch(
        self: &Arc<Self>,
        account: &Account,
        place: &Place,
        revision: &Revision,
    ) -> Result<Snapshot, FetchError> {
        let result = self.fetch_once(account, place, revision).await;
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            place.set_speaks(None);
            // A ref that it was to bring along may be gone by now.
            place.set_refs(None);
        }
        result
    }

    async fn speaks(&self, account: &Account, place: &Place) -> Result<Arc<Speaks>, FetchError> {
        if let Some(speaks) = place.speaks() {
            return Ok(speaks);
        }
        self.asks(account, Request::Listing);
        let speaks = self.wire.capabilities(account).await?;
        place.set_speaks(Some(Arc::clone(&speaks)));
        Ok(speaks)
    }

    async fn fetch_once(
        self: &Arc<Self>,
        account: &Account,
        place: &Place,
        revision: &Revision,
    ) -> Result<Snapshot, FetchError> {
        let speaks = self.speaks(account, place).await?;
        let hash = speaks.hash;
        let commit = object_id(revision)
            .filter(|id| id.kind() == hash)
            .ok_or_else(|| FetchError::NoSuchTarget {
                remote: account.remote.clone(),
                target: revision.to_string(),
                near: Vec::new(),
            })?;
        let old = self.store(account, place).await?;
        let worn = old.clone();
        let worn = blocking(account, move || {
            worn.map_or(Ok(true), |store| store.is_worn())
        })
        .await?;
        let into = old.clone().filter(|store| !worn && store.hash == hash);
        let also = match (&into, &old) {
            (None, Some(old)) if old.hash == hash => place.current(old, commit),
            _ => Vec::new(),
        };
        let mut commits = also.clone();
        commits.push(commit);
        let have = into.as_ref().map(|store| store.haves()).unwrap_or_default();
        let wanted = Wanted { commit, also, have };

        let _turn = permit(&self.fetching, account).await?;
        let _seat = self.wire.seat(account).await?;
        let after = self.fetch_deadline;
        let stop = StopOnDrop(Arc::default());
        let (send, receive) = mpsc::channel(PIECES_WAITING);
        self.asks(account, Request::Fetch);
        let sending = self.wire.fetch(account, &speaks, &wanted, send);
        let taking = {
            let (inner, stop) = (Arc::clone(self), Arc::clone(&stop.0));
            let digest = place.digest.clone();
            blocking(account, move || {
                let mut pack = PackReader::new(receive);
                let store = match into {
                    Some(store) => {
                        inner.cache.take_in(&store, &commits, &mut pack, &stop)?;
                        store
                    }
                    None => Arc::new(
                        inner
                            .cache
                            .clone_from(&digest, hash, &commits, &mut pack, &stop)?,
                    ),
                };
                let snapshot = Snapshot::read(&store, commit)?;
                Ok((store, snapshot))
            })
        };
        // Both run at once. The channel goes with `sending`, so `taking` ends soon after it, whatever happened.
        let both = async { tokio::join!(sending, taking) };
        let (sent, taken) =
            tokio::time::timeout(after, both)
                .await
                .map_err(|_| FetchError::TimedOut {
                    remote: account.remote.clone(),
                    doing: "fetching",
                    after,
                })?;
        // When sending failed, that is the cause of whatever taking says.
        sent?;
        let (store, snapshot) = taken?;
        if let Some(slot) = place.store.get() {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(old) = old
                && !Arc::ptr_eq(&old, &store)
            {
                old.replaced_by(&store);
            }
            *slot = Some(store);
        }
        Ok(snapshot)
    }
}

/// A permit of a semaphore that is never closed.
async fn permit<'a>(
    semaphore: &'a Semaphore,
    account: &Account,
) -> Result<tokio::sync::SemaphorePermit<'a>, FetchError> {
    semaphore
        .acquire()
        .await
        .map_err(|_| FetchError::Unreachable {
            remote: account.remote.clone(),
            why: Why::NoConnection,
        })
}

/// Runs disk work where it may block.
async fn blocking<T: Send + 'static>(
    account: &Account,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, FetchError> {
    let remote = account.remote.clone();
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| told(remote, error)),
        Err(_) => Err(FetchError::Corrupt {
            remote,
            what: "reading its pack failed inside our git library, which is a defect of Lockstep",
        }),
    }
}

fn told(remote: RemoteUrl, error: StoreError) -> FetchError {
    match error {
        StoreError::Full => FetchError::DiskFull { remote },
        StoreError::Disk(cause) => FetchError::Storage {
            remote,
            cause: Arc::new(cause),
        },
        StoreError::Corrupt(what) => FetchError::Corrupt { remote, what },
        StoreError::NotACommit(id) => match id.to_string().parse() {
            Ok(revision) => FetchError::NotACommit { remote, revision },
            Err(_) => FetchError::Corrupt {
                remote,
                what: "an object id is none",
            },
        },
        StoreError::LargeObject { limit, .. } => FetchError::TooLarge {
            remote,
            what: "an object",
            limit: format!("{limit} bytes"),
        },
        StoreError::TooLarge(what, limit) => FetchError::TooLarge {
            remote,
            what,
            limit,
        },
        StoreError::BrokeOff | StoreError::Stopped => FetchError::Unreachable {
            remote,
            why: Why::BrokeOff,
        },
    }
}
