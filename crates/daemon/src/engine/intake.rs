//! What the watches of Argo CD's kinds, our records, Secrets and namespaces say, turned into what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_app::app::{AppKey, Bases, Revision};
use lockstep_app::config::Webhook;
use lockstep_app::credentials::{Logins, TOKENS_SECRET};
use lockstep_app::lower::{APP_LABEL, ENVIRONMENT_LABEL};
use lockstep_app::project::Project;
use lockstep_app::v1alpha1::{AppProject, Application};
use lockstep_app::{Blame, Fault, lower};
use lockstep_cluster::Seen as Watched;
use lockstep_manifest::{Digest, Gvk, Manifest, Sensitive};
use lockstep_reconcile::view::{CommitView, HistoryView};
use lockstep_reconcile::{Event, Life, Look};
use serde_json::Value;

use super::{Engine, Feed};
use crate::record;

impl Engine {
    pub(super) fn start_watches(&mut self) {
        let apps = self.apps.clone();
        self.feed(Feed::Applications, apps.watch_applications());
        self.feed(Feed::Projects, apps.watch_projects());
        self.feed(Feed::Records, apps.watch_records());
        // One watch for logins, tokens and the webhook's secret: they are few, and all of this namespace.
        self.feed(Feed::Secrets, apps.watch_secrets(""));
        let namespaces = self
            .cluster
            .watch(&Gvk::from_api_version("v1", "Namespace"), "");
        self.feed(Feed::Namespaces, namespaces);
    }

    pub(super) fn watched(&mut self, feed: &Feed, seen: Watched) {
        if let Feed::Kind(kind) = feed {
            self.kind_watched(kind, seen);
            return;
        }
        match seen {
            Watched::Restarted => {
                self.listing.insert(feed.clone(), BTreeSet::new());
            }
            Watched::Applied(object) => {
                let name = object.name().to_owned();
                if let Some(listed) = self.listing.get_mut(feed) {
                    listed.insert(name.clone());
                }
                self.put(feed, &name, *object);
            }
            Watched::Deleted(object) => {
                let name = object.name().to_owned();
                self.drop_one(feed, &name);
                self.settle(feed);
            }
            Watched::Complete => {
                if let Some(listed) = self.listing.remove(feed) {
                    for name in self.known(feed) {
                        if !listed.contains(&name) {
                            self.drop_one(feed, &name);
                        }
                    }
                }
                self.completed(feed);
            }
            Watched::Broken(fault) => {
                tracing::warn!(feed = ?feed, error = %fault, "a watch is broken");
                self.listing.remove(feed);
                self.cluster_fault = Some(fault);
                self.touch_board();
            }
        }
    }

    fn known(&self, feed: &Feed) -> Vec<String> {
        match feed {
            Feed::Applications => self.lives.keys().map(|key| key.name.clone()).collect(),
            Feed::Projects => self
                .projects
                .keys()
                .chain(self.bad_projects.keys())
                .cloned()
                .collect(),
            Feed::Records => self.records.keys().cloned().collect(),
            Feed::Secrets => self.secrets.keys().cloned().collect(),
            Feed::Namespaces => self.namespaces.iter().cloned().collect(),
            Feed::Kind(_) => Vec::new(),
        }
    }

    fn put(&mut self, feed: &Feed, name: &str, object: Manifest) {
        match feed {
            Feed::Applications => self.application(object),
            Feed::Projects => self.project(name, object),
            Feed::Records => self.record(name, &object),
            Feed::Secrets => {
                self.secrets.insert(name.to_owned(), Sensitive::new(object));
            }
            Feed::Namespaces => {
                if object.is_terminating() {
                    self.namespaces.remove(name);
                } else {
                    self.namespaces.insert(name.to_owned());
                }
            }
            Feed::Kind(_) => {}
        }
        if !self.listing.contains_key(feed) {
            self.settle(feed);
        }
    }

    fn drop_one(&mut self, feed: &Feed, name: &str) {
        match feed {
            Feed::Applications => self.forget(name),
            Feed::Projects => {
                self.projects.remove(name);
                self.bad_projects.remove(name);
            }
            Feed::Records => {
                self.records.remove(name);
            }
            Feed::Secrets => {
                self.secrets.remove(name);
            }
            Feed::Namespaces => {
                self.namespaces.remove(name);
            }
            Feed::Kind(_) => {}
        }
    }

