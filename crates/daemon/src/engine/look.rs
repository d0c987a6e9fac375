//! Git: which commit, and what does it render to? One listing for all apps of a remote, one rendering per change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockstep_app::app::{App, AppKey, Base, Bases, RemoteUrl, Revision};
use lockstep_app::{Blame, Fault};
use lockstep_reconcile::{Event, Look};
use lockstep_render::Parsed;
use lockstep_source::{Refs, Sources};

use super::make::{Asking, Errand, base_at};
use super::{Engine, News, contain};
use crate::board::RepositoryView;

impl Engine {
    pub(super) fn resolve(
        &mut self,
        key: &AppKey,
        turn: u64,
        bases: BTreeSet<Base>,
        refs: Option<&Arc<Refs>>,
    ) {
        let Some(app) = self.names.get(key) else {
            return;
        };
        let uid = app.uid.clone();
        let asked = self
            .one_source(app)
            .and_then(|source| Ok((source, self.project_of(app)?)));
        let ((remote, target), project) = match asked {
            Ok(found) => found,
            Err(fault) => {
                self.answer(key, resolved(turn, Err(fault), BTreeMap::new()));
                return;
            }
        };
        self.reconciles
            .entry(key.clone())
            .or_insert_with(std::time::Instant::now);
        let own = refs.map(|refs| Sources::resolve(refs, &target).map_err(|error| error.fault()));
        if bases.is_empty()
            && let Some(own) = own
        {
            self.answer(key, resolved(turn, own, BTreeMap::new()));
            return;
        }
        let logins = Arc::clone(&self.logins);
        let sources = self.sources.clone();
        let everywhere = self.config.git.remote_bases;
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let result = if let Some(own) = own {
                own
            } else {
                let login = logins.for_remote(&remote);
                let also = unusual(&target);
                let listed = sources.refs_and(&remote, login.as_ref(), &also).await;
                listed
                    .and_then(|refs| Sources::resolve(&refs, &target))
                    .map_err(|error| error.fault())
            };
            let asking = Asking {
                project: &project,
                everywhere,
                logins: &logins,
                sources: &sources,
            };
            let found = bases.iter().map(|base| base_at(base, &asking));
            let found = futures::future::join_all(found).await;
            vec![News::App {
                key,
                uid,
                event: resolved(turn, result, bases.into_iter().zip(found).collect()),
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

    /// The files that renderings share now.
    fn parsed(&mut self) -> Arc<Parsed> {
        self.parsed.upgrade().unwrap_or_else(|| {
            let parsed = Arc::new(Parsed::new(Parsed::BYTES));
            self.parsed = Arc::downgrade(&parsed);
            parsed
        })
    }

    pub(super) fn render(&mut self, key: &AppKey, turn: u64, revision: Revision, pins: Bases) {
        let Some(app) = self.names.get(key).cloned() else {
            return;
        };
        let uid = app.uid.clone();
        let errand = match self.errand(key, &app, revision.clone(), pins) {
            Ok(errand) => errand,
            Err(fault) => {
                let news = Event::Rendered {
                    turn,
                    revision,
                    bases: BTreeMap::new(),
                    result: Err(fault),
                };
                self.answer(key, news);
                return;
            }
        };
        let seen_at = self.now;
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let made = errand.run().await;
            let mut news = Vec::new();
            let result = made.result.and_then(|(memo, commit)| {
                // What was to run before or after it is not known: nothing of it is taken.
                if let Some(fault) = memo.desired.fault() {
                    return Err(fault);
                }
                let slot = memo.slot(commit, seen_at);
                news.push(News::Rendered {
                    key: key.clone(),
                    memo,
                });
                Ok(slot)
            });
            news.push(News::App {
                key,
                uid,
                event: Event::Rendered {
                    turn,
                    revision,
                    bases: made.bases,
                    result,
                },
            });
            news
        });
    }

    /// What it takes to render a commit of an app.
    pub(super) fn errand(
        &mut self,
        key: &AppKey,
        app: &Arc<App>,
        revision: Revision,
        pins: Bases,
    ) -> Result<Errand, Fault> {
        let (remote, _) = self.one_source(app)?;
        Ok(Errand {
            project: self.project_of(app)?,
            app: Arc::clone(app),
            remote,
            revision,
            pins,
            memo: self.memos.get(key).cloned(),
            everywhere: self.config.git.remote_bases,
            logins: Arc::clone(&self.logins),
            served: self.cluster.served(),
            sources: self.sources.clone(),
            renders: Arc::clone(&self.renders),
            parsed: self.parsed(),
            largest_file: usize::try_from(self.config.git.limits.file_size.0).unwrap_or(usize::MAX),
        })
    }

    /// Another set of bases wants other remotes to be polled.
    pub(super) fn note_bases(&mut self, key: &AppKey, event: &Event) {
        if let Event::Rendered { bases, .. } = event
            && let Some(life) = self.lives.get(key)
        {
            self.polls_are_stale |= !life.bases().keys().eq(bases.keys());
        }
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
        let mut remotes: BTreeSet<RemoteUrl> = self
            .names
            .values()
            .flat_map(|app| app.sources.iter().map(|source| source.remote.clone()))
            .collect();
        // What is a complete id stays what it is.
        let bases = self.lives.values().flat_map(|life| life.bases().keys());
        let moving = bases.filter(|base| base.pinned().is_none());
        remotes.extend(moving.map(|base| base.remote.clone()));
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
        let login = self.logins.for_remote(remote);
        let sources = self.sources.clone();
        let remote = remote.clone();
        let mut also: Vec<String> = Vec::new();
        for app in self.names.values() {
            for source in app.sources.iter().filter(|source| source.remote == remote) {
                also.extend(unusual(&source.target));
            }
        }
        for base in self.lives.values().flat_map(|life| life.bases().keys()) {
            if base.remote == remote {
                also.extend(unusual(&base.target));
            }
        }
        let broke = News::Listed {
            remote: remote.clone(),
            result: Err(contain::fault("asking this remote")),
        };
        self.spawn(Some(broke), async move {
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
        self.base_listed(remote, &result);
        self.touch_board();
    }

    /// The same for the apps whose commits name this remote.
    fn base_listed(&mut self, remote: &RemoteUrl, result: &Result<Arc<Refs>, Fault>) {
        let moved = |base: &Base, known: &Option<Revision>| match result {
            Ok(refs) => Sources::resolve(refs, &base.target).ok() != *known,
            Err(_) => true,
        };
        let apps: Vec<AppKey> = self
            .lives
            .iter()
            .filter(|(_, life)| {
                let mut bases = life.bases().iter();
                bases.any(|(base, known)| {
                    base.remote == *remote && base.pinned().is_none() && moved(base, known)
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in apps {
            self.step(&key, Event::Poke(Look::Source));
        }
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

fn resolved(
    turn: u64,
    result: Result<Revision, Fault>,
    bases: BTreeMap<Base, Result<Revision, Fault>>,
) -> Event {
    Event::Resolved {
        turn,
        result,
        bases,
    }
}

/// A ref that is neither branch nor tag has to be asked for by name.
pub(super) fn unusual(target: &str) -> Vec<String> {
    let plain = !target.starts_with("refs/")
        || target.starts_with("refs/heads/")
        || target.starts_with("refs/tags/");
    if plain {
        Vec::new()
    } else {
        vec![target.to_owned()]
    }
}
