//! What faces show of a life: the word, the sentence, the strip, the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::app::App;
use lockstep_manifest::fields::others::Others;
use lockstep_manifest::{Digest, Health, Manifest, ObjectId, fields};
use lockstep_plan::{Barred, FieldChange, Finding, Foreseen, NOT_OURS, Side, Unstepped};

use crate::life::{Hold, Life, Phase};
use crate::view::{
    AppView, Condition, DriftField, DriftObject, LogKind, LogView, ObjectView, SourceView,
    SyncStatus,
};

impl Life {
    pub(crate) fn probed(&mut self, plan: &Digest, foreseen: BTreeMap<ObjectId, Foreseen>) {
        if self.probed_plan.as_ref() == Some(plan) {
            self.probed = foreseen;
            self.refresh_ledger();
        }
    }

    /// Writes down which fields differ: from dry runs where they have answered, else as "differs".
    pub(crate) fn refresh_ledger(&mut self) {
        let Some(slot) = self.enforced.clone() else {
            return;
        };
        let mut ledger = BTreeMap::new();
        for (id, clock) in &self.drift {
            let missing = !self.observed.objects.contains_key(id);
            let live = self.drift_live.get(id);
            let wanted = slot.desired.get(id);
            let changes = self
                .probed
                .get(id)
                .map_or(&[][..], |f| f.changes.as_slice());
            let mut places = wanted
                .filter(|_| !changes.is_empty())
                .map(|wanted| wanted.manifest.places_by_path())
                .unwrap_or_default();
            let fields = changes.iter().map(|change| DriftField {
                path: change.path.clone(),
                git: change.after.clone(),
                cluster: change.before.clone(),
                by: live.map_or_else(Vec::new, |live| blame(live, change)),
                noticed_at: clock.since,
                places: places.remove(&change.path).unwrap_or_default(),
            });
            let heal_at = self.heal_at(id);
            let object = DriftObject {
                id: id.clone(),
                missing,
                fields: fields.collect(),
                heal_at,
            };
            ledger.insert(id.clone(), object);
        }
        self.ledger = ledger;
    }

    fn heal_at(&self, id: &ObjectId) -> Option<Timestamp> {
        self.drift.get(id)?.due(self.app.as_ref()?.policy.drift)
    }

    /// Says in one line what was put back, and who had changed it.
    pub(crate) fn say_healed(
        &mut self,
        step: &lockstep_plan::Step,
        changes: &[FieldChange],
        now: Timestamp,
    ) {
        let text = match changes.first() {
            None => format!("{} was put back: {}", step.id, step.reason),
            Some(first) => {
                let more = match changes.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                let live = self.drift_live.get(&step.id);
                let by = live.map(|live| blame(live, first)).unwrap_or_default();
                let by = by.first().map_or_else(String::new, |writer| {
                    let what = writer
                        .subresource
                        .as_ref()
                        .map_or(String::new(), |s| format!(" ({s})"));
                    format!(", changed by {}{what}", writer.manager)
                });
                format!(
                    "{}: {} put back from {} to {}{more}{by}",
                    step.id,
                    first.path,
                    first.before.text(),
                    first.after.text(),
                )
            }
        };
        self.note(now, "lockstep", text.clone());
        self.log(LogView {
            id: step.id.to_string(),
            kind: LogKind::Heal,
            by: "automated".to_owned(),
            started_at: self.healing.get(&step.id).copied().unwrap_or(now),
            finished_at: now,
            well: true,
            revision: self
                .enforced
                .as_ref()
                .map(|slot| slot.commit.revision.clone()),
            spec: String::new(),
            objects: 1,
            text,
        });
    }

