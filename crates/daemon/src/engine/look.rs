//! Git: which commit, and what does it render to? One listing for all apps of a remote, one rendering per change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::app::{App, AppKey, RemoteUrl, Revision};
use lockstep_app::project::Scope;
use lockstep_app::{Blame, Fault};
use lockstep_cluster::Lookup;
use lockstep_manifest::Gvk;
use lockstep_plan::{Desired, prepare};
use lockstep_reconcile::view::CommitView;
use lockstep_reconcile::{Event, Look, Slot};
use lockstep_render::{Limits, render};
use lockstep_source::{Refs, Snapshot, Sources};
use lockstep_tree::{ObjectHash, RelPath, Tree};

use super::{Engine, News};
use crate::board::RepositoryView;

/// What the last rendering looked at: a commit that changes none of it renders to the same.
#[derive(Clone, Debug)]
pub(crate) struct RenderMemo {
    spec: String,
    served: String,
    read: Vec<BTreeMap<RelPath, Option<ObjectHash>>>,
    desired: Arc<Desired>,
    kind: String,
    warnings: Vec<String>,
}

impl Engine {
    pub(super) fn resolve(&mut self, key: &AppKey, turn: u64, refs: Option<&Arc<Refs>>) {
        let Some(app) = self.names.get(key) else {
            return;
        };
        let uid = app.uid.clone();
        let (remote, target) = match self.one_source(app) {
            Ok(found) => found,
            Err(fault) => {
                self.answer(
                    key,
                    Event::Resolved {
                        turn,
                        result: Err(fault),
                    },
                );
                return;
            }
        };
        self.reconciles
            .entry(key.clone())
            .or_insert_with(std::time::Instant::now);
        if let Some(refs) = refs {
            let result = Sources::resolve(refs, &target).map_err(|error| error.fault());
            self.answer(key, Event::Resolved { turn, result });
            return;
        }
        self.metrics.git_requested(remote.as_str(), "ls-remote");
        let login = self.logins.for_remote(&remote);
        let sources = self.sources.clone();
        let key = key.clone();
        self.spawn(async move {
            let also = unusual(&target);
            let listed = sources.refs_and(&remote, login.as_ref(), &also).await;
            let result = listed
                .and_then(|refs| Sources::resolve(&refs, &target))
                .map_err(|error| error.fault());
            vec![News::App {
                key,
                uid,
                event: Event::Resolved { turn, result },
            }]
        });
    }

    /// Answers an effect at once, in the same way as if it had taken time.
    fn answer(&mut self, key: &AppKey, event: Event) {
        self.step(key, event);
    }

    /// The one repository and target of an app. Several sources are one here when they share both.
    fn one_source(&self, app: &App) -> Result<(RemoteUrl, String), Fault> {
        let project = self.project_of(app)?;
        let Some(first) = app.sources.first() else {
            return Err(Fault::new(
                Blame::User,
                "spec.invalid",
                "the app has no source",
            ));
        };
        for source in &app.sources {
            project
                .allows_source(&source.remote)
                .map_err(|refused| refused.fault())?;
            if source.remote != first.remote || source.target != first.target {
                return Err(Fault::new(
                    Blame::User,
                    "spec.several_repositories",
                    "its sources are of several repositories or targets, which this version does not bring together",
                )
                .hint("make it one app for each repository"));
            }
        }
        Ok((first.remote.clone(), first.target.clone()))
    }

