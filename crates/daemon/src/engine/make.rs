//! A commit into manifests: fetched, rendered, and rendered again with the other repositories that it turns out to need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::app::{App, Base, Bases, RemoteUrl, Revision};
use lockstep_app::credentials::Logins;
use lockstep_app::project::{Project, Scope};
use lockstep_app::{Blame, Fault};
use lockstep_cluster::{Lookup, Served};
use lockstep_manifest::{Gvk, Manifest};
use lockstep_plan::{Desired, prepare};
use lockstep_reconcile::view::CommitView;
use lockstep_reconcile::{Slot, spec_digest};
use lockstep_render::{Facts, Forest, Limits, Need, Parsed, Rendered, Rendering, render_in};
use lockstep_source::{Commit, Sources};
use lockstep_tree::{ObjectHash, RelPath, Tree};
use tokio::sync::Semaphore;

/// Bases may name further bases; who nests them deeper than this has lost the thread.
const MOST_ROUNDS: usize = 8;

/// What the last rendering looked at: a commit that changes none of it renders to the same.
#[derive(Clone, Debug)]
pub(crate) struct RenderMemo {
    pub(crate) spec: String,
    served: String,
    facts: Facts,
    /// The objects name the commit itself.
    by_revision: bool,
    read: Vec<Read>,
    pub(crate) bases: Bases,
    pub(crate) desired: Arc<Desired>,
    pub(crate) kind: String,
    pub(crate) warnings: Vec<String>,
}

/// What one source looked at, and what was there: in its own repository, and in each other.
#[derive(Clone, Debug, Default)]
struct Read {
    own: Hashes,
    bases: BTreeMap<Base, Hashes>,
}

type Hashes = BTreeMap<RelPath, Option<ObjectHash>>;

impl RenderMemo {
    /// The commit as it can be applied.
    pub(super) fn slot(&self, commit: Commit, seen_at: jiff::Timestamp) -> Slot {
        Slot {
            commit: CommitView {
                revision: commit.revision,
                subject: commit.subject,
                author: commit.author,
                committed_at: Some(commit.committed_at),
            },
            desired: Arc::clone(&self.desired),
            kind: self.kind.clone(),
            spec: spec_digest(&self.spec, &self.bases),
            bases: self.bases.clone(),
            seen_at,
            rendered_at: crate::clock::now(),
            warnings: self.warnings.clone(),
        }
    }

    /// Would rendering these trees come to the same?
    fn holds(&self, errand: &Errand, facts: &Facts, forest: &Forest, at: &Bases) -> bool {
        let same_facts = if self.by_revision {
            self.facts == *facts
        } else {
            let revision = facts.revision.clone();
            Facts {
                revision,
                ..self.facts.clone()
            } == *facts
        };
        let base_holds = |base: &Base, read: &Hashes| {
            let now = at.get(base);
            now.is_some() && now == self.bases.get(base)
                || forest
                    .bases
                    .get(base)
                    .is_some_and(|tree| is_unchanged(tree, read))
        };
        self.spec == errand.app.source_digest
            && self.served == errand.served.digest().to_string()
            && same_facts
            && self.read.iter().all(|read| {
                is_unchanged(&forest.own, &read.own)
                    && read.bases.iter().all(|(base, read)| base_holds(base, read))
            })
    }
}

/// Is the kind namespaced, as far as the API server says?
pub(super) fn scope_in(served: &Served, gvk: &Gvk) -> Option<Scope> {
    match served.find(gvk) {
        Lookup::Found(resource) if resource.namespaced => Some(Scope::Namespaced),
        Lookup::Found(_) => Some(Scope::Cluster),
        Lookup::NotServed | Lookup::Unknown(_) => None,
    }
}

/// Everything that it takes, so that it can be done beside the loop.
pub(super) struct Errand {
    pub(super) app: Arc<App>,
    pub(super) remote: RemoteUrl,
    pub(super) revision: Revision,
    /// Commits of other repositories to take, should they be needed.
    pub(super) pins: Bases,
    pub(super) memo: Option<RenderMemo>,
    pub(super) project: Arc<Project>,
    /// May bases come from wherever a project allows by `*`?
    pub(super) everywhere: bool,
    pub(super) logins: Arc<Logins>,
    pub(super) served: Arc<Served>,
    pub(super) sources: Sources,
    pub(super) renders: Arc<Semaphore>,
    pub(super) parsed: Arc<Parsed>,
    pub(super) largest_file: usize,
}

/// What came of it.
pub(super) struct Made {
    /// The other repositories that are needed, each with its commit; one without cannot be had.
    pub(super) bases: BTreeMap<Base, Option<Revision>>,
    pub(super) result: Result<(RenderMemo, Commit), Fault>,
}

/// One attempt at rendering.
enum Attempt {
    Done(Box<RenderMemo>),
    Needs(Vec<Need>),
}