    /// A list is complete.
    fn completed(&mut self, feed: &Feed) {
        let was = self.may_act();
        self.cluster_fault = None;
        self.read.insert(feed.clone());
        self.settle(feed);
        self.keep_claims();
        if self.read.contains(&Feed::Records) && self.read.contains(&Feed::Applications) {
            self.recall_all();
        }
        if !was && self.may_act() {
            tracing::info!(apps = self.lives.len(), "everything is read");
            self.poke_all(Look::Source);
        }
        self.touch_board();
    }

    /// Draws the consequences of a changed set.
    fn settle(&mut self, feed: &Feed) {
        match feed {
            Feed::Secrets => {
                let all: Vec<Value> = self
                    .secrets
                    .values()
                    .map(|secret| secret.expose().clone().into_value())
                    .collect();
                self.logins = Arc::new(Logins::from_secrets(&all));
                self.read_secrets();
            }
            Feed::Projects => {
                let keys: Vec<AppKey> = self.lives.keys().cloned().collect();
                for key in keys {
                    self.step(&key, Event::Permitted);
                }
            }
            Feed::Namespaces | Feed::Applications | Feed::Records | Feed::Kind(_) => {}
        }
    }

    fn application(&mut self, object: Manifest) {
        let key = AppKey {
            namespace: object.namespace().unwrap_or_default().to_owned(),
            name: object.name().to_owned(),
        };
        let Some(uid) = object.uid() else { return };
        if self.lives.get(&key).is_some_and(|life| *life.uid() != uid) {
            self.forget(&key.name.clone());
        }
        let is_new = !self.lives.contains_key(&key);
        let mut object = object;
        let status = object.body_mut().remove("status").unwrap_or(Value::Null);
        if is_new {
            self.histories.insert(key.clone(), history_of(&status));
            let deployed = status.pointer("/lockstep/liveRevision");
            if deployed.is_some_and(Value::is_string) {
                self.recorded.insert(key.clone());
            }
        }
        self.publications
            .entry(key.clone())
            .or_default()
            .seen(&status);
        drop_bookkeeping(&mut object);
        let object = Arc::new(object);
        let same_spec = self
            .written
            .get(&key)
            .is_some_and(|old| says_the_same(old, &object));
        self.written.insert(key.clone(), Arc::clone(&object));
        if is_new {
            let life = Box::new(Life::new(key.clone(), uid, self.now));
            self.lives.insert(key.clone(), life);
            self.by_set.insert(Self::set_of(&key), key.clone());
        } else if same_spec {
            return; // our own status came back, or somebody else's label
        }
        self.specify(&key);
        if is_new && self.read.contains(&Feed::Records) {
            self.recall(&key);
        }
        if is_new {
            for (id, seen) in self.strays.take(&Self::set_of(&key)) {
                self.step(&key, Event::Saw(id, seen, None));
            }
        }
    }

    /// Lowers what is written, and tells the app what it means.
    pub(super) fn specify(&mut self, key: &AppKey) {
        let object = self.written.get(key).cloned();
        let uid = self.lives.get(key).map(|life| life.uid().clone());
        if let Some((object, uid)) = object.zip(uid) {
            self.contained(key, &uid, "reading this Application", |engine| {
                engine.specify_as(key, &object);
            });
        }
    }

    fn specify_as(&mut self, key: &AppKey, object: &Manifest) {
        let lowered = Application::read(object.clone().into_value())
            .and_then(|written| lower(&written, &self.config.environments));
        // What is wrong with its source must not keep an Application from being deleted.
        let lowered = lowered.or_else(|errors| {
            let last_will = object
                .is_terminating()
                .then(|| without_source(object))
                .flatten();
            let last_will = last_will.and_then(|value| Application::read(value).ok());
            last_will
                .and_then(|written| lower(&written, &self.config.environments).ok())
                .ok_or(errors)
        });
        let event = match lowered {
            Ok(app) => {
                self.polls_are_stale = true;
                let app = Arc::new(self.named(app));
                self.names.insert(key.clone(), Arc::clone(&app));
                Event::Specified(app)
            }
            Err(errors) => {
                let faults = errors.iter().map(|error| {
                    let fault = Fault::new(Blame::User, "spec.invalid", error.to_string());
                    match &error.hint {
                        Some(hint) => fault.hint(hint.clone()),
                        None => fault,
                    }
                });
                Event::Misspecified(faults.collect())
            }
        };
        self.step(key, event);
    }