    pub(super) fn render(&mut self, key: &AppKey, turn: u64, revision: Revision) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let uid = app.uid.clone();
        let remote = match self.one_source(&app) {
            Ok((remote, _)) => remote,
            Err(fault) => {
                self.answer(
                    key,
                    Event::Rendered {
                        turn,
                        revision,
                        result: Err(fault),
                    },
                );
                return;
            }
        };
        let seen_at = self.now;
        let login = self.logins.for_remote(&remote);
        let memo = self.memos.get(key).cloned();
        let served = self.cluster.served();
        let sources = self.sources.clone();
        let renders = Arc::clone(&self.renders);
        let limits = Limits::default();
        let largest = usize::try_from(self.config.git.limits.file_size.0).unwrap_or(usize::MAX);
        let key = key.clone();
        let metrics = Arc::clone(&self.metrics);
        self.spawn(async move {
            let before = sources.counts().fetches;
            let fetched = sources.tree(&remote, login.as_ref(), &revision).await;
            if sources.counts().fetches != before {
                metrics.git_requested(remote.as_str(), "fetch");
            }
            let snapshot = match fetched {
                Ok(snapshot) => Snapshot {
                    tree: snapshot.tree.with_largest_file(largest),
                    ..snapshot
                },
                Err(error) => {
                    let result = Err(error.fault());
                    return vec![News::App {
                        key,
                        uid,
                        event: Event::Rendered {
                            turn,
                            revision,
                            result,
                        },
                    }];
                }
            };
            let _permit = renders.acquire_owned().await;
            let wanted = revision.clone();
            let rendered = tokio::task::spawn_blocking(move || {
                let scopes = |gvk: &Gvk| match served.find(gvk) {
                    Lookup::Found(resource) if resource.namespaced => Some(Scope::Namespaced),
                    Lookup::Found(_) => Some(Scope::Cluster),
                    Lookup::NotServed | Lookup::Unknown(_) => None,
                };
                let served = served.digest().to_string();
                make(&app, &wanted, &snapshot, memo, &scopes, &served, &limits)
                    .map(|memo| (memo, snapshot.commit))
            })
            .await;
            let mut news = Vec::new();
            let result = match rendered {
                Ok(Ok((memo, commit))) => {
                    let slot = Slot {
                        commit: CommitView {
                            revision: commit.revision,
                            subject: commit.subject,
                            author: commit.author,
                            committed_at: Some(commit.committed_at),
                        },
                        desired: Arc::clone(&memo.desired),
                        kind: memo.kind.clone(),
                        spec: memo.spec.clone(),
                        seen_at,
                        rendered_at: crate::clock::now(),
                        warnings: memo.warnings.clone(),
                    };
                    news.push(News::Rendered {
                        key: key.clone(),
                        memo,
                    });
                    Ok(slot)
                }
                Ok(Err(fault)) => Err(fault),
                // A panic is our bug and this app's fault only (S16).
                Err(_) => Err(Fault::new(
                    Blame::Lockstep,
                    "render.panic",
                    "rendering this commit broke Lockstep; this is a bug",
                )
                .hint("report it with the kustomization that does it")),
            };
            news.push(News::App {
                key,
                uid,
                event: Event::Rendered {
                    turn,
                    revision,
                    result,
                },
            });
            news
        });
    }

    /// Asks each remote once when its time has come.
    pub(super) fn poll_remotes(&mut self) {
        if !self.may_act() {
            return;
        }
        if std::mem::take(&mut self.polls_are_stale) {
            self.find_remotes();
        }
        let now = self.now;
        let due: Vec<RemoteUrl> = self
            .polls
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(remote, _)| remote.clone())
            .collect();
        for remote in due {
            let at = self.next_poll();
            self.polls.insert(remote.clone(), at);
            self.list(&remote);
        }
    }

    /// Which remotes are in use, so that each is polled, and no other.
    fn find_remotes(&mut self) {
        let remotes: BTreeSet<RemoteUrl> = self
            .names
            .values()
            .flat_map(|app| app.sources.iter().map(|source| source.remote.clone()))
            .collect();
        self.polls.retain(|remote, _| remotes.contains(remote));
        self.repositories
            .retain(|remote, _| remotes.contains(remote));
        for remote in remotes {
            if self.polls.contains_key(&remote) {
                continue;
            }
            let at = self.next_poll();
            self.polls.insert(remote.clone(), at);
            self.repositories.insert(
                remote.clone(),
                RepositoryView {
                    remote,
                    head: None,
                    target: String::new(),
                    asked_at: None,
                    webhook_at: None,
                    fault: None,
                },
            );
        }
    }

    fn next_poll(&self) -> jiff::Timestamp {
        let jitter = self.config.git.jitter.mul_f64(fastrand::f64());
        self.now
            .checked_add(self.config.git.poll + jitter)
            .unwrap_or(jiff::Timestamp::MAX)
    }

    /// Lists a remote's refs for everybody who uses it. One at a time: a second wish while one is under way is
    /// remembered by `Sources`, which never answers with what it began to ask before.
    pub(super) fn list(&mut self, remote: &RemoteUrl) {
        self.metrics.git_requested(remote.as_str(), "ls-remote");
        let login = self.logins.for_remote(remote);
        let sources = self.sources.clone();
        let remote = remote.clone();
        let mut also: Vec<String> = Vec::new();
        for app in self.names.values() {
            for source in app.sources.iter().filter(|source| source.remote == remote) {
                also.extend(unusual(&source.target));
            }
        }
        self.spawn(async move {
            let result = sources.refs_and(&remote, login.as_ref(), &also).await;
            vec![News::Listed {
                remote,
                result: result.map_err(|error| error.fault()),
            }]
        });
    }

    /// A remote answered: the apps whose target moved look at it, with this very answer.
    pub(super) fn listed(&mut self, remote: &RemoteUrl, result: Result<Arc<Refs>, Fault>) {
        if let Some(repository) = self.repositories.get_mut(remote) {
            repository.asked_at = Some(self.now);
            repository.fault = result.as_ref().err().cloned();
        }
        let apps: Vec<(AppKey, String)> = self
            .names
            .values()
            .filter_map(|app| Some((app, app.sources.first()?)))
            .filter(|(_, source)| source.remote == *remote)
            .map(|(app, source)| (app.key.clone(), source.target.clone()))
            .collect();
        for (key, target) in apps {
            let Some(life) = self.lives.get(&key) else {
                continue;
            };
            match &result {
                Ok(refs) => {
                    let now = Sources::resolve(refs, &target).ok();
                    if now.as_ref() != life.target() || life.is_frozen() || now.is_none() {
                        self.step_with(&key, Event::Poke(Look::Source), Some(refs));
                    }
                }
                // Unreachable for the poll is unreachable for the app: it finds out for itself, and freezes.
                Err(_) => self.step(&key, Event::Poke(Look::Source)),
            }
        }
        self.touch_board();
    }

    /// Somebody says that there was a push. Which repository is all that is believed.
    pub(super) fn pushed(&mut self, named: &str) {
        let now = self.now;
        let remotes: Vec<RemoteUrl> = self
            .polls
            .keys()
            .filter(|remote| remote.same_repository(named))
            .cloned()
            .collect();
        for remote in remotes {
            if let Some(repository) = self.repositories.get_mut(&remote) {
                repository.webhook_at = Some(now);
            }
            self.list(&remote);
        }
    }

    /// How long the last poke of an app may take before its turn counts as reconciled, for the metric.
    pub(super) fn reconciled(&mut self, key: &AppKey) {
        if let (Some(since), Some(app)) = (self.reconciles.remove(key), self.names.get(key)) {
            let took: Duration = since.elapsed();
            let server = app.destination.server.clone();
            self.metrics
                .reconciled(&app.key.namespace, &server, took.as_secs_f64());
        }
    }
}