impl Errand {
    pub(super) async fn run(self) -> Made {
        let mut at = Bases::new();
        let result = Arc::new(self).made(&mut at).await;
        let found = |bases: Bases| bases.into_iter().map(|(base, at)| (base, Some(at)));
        match result {
            Ok((memo, commit)) => Made {
                bases: found(memo.bases.clone()).collect(),
                result: Ok((memo, commit)),
            },
            Err(Unmade { lost, fault }) => Made {
                bases: found(at).chain(lost.map(|base| (base, None))).collect(),
                result: Err(fault),
            },
        }
    }

    /// Answers with the commits of the bases that were brought, whether or not it comes to an end.
    async fn made(self: Arc<Self>, at: &mut Bases) -> Result<(RenderMemo, Commit), Unmade> {
        let login = self.logins.for_remote(&self.remote);
        let fetched = self
            .sources
            .tree(&self.remote, login.as_ref(), &self.revision);
        let snapshot = fetched.await.map_err(|error| error.fault())?;
        let commit = snapshot.commit;
        let mut forest = Forest::of(snapshot.tree.with_largest_file(self.largest_file))
            .sharing(Arc::clone(&self.parsed));
        // Those of the last time that were just asked for are brought at once: that is a rendering less.
        let known = self.memo.iter().flat_map(|memo| memo.bases.keys());
        for base in known.filter(|base| self.pins.contains_key(base)) {
            if let Ok((revision, tree)) = self.bring(base).await {
                forest.bases.insert(base.clone(), tree);
                at.insert(base.clone(), revision);
            }
        }
        for _ in 0..=MOST_ROUNDS {
            let needs = match self.attempt(&forest, at).await? {
                Attempt::Done(memo) => return Ok((*memo, commit)),
                Attempt::Needs(needs) => needs,
            };
            let brought = needs.iter().map(|need| self.bring(&need.base));
            let brought = futures::future::join_all(brought).await;
            let mut lost = None;
            for (need, brought) in needs.into_iter().zip(brought) {
                match brought {
                    Ok((revision, tree)) => {
                        at.insert(need.base.clone(), revision);
                        forest.bases.insert(need.base, tree);
                    }
                    Err(fault) => {
                        lost.get_or_insert((need, fault));
                    }
                }
            }
            if let Some((need, fault)) = lost {
                return Err(Unmade {
                    lost: Some(need.base),
                    fault: Fault {
                        message: format!("{}: {}", need.place, fault.message),
                        ..fault
                    },
                });
            }
        }
        Err(Fault::new(
            Blame::User,
            "render.limit",
            format!("remote bases name each other more than {MOST_ROUNDS} deep"),
        )
        .hint("let the kustomization name what it needs itself")
        .into())
    }

    /// Renders what is here, on a thread that may take its time.
    async fn attempt(self: &Arc<Self>, forest: &Forest, at: &Bases) -> Result<Attempt, Fault> {
        let _permit = Arc::clone(&self.renders).acquire_owned().await;
        let (errand, forest, at) = (Arc::clone(self), forest.clone(), at.clone());
        let rendered = tokio::task::spawn_blocking(move || errand.render(&forest, &at)).await;
        // A panic is our bug and this app's fault only (S16).
        rendered.unwrap_or_else(|_| {
            Err(Fault::new(
                Blame::Lockstep,
                "render.panic",
                "rendering this commit broke Lockstep; this is a bug",
            )
            .hint("report it with the kustomization that does it"))
        })
    }

    /// Renders all sources of the app at one commit, or finds that nothing they looked at has changed.
    fn render(&self, forest: &Forest, at: &Bases) -> Result<Attempt, Fault> {
        let app = &self.app;
        let facts = Facts {
            app: app.key.name.clone(),
            namespace: app.namespace.clone(),
            project: app.project.clone(),
            revision: Some(self.revision.clone()),
        };
        if let Some(memo) = &self.memo
            && memo.holds(self, &facts, forest, at)
        {
            let mut desired = memo.desired.as_ref().clone();
            desired.revision = self.revision.clone();
            let now = |(base, was): (&Base, &Revision)| {
                (base.clone(), at.get(base).unwrap_or(was).clone())
            };
            return Ok(Attempt::Done(Box::new(RenderMemo {
                desired: Arc::new(desired),
                bases: memo.bases.iter().map(now).collect(),
                facts,
                ..memo.clone()
            })));
        }
        let limits = Limits::default();
        let mut manifests: Vec<Manifest> = Vec::new();
        let mut needs: BTreeMap<Base, Need> = BTreeMap::new();
        let mut memo = RenderMemo {
            spec: app.source_digest.clone(),
            served: self.served.digest().to_string(),
            facts: facts.clone(),
            by_revision: false,
            read: Vec::new(),
            bases: Bases::new(),
            desired: Arc::new(prepare(app, self.revision.clone(), Vec::new(), &|_| None)),
            kind: String::new(),
            warnings: Vec::new(),
        };
        for source in &app.sources {
            let rendered = render_in(source, forest, &facts, &limits);
            match rendered.map_err(|error| error.fault())? {
                Rendering::Needs(more) => {
                    needs.extend(more.into_iter().map(|need| (need.base.clone(), need)));
                }
                Rendering::Done(rendered) => {
                    memo.read.push(read(forest, &rendered)?);
                    memo.by_revision |= rendered.by_revision;
                    memo.kind = format!("{:?}", rendered.kind);
                    for base in rendered.read_of.keys() {
                        memo.bases
                            .extend(at.get(base).map(|at| (base.clone(), at.clone())));
                    }
                    memo.warnings.extend(rendered.warnings);
                    manifests.extend(rendered.manifests);
                }
            }
        }
        if !needs.is_empty() {
            return Ok(Attempt::Needs(needs.into_values().collect()));
        }
        let scopes = |gvk: &Gvk| scope_in(&self.served, gvk);
        memo.desired = Arc::new(prepare(app, self.revision.clone(), manifests, &scopes));
        Ok(Attempt::Done(Box::new(memo)))
    }