    /// Everything that faces show, as of now.
    pub fn view(&mut self, now: Timestamp) -> AppView {
        let (word, why) = self.word_and_why();
        let app = self.app.clone();
        let app = app.as_deref();
        let next = self.next.as_ref().map(|slot| slot.commit.clone());
        let enforced = self.enforced.as_ref().map(|slot| slot.commit.clone());
        let source = app.and_then(|app| app.sources.first());
        let kind = self
            .enforced
            .as_ref()
            .or(self.next.as_ref())
            .map(|slot| slot.kind.clone());
        let conditions = self.conditions(app, now);
        AppView {
            key: self.key.clone(),
            uid: self.uid.clone(),
            name: app.map_or_else(|| self.key.name.clone(), |app| app.name.clone()),
            environment: app.map_or_else(|| "default".to_owned(), |app| app.environment.clone()),
            project: app.map_or_else(|| "default".to_owned(), |app| app.project.clone()),
            word,
            since: self.word.1,
            why,
            sync: self.sync_status(),
            health: self.health(),
            live: self.live.clone(),
            wanted: next.or(enforced),
            strips: self.strips(app),
            drift: self.ledger.values().cloned().collect(),
            plan: self.shown.clone(),
            plan_digest: self.shown.as_ref().map(|plan| plan.digest()),
            objects: self.objects(),
            history: self.history.clone(),
            events: self.events.clone(),
            log: self.log.clone(),
            rollback: self.rollback_view(),
            policy: app.map(|app| app.policy),
            conditions,
            source: SourceView {
                remote: source.map(|s| s.remote.to_string()).unwrap_or_default(),
                target: source.map(|s| s.target.clone()).unwrap_or_default(),
                path: source.map(|s| s.path.clone()).unwrap_or_default(),
                kind: kind.unwrap_or_default(),
            },
            destination: app
                .map(|app| {
                    let d = &app.destination;
                    if d.server.is_empty() {
                        d.name.clone()
                    } else {
                        d.server.clone()
                    }
                })
                .unwrap_or_default(),
            namespace: app.map(|app| app.namespace.clone()).unwrap_or_default(),
            operation: self
                .run
                .as_ref()
                .map(|run| run.operation.clone())
                .or_else(|| self.tried.clone())
                .or_else(|| self.last_operation.clone()),
            compared_at: self.compared_at,
            images: self
                .enforced
                .as_ref()
                .map(|slot| images(&slot.desired))
                .unwrap_or_default(),
            automated: app
                .is_some_and(|app| app.policy.new_commit == lockstep_app::NewCommitPolicy::Apply),
        }
    }

    fn objects(&self) -> Vec<ObjectView> {
        let slot = self.enforced.as_ref().or(self.next.as_ref());
        let mut objects = Vec::new();
        let desired = slot.map(|slot| &slot.desired);
        for wanted in desired.iter().flat_map(|desired| &desired.objects) {
            let seen = self.observed.objects.get(&wanted.id);
            let why = self.unstepped.get(&wanted.id);
            let in_sync =
                matches!(why, Some(Unstepped::InSync)) && !self.drift.contains_key(&wanted.id);
            let unknown = matches!(why, Some(Unstepped::Unobserved(_)));
            objects.push(ObjectView {
                id: wanted.id.clone(),
                version: wanted.gvk.version.clone(),
                sync: match (in_sync, unknown) {
                    (true, _) => SyncStatus::Synced,
                    (_, true) => SyncStatus::Unknown,
                    _ => SyncStatus::OutOfSync,
                },
                requires_pruning: false,
                health: seen.map_or(Health::Missing, |seen| seen.health.clone()),
                fact: seen.and_then(|seen| seen.fact.clone()),
                wave: wanted.wave,
                why: why
                    .filter(|why| **why != Unstepped::InSync)
                    .map(ToString::to_string),
                place: wanted.manifest.places().origin(),
                others: seen
                    .and_then(|seen| seen.others.as_ref())
                    .and_then(|others| self.beside_drift(&wanted.id, others)),
            });
        }
        for (id, entry) in &self.inventory.entries {
            if entry.is_hook || desired.is_some_and(|desired| desired.get(id).is_some()) {
                continue;
            }
            let Some(seen) = self.observed.objects.get(id) else {
                continue;
            };
            objects.push(ObjectView {
                id: id.clone(),
                version: entry.version.clone(),
                sync: SyncStatus::OutOfSync,
                requires_pruning: true,
                health: seen.health.clone(),
                fact: seen.fact.clone(),
                wave: entry.wave,
                why: self.unstepped.get(id).map(ToString::to_string),
                place: None,
                others: None,
            });
        }
        objects
    }

    /// What others wrote without what differs from git: that is drift, and said as such.
    fn beside_drift(&self, id: &ObjectId, others: &Arc<Others>) -> Option<Arc<Others>> {
        if !self.drift.contains_key(id) {
            return Some(Arc::clone(others));
        }
        let fields = &self.ledger.get(id)?.fields;
        let differs = |path: &str| fields.iter().any(|field| field.path == path);
        let mut left = others.as_ref().clone();
        let before = left.named.len();
        left.named.retain(|other| !differs(&other.path));
        left.count -= before - left.named.len();
        (!fields.is_empty() && left.count > 0).then(|| Arc::new(left))
    }