    /// Gives the app its name: the short one, unless two of one environment would be called the same; then both go by
    /// their full names, and the other is told.
    fn named(&mut self, mut app: lockstep_app::App) -> lockstep_app::App {
        let at = (app.environment.clone(), app.name.clone());
        self.unname(&app.key.clone());
        let same = self.short_names.entry(at.clone()).or_default();
        same.insert(app.key.clone());
        let others: Vec<AppKey> = same
            .iter()
            .filter(|key| **key != app.key)
            .cloned()
            .collect();
        self.shorts.insert(app.key.clone(), at);
        if !others.is_empty() {
            app.name.clone_from(&app.key.name);
        }
        for other in others {
            if let Some(known) = self.names.get_mut(&other)
                && known.name != other.name
            {
                Arc::make_mut(known).name.clone_from(&other.name);
                let event = Event::Specified(Arc::clone(known));
                self.step(&other, event);
            }
        }
        app
    }

    fn unname(&mut self, key: &AppKey) {
        if let Some(at) = self.shorts.remove(key)
            && let Some(same) = self.short_names.get_mut(&at)
        {
            same.remove(key);
            if same.is_empty() {
                self.short_names.remove(&at);
            }
        }
    }

    fn forget(&mut self, name: &str) {
        let key = AppKey {
            namespace: self.config.namespace.clone(),
            name: name.to_owned(),
        };
        let Some(life) = self.lives.remove(&key) else {
            return;
        };
        self.settle_claim(life.uid());
        let ids: Vec<_> = life
            .inventory()
            .entries
            .keys()
            .map(|id| (id.clone(), false))
            .collect();
        self.by_set.remove(&Self::set_of(&key));
        self.written.remove(&key);
        self.names.remove(&key);
        self.unname(&key);
        self.histories.remove(&key);
        self.records.remove(name);
        self.unread.clear(&key);
        self.wakes.clear(&key);
        self.turns.forget(&key);
        self.call_next();
        self.memos.remove(&key);
        for keys in self.looking.values_mut() {
            keys.remove(&key);
        }
        self.looking.retain(|_, keys| !keys.is_empty());
        self.forget_publication(&key);
        self.register_wants(&key, None);
        self.register_inventory(&key, ids);
        self.retire(&key);
        tracing::info!(app = %key, "Application is gone");
    }

    fn project(&mut self, name: &str, object: Manifest) {
        self.projects.remove(name);
        self.bad_projects.remove(name);
        let lowered = serde_json::from_value::<AppProject>(object.into_value())
            .map_err(|error| error.to_string())
            .and_then(|written| {
                Project::lower(&written).map_err(|errors| {
                    errors
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ")
                })
            });
        match lowered {
            Ok(project) => {
                self.projects.insert(name.to_owned(), Arc::new(project));
            }
            Err(why) => {
                let text = format!("AppProject {name:?} cannot be understood: {why}");
                let fault = Fault::new(Blame::User, "project.invalid", text);
                self.bad_projects.insert(name.to_owned(), fault);
            }
        }
    }

    pub(super) fn configured(&mut self, result: Result<Arc<lockstep_app::config::Config>, Fault>) {
        self.metrics.config_read(result.is_ok());
        match result {
            Ok(config) => {
                if config.namespace != self.config.namespace
                    || config.http.listen != self.config.http.listen
                {
                    tracing::warn!("namespace and http.listen take effect at the next start");
                }
                self.config_fault = None;
                let permits_other = config.git.remote_bases != self.config.git.remote_bases;
                self.config = config;
                self.read_secrets();
                let keys: Vec<AppKey> = self.written.keys().cloned().collect();
                for key in keys {
                    self.specify(&key);
                }
                if permits_other {
                    for key in self.lives.keys().cloned().collect::<Vec<_>>() {
                        self.step(&key, Event::Permitted);
                    }
                }
                tracing::info!("configuration read again");
            }
            Err(fault) => {
                tracing::error!(error = %fault, "configuration not taken; the last good one stays");
                self.config_fault = Some(fault);
            }
        }
        self.touch_board();
    }

    /// Takes from the Secrets what faces need.
    fn read_secrets(&mut self) {
        self.tokens = Arc::new(self.read_tokens());
        self.webhook_secret = self.read_webhook_secret();
        self.touch_board();
    }