    /// The tree of another repository, if the project allows it.
    async fn bring(&self, base: &Base) -> Result<(Revision, Tree), Fault> {
        let revision = match self.pins.get(base) {
            Some(pinned) => {
                allowed(base, &self.project, self.everywhere)?;
                pinned.clone()
            }
            None => base_at(base, &self.asking()).await?,
        };
        let login = login(base, &self.project, &self.logins);
        let fetched = self.sources.tree(&base.remote, login.as_ref(), &revision);
        let snapshot = fetched.await.map_err(|error| error.fault())?;
        Ok((revision, snapshot.tree.with_largest_file(self.largest_file)))
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            project: &self.project,
            everywhere: self.everywhere,
            logins: &self.logins,
            sources: &self.sources,
        }
    }
}

/// Nothing was made.
struct Unmade {
    /// The other repository that could not be had, when that is why.
    lost: Option<Base>,
    fault: Fault,
}

impl From<Fault> for Unmade {
    fn from(fault: Fault) -> Self {
        Self { lost: None, fault }
    }
}

/// Who asks for a base, and by whose leave.
pub(super) struct Asking<'a> {
    pub(super) project: &'a Project,
    pub(super) everywhere: bool,
    pub(super) logins: &'a Logins,
    pub(super) sources: &'a Sources,
}

fn allowed(base: &Base, project: &Project, everywhere: bool) -> Result<(), Fault> {
    project
        .allows_base(&base.remote, everywhere)
        .map_err(|refused| refused.fault())
}

/// The commit that a base's target names now.
pub(super) async fn base_at(base: &Base, asking: &Asking<'_>) -> Result<Revision, Fault> {
    allowed(base, asking.project, asking.everywhere)?;
    if let Some(pinned) = base.pinned() {
        return Ok(pinned);
    }
    let login = login(base, asking.project, asking.logins);
    let also = super::look::unusual(&base.target);
    let listed = asking
        .sources
        .refs_and(&base.remote, login.as_ref(), &also)
        .await;
    listed
        .and_then(|refs| Sources::resolve(&refs, &base.target))
        .map_err(|error| error.fault())
}

/// Credentials that are another project's own are not used: any commit may name any base.
fn login(base: &Base, project: &Project, logins: &Logins) -> Option<lockstep_app::app::Login> {
    let owner = logins.project_of(&base.remote);
    if owner.is_some_and(|owner| owner != project.name) {
        return None;
    }
    logins.for_remote(&base.remote)
}

/// What was looked at, with what was there.
fn read(forest: &Forest, rendered: &Rendered) -> Result<Read, Fault> {
    let mut read = Read {
        own: hashes(&forest.own, &rendered.read)?,
        bases: BTreeMap::new(),
    };
    for (base, paths) in &rendered.read_of {
        if let Some(tree) = forest.bases.get(base) {
            read.bases.insert(base.clone(), hashes(tree, paths)?);
        }
    }
    Ok(read)
}

fn hashes(tree: &Tree, paths: &BTreeSet<RelPath>) -> Result<Hashes, Fault> {
    let hash = |path: &RelPath| {
        let hash = tree
            .hash(path)
            .map_err(|error| unreadable(&error.to_string()))?;
        Ok((path.clone(), hash))
    };
    paths.iter().map(hash).collect()
}

fn is_unchanged(tree: &Tree, read: &Hashes) -> bool {
    read.iter()
        .all(|(path, hash)| tree.hash(path).is_ok_and(|now| now == *hash))
}

fn unreadable(why: &str) -> Fault {
    Fault::new(
        Blame::Environment,
        "repo.unreadable",
        format!("the fetched commit cannot be read: {why}"),
    )
    .hint("it is fetched again by itself; if this stays, empty the cache directory")
}