/// A ref that is neither branch nor tag has to be asked for by name.
fn unusual(target: &str) -> Vec<String> {
    let plain = !target.starts_with("refs/")
        || target.starts_with("refs/heads/")
        || target.starts_with("refs/tags/");
    if plain {
        Vec::new()
    } else {
        vec![target.to_owned()]
    }
}

/// Renders all sources of an app at one commit, or finds that nothing it looked at has changed.
fn make(
    app: &App,
    revision: &Revision,
    snapshot: &Snapshot,
    memo: Option<RenderMemo>,
    scopes: lockstep_plan::Scopes<'_>,
    served: &str,
    limits: &Limits,
) -> Result<RenderMemo, Fault> {
    let tree = &snapshot.tree;
    if let Some(memo) = memo.filter(|memo| memo.spec == app.source_digest && memo.served == served)
        && memo.read.iter().all(|read| is_unchanged(tree, read))
    {
        let mut desired = memo.desired.as_ref().clone();
        desired.revision = revision.clone();
        return Ok(RenderMemo {
            desired: Arc::new(desired),
            ..memo
        });
    }
    let mut manifests = Vec::new();
    let mut read = Vec::new();
    let mut warnings = Vec::new();
    let mut kind = String::new();
    for source in &app.sources {
        let rendered = render(source, tree, limits).map_err(|error| error.fault())?;
        kind = format!("{:?}", rendered.kind);
        warnings.extend(rendered.warnings);
        manifests.extend(rendered.manifests);
        let mut hashes = BTreeMap::new();
        for path in rendered.read {
            let hash = tree
                .hash(&path)
                .map_err(|error| unreadable(&error.to_string()))?;
            hashes.insert(path, hash);
        }
        read.push(hashes);
    }
    let desired = prepare(app, revision.clone(), manifests, scopes);
    Ok(RenderMemo {
        spec: app.source_digest.clone(),
        served: served.to_owned(),
        read,
        desired: Arc::new(desired),
        kind,
        warnings,
    })
}

fn is_unchanged(tree: &Tree, read: &BTreeMap<RelPath, Option<ObjectHash>>) -> bool {
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