    fn conditions(&mut self, app: Option<&App>, now: Timestamp) -> Vec<Condition> {
        let mut found: Vec<(&str, String)> = Vec::new();
        for fault in &self.spec_faults {
            found.push((
                "InvalidSpecError",
                with_hint(&fault.message, fault.hint.as_deref()),
            ));
        }
        let render = self.render_fault.as_ref().map(|(_, fault)| fault);
        for fault in self.source_fault.iter().chain(render) {
            found.push((
                "ComparisonError",
                with_hint(&fault.message, fault.hint.as_deref()),
            ));
        }
        for (id, why) in &self.unstepped {
            let kind = match why {
                Unstepped::OwnedByOther { .. } => "SharedResourceWarning",
                Unstepped::NotOurs => "PruneRefusedWarning",
                Unstepped::NotServed(_) => "SyncError",
                Unstepped::Unobserved(_) => "ComparisonError",
                _ => continue,
            };
            found.push((kind, format!("{id}: {why}")));
        }
        for (id, failure) in self
            .failures
            .iter()
            .filter(|(_, f)| f.fault.code != NOT_OURS)
        {
            let text = with_hint(&failure.fault.message, failure.fault.hint.as_deref());
            let text = if text.contains(&id.name) {
                text
            } else {
                format!("{id}: {text}")
            };
            found.push(("SyncError", text));
        }
        if let Some(attempt) = self.attempt.as_ref().filter(|a| a.barred == Barred::Failed) {
            let revision = &attempt.revision;
            let text = format!("Failed last sync attempt to {revision}: {}", attempt.why);
            found.push(("SyncError", text));
        }
        if let Phase::Holding(Hold::DeletionHook(fault)) = &self.phase {
            found.push(("DeletionError", fault.message.clone()));
        }
        if let Phase::Holding(Hold::EmptyRender) = &self.phase {
            let text =
                "auto-sync will wipe out all resources: the commit renders nothing".to_owned();
            found.push(("SyncError", text));
        }
        let slot = self.next.as_ref().or(self.enforced.as_ref());
        for finding in slot.into_iter().flat_map(|slot| &slot.desired.findings) {
            found.push(match finding {
                Finding::Repeated(id) => (
                    "RepeatedResourceWarning",
                    format!("{id} stands more than once in git; the last one counts"),
                ),
                // The commit was not taken; its fault says so.
                Finding::UnknownHook { .. } => continue,
                Finding::NoName { kind } => (
                    "ComparisonError",
                    format!("a {kind} has no metadata.name (generateName cannot be applied)"),
                ),
                Finding::NoNamespace(id) => (
                    "ComparisonError",
                    format!("{id} has no namespace, and spec.destination.namespace is empty"),
                ),
            });
        }
        for warning in slot.into_iter().flat_map(|slot| &slot.warnings) {
            found.push(("RenderWarning", warning.clone()));
        }
        if let Some(app) = app.filter(|app| !app.not_acted_on.is_empty()) {
            let fields = app.not_acted_on.join(", ");
            found.push((
                "NotActedOnWarning",
                format!("read, but not acted on by this version: {fields}"),
            ));
        }
        let keep: Vec<(String, String)> = found
            .iter()
            .map(|(kind, text)| ((*kind).to_owned(), text.clone()))
            .collect();
        self.condition_times.retain(|key, _| keep.contains(key));
        keep.into_iter()
            .map(|(kind, message)| {
                let key = (kind.clone(), message.clone());
                let at = *self.condition_times.entry(key).or_insert(now);
                Condition { kind, message, at }
            })
            .collect()
    }
}

fn images(desired: &lockstep_plan::Desired) -> Vec<String> {
    let mut found: Vec<String> = desired
        .objects
        .iter()
        .flat_map(|wanted| {
            let spec = match wanted.id.kind.as_str() {
                "Pod" => wanted.manifest.get(&["spec"]),
                "CronJob" => {
                    wanted
                        .manifest
                        .get(&["spec", "jobTemplate", "spec", "template", "spec"])
                }
                _ => wanted.manifest.get(&["spec", "template", "spec"]),
            };
            ["initContainers", "containers"]
                .into_iter()
                .filter_map(move |key| spec.and_then(|spec| spec.get(key)))
                .filter_map(|list| list.as_array())
                .flatten()
                .filter_map(|container| container.get("image")?.as_str().map(str::to_owned))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn with_hint(message: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| message.to_owned(), |hint| format!("{message}; {hint}"))
}

/// Who wrote what the cluster has: the owners of the field, or, for a field that somebody removed, whoever wrote last.
fn blame(live: &Manifest, change: &FieldChange) -> Vec<fields::Writer> {
    let mut found = fields::writers(live, &change.pointer);
    found.retain(|writer| writer.manager != fields::MANAGER);
    if found.is_empty() || change.before == Side::Absent {
        found = fields::last_writer(live).into_iter().collect();
    }
    found
}