    fn read_webhook_secret(&self) -> Option<Sensitive<String>> {
        match self.config.webhook.as_ref()? {
            Webhook::Secret { name, key } => self.secret_text(name, key),
            Webhook::File(path) => {
                let text = std::fs::read_to_string(path).ok()?;
                Some(Sensitive::new(text.trim_end().to_owned()))
            }
        }
        .filter(|secret| !secret.expose().is_empty())
    }

    /// The names and digests of tokens that may write.
    fn read_tokens(&self) -> BTreeMap<String, String> {
        let Some(secret) = self.secrets.get(TOKENS_SECRET) else {
            return BTreeMap::new();
        };
        let value = secret.expose().clone().into_value();
        lockstep_app::credentials::Tokens::from_secret(&value)
            .iter()
            .map(|(name, digest)| (name.to_owned(), hex::encode(digest)))
            .collect()
    }

    /// A key of a Secret, as text.
    fn secret_text(&self, name: &str, key: &str) -> Option<Sensitive<String>> {
        use base64::Engine as _;
        let secret = self.secrets.get(name)?.expose();
        let encoded = secret.get(&["data", key])?.as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok()?;
        String::from_utf8(bytes)
            .ok()
            .map(|text| Sensitive::new(text.trim_end().to_owned()))
    }
}

/// Do both say the same about everything that an app is made of?
fn says_the_same(old: &Manifest, new: &Manifest) -> bool {
    let metadata = |object: &Manifest| {
        let get = |key: &str| object.get(&["metadata", key]).cloned();
        (
            get("annotations"),
            get("finalizers"),
            get("deletionTimestamp"),
        )
    };
    old.get(&["spec"]) == new.get(&["spec"])
        && old.get(&["operation"]) == new.get(&["operation"])
        && metadata(old) == metadata(new)
        && old.label(ENVIRONMENT_LABEL) == new.label(ENVIRONMENT_LABEL)
        && old.label(APP_LABEL) == new.label(APP_LABEL)
}

/// The deployments that the status remembers, newest first.
fn history_of(status: &Value) -> Vec<HistoryView> {
    let rows = status.get("history").and_then(Value::as_array);
    let mut found: Vec<HistoryView> = rows
        .into_iter()
        .flatten()
        .filter_map(|row| {
            let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str);
            let time = |pointer: &str| text(pointer).and_then(|at| at.parse().ok());
            let revision: Revision = text("/revision")?.parse().ok()?;
            let deployed_at = time("/deployedAt")?;
            Some(HistoryView {
                id: row.get("id").and_then(Value::as_u64).unwrap_or(0),
                commit: CommitView {
                    revision,
                    subject: text("/lockstep/subject").unwrap_or_default().to_owned(),
                    author: text("/lockstep/author").unwrap_or_default().to_owned(),
                    committed_at: None,
                },
                started_at: time("/deployStartedAt").unwrap_or(deployed_at),
                deployed_at,
                by: text("/initiatedBy/username")
                    .unwrap_or("automated")
                    .to_owned(),
                objects: row
                    .pointer("/lockstep/objects")
                    .and_then(Value::as_u64)
                    .and_then(|count| usize::try_from(count).ok())
                    .unwrap_or(0),
                bundle: text("/lockstep/bundle").map(|digest| Digest(digest.to_owned())),
                bases: bases_of(row.pointer("/lockstep/bases")),
            })
        })
        .collect();
    found.reverse();
    found
}

/// The commits of other repositories that a deployment was made of.
fn bases_of(written: Option<&Value>) -> Bases {
    let rows = written.and_then(Value::as_array);
    rows.into_iter()
        .flatten()
        .filter_map(|row| record::base(&serde_json::from_value(row.clone()).ok()?))
        .collect()
}

/// What the server keeps beside the object is not kept here a second time: of 300 Applications it is most.
fn drop_bookkeeping(object: &mut Manifest) {
    if let Some(Value::Object(metadata)) = object.body_mut().get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// The same Application with no more in its spec than its deletion needs: its project and where its objects are.
fn without_source(object: &Manifest) -> Option<Value> {
    let mut value = object.clone().into_value();
    let spec = serde_json::json!({
        "project": object.text(&["spec", "project"]),
        "source": {"repoURL": "https://not-looked-at.invalid/while/leaving", "path": "."},
        "destination": object.get(&["spec", "destination"])?,
    });
    let fields = value.as_object_mut()?;
    fields.insert("spec".to_owned(), spec);
    fields.remove("operation");
    Some(value)
}
