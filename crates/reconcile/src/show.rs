//! What faces show of a life: the word, the sentence, the strip, the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_app::Blame;
use lockstep_app::app::App;
use lockstep_manifest::health::worst;
use lockstep_manifest::{Digest, Health, Manifest, ObjectId, Place, fields, marks, pointer};
use lockstep_plan::{FieldChange, Finding, NOT_OURS, Side, Unstepped};

use crate::life::{Hold, Life, Phase};
use crate::view::{
    AppView, Condition, DriftField, DriftObject, ObjectView, Outcome, SourceView, Strip, StripStep,
    SyncStatus, Why, Word,
};

impl Life {
    pub(crate) fn probed(&mut self, plan: &Digest, changes: BTreeMap<ObjectId, Vec<FieldChange>>) {
        if self.probed_plan.as_ref() == Some(plan) {
            self.probed = changes;
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
            let places = wanted
                .map(|w| places_by_path(&w.manifest))
                .unwrap_or_default();
            let fields = self
                .probed
                .get(id)
                .into_iter()
                .flatten()
                .map(|change| DriftField {
                    path: change.path.clone(),
                    git: change.after.clone(),
                    cluster: change.before.clone(),
                    by: live.map_or_else(Vec::new, |live| blame(live, change)),
                    noticed_at: clock.since,
                    place: places.get(&change.path).cloned(),
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
        self.note(now, "lockstep", text);
    }

    /// Recomputes the word, and since when it is that.
    pub(crate) fn refresh_word(&mut self, now: Timestamp) {
        let (word, _) = self.word_and_why();
        if word != self.word.0 {
            self.word = (word, now);
        }
        if self.healthy_at.is_none() && word == Word::Synced {
            self.healthy_at = Some(now);
        }
        if self.run.is_some() {
            self.healthy_at = None;
        }
    }

    fn word_and_why(&self) -> (Word, Option<Why>) {
        let why = |code: &str, text: String, next: Option<String>| {
            Some(Why {
                code: code.to_owned(),
                text,
                next,
            })
        };
        let sync = self.command("sync");
        if let Some(fault) = self.spec_faults.first() {
            return (
                Word::Held,
                why(&fault.code, fault.message.clone(), fault.hint.clone()),
            );
        }
        if let Phase::Leaving(_) | Phase::Gone = self.phase {
            let left = self.inventory.entries.len();
            let text = format!("being deleted: {left} objects left");
            return (Word::Syncing, why("leaving", text, None));
        }
        if let Some(fault) = &self.source_fault {
            let text = format!("frozen, nothing is applied or deleted: {fault}");
            return (Word::Unknown, why(&fault.code, text, fault.hint.clone()));
        }
        let unseen = self.unstepped.values().find_map(|u| match u {
            Unstepped::Unobserved(fault) => Some(fault),
            _ => None,
        });
        if let Some(fault) = unseen {
            return (
                Word::Unknown,
                why(&fault.code, fault.message.clone(), fault.hint.clone()),
            );
        }
        let is_new = self.enforced.is_none() && self.next.is_none() && self.render_fault.is_none();
        if !self.record.known || (is_new && !matches!(self.phase, Phase::Holding(_))) {
            let text = "not looked at yet".to_owned();
            return (Word::Unknown, why("unknown.first_check", text, None));
        }
        let fault = self.failures.values().find(|f| f.fault.code != NOT_OURS);
        if let Some(failure) = fault {
            let count = self
                .failures
                .values()
                .filter(|f| f.fault.code != NOT_OURS)
                .count();
            let more = if count > 1 {
                format!(" ({count} objects)")
            } else {
                String::new()
            };
            let text = format!("{}{more}", failure.fault);
            // A missing right is something that we cannot see past, not something the app does wrong.
            let word = if failure.fault.code == "unknown.permission" {
                Word::Unknown
            } else {
                Word::Failing
            };
            return (
                word,
                why(&failure.fault.code, text, failure.fault.hint.clone()),
            );
        }
        if let Some((revision, fault)) = &self.render_fault {
            let text = format!("{} does not render: {fault}", revision.short());
            return (Word::Failing, why(&fault.code, text, fault.hint.clone()));
        }
        for why_not in self.unstepped.values() {
            if let Unstepped::NotServed(gvk) = why_not {
                let text = format!("the API server does not serve {gvk}");
                let next = "install its CRD, or add it to this app".to_owned();
                return (Word::Failing, why("apply.crd_missing", text, Some(next)));
            }
        }
        let health = self.health();
        if let Health::Degraded { why: text } = &health {
            let text = format!("applied, but not healthy: {text}");
            return (Word::Failing, why("health.degraded", text, None));
        }
        let waits_for_health = |text: String| (Word::Syncing, why("syncing", text, None));
        if self.run.is_some() || matches!(self.phase, Phase::Claiming(_) | Phase::Applying(_)) {
            let text = match &self.phase {
                Phase::Settling(plan) => plan.waiting.first().map_or_else(
                    || "waits for objects to be gone".to_owned(),
                    |(step, waiting)| format!("{}: {waiting}", step.id),
                ),
                _ => "objects are being applied".to_owned(),
            };
            return waits_for_health(text);
        }
        if let Phase::Holding(hold) = &self.phase {
            return self.held(hold, sync);
        }
        if let Health::Progressing { why: text } = &health {
            return waits_for_health(text.clone());
        }
        if let Some(held) = self.held_objects() {
            return (Word::Held, Some(held));
        }
        if !self.drift.is_empty() || self.unstepped.values().any(|u| *u == Unstepped::Drifted) {
            return self.drifted(sync);
        }
        if self.phase == Phase::Starting && self.compared_at.is_none() {
            let text = "not compared yet".to_owned();
            return (Word::Unknown, why("unknown.first_check", text, None));
        }
        (Word::Synced, None)
    }

    fn held(&self, hold: &Hold, sync: Option<String>) -> (Word, Option<Why>) {
        let env = self
            .app
            .as_ref()
            .map_or("its environment", |app| app.environment.as_str());
        let does = self.shown.as_ref().map_or_else(String::new, |plan| {
            let (create, update, prune) = plan.counts();
            format!(": {update} to update, {create} to create, {prune} to prune")
        });
        let (code, text, next) = match hold {
            Hold::NewCommit => {
                let short = self
                    .next
                    .as_ref()
                    .map_or("a commit", |n| n.commit.revision.short());
                (
                    "held.approval",
                    format!("{short} waits for a person's sync{does}"),
                    sync,
                )
            }
            Hold::Policy => ("held.manual", format!("{env} holds every new commit"), None),
            Hold::EmptyRender => (
                "held.empty_render",
                format!(
                    "the commit renders nothing; all {} objects would be deleted",
                    self.inventory.entries.len()
                ),
                Some("put the manifests back, or set syncPolicy.automated.allowEmpty".to_owned()),
            ),
            Hold::Deletion(count) => (
                "held.prune",
                format!("{count} deletions wait for a person's sync"),
                sync,
            ),
            Hold::Skip => (
                "held.paused",
                "argocd.argoproj.io/skip-reconcile stands on the Application".to_owned(),
                Some("remove the annotation".to_owned()),
            ),
            Hold::Source(fault) | Hold::Render(fault) => {
                let word = if fault.blame == Blame::User {
                    Word::Failing
                } else {
                    Word::Unknown
                };
                let why = Why {
                    code: fault.code.clone(),
                    text: fault.message.clone(),
                    next: fault.hint.clone(),
                };
                return (word, Some(why));
            }
        };
        (
            Word::Held,
            Some(Why {
                code: code.to_owned(),
                text,
                next,
            }),
        )
    }

    fn held_objects(&self) -> Option<Why> {
        self.unstepped.iter().find_map(|(id, why)| {
            let code = match why {
                Unstepped::Hook { .. } => "held.hook",
                Unstepped::OwnedByOther { .. } => "held.owned_by_other",
                Unstepped::NotOurs => NOT_OURS,
                Unstepped::PruneDisabled => "held.prune_off",
                _ => return None,
            };
            Some(Why {
                code: code.to_owned(),
                text: format!("{id}: {why}"),
                next: None,
            })
        })
    }

    fn drifted(&self, sync: Option<String>) -> (Word, Option<Why>) {
        let fields: usize = self.ledger.values().map(|object| object.fields.len()).sum();
        let objects = self.drift.len().max(1);
        let first = self
            .ledger
            .values()
            .flat_map(|o| &o.fields)
            .flat_map(|f| &f.by)
            .next();
        let by = first.map_or_else(String::new, |by| format!(", first by {}", by.manager));
        let count = if fields == 0 {
            format!("{objects} objects differ from git")
        } else {
            format!("{fields} fields in {objects} objects changed outside git{by}")
        };
        let (code, text, next) = if self.leaves_drift() {
            ("drift.reported", count, sync)
        } else {
            (
                "drift.reverting_after",
                format!("{count}; will be put back"),
                None,
            )
        };
        (
            Word::Drifted,
            Some(Why {
                code: code.to_owned(),
                text,
                next,
            }),
        )
    }

    fn command(&self, verb: &str) -> Option<String> {
        self.app
            .as_ref()
            .map(|app| format!("lockstep {verb} {} -e {}", app.name, app.environment))
    }

    /// The worst health of what git wants: what is gone counts only when everything is.
    pub(crate) fn health(&self) -> Health {
        let Some(slot) = self.enforced.as_ref().or(self.next.as_ref()) else {
            return Health::Unknown {
                why: "nothing is known yet".to_owned(),
            };
        };
        let all: Vec<Health> = slot
            .desired
            .objects
            .iter()
            .filter(|wanted| wanted.manifest.annotation(marks::IGNORE_HEALTH) != Some("true"))
            .map(|wanted| {
                self.observed
                    .objects
                    .get(&wanted.id)
                    .map_or(Health::Missing, |s| s.health.clone())
            })
            .collect();
        worst(all.iter())
    }

    fn sync_status(&self) -> SyncStatus {
        let unknown = self.source_fault.is_some()
            || self.render_fault.is_some()
            || !self.spec_faults.is_empty()
            || self.compared_at.is_none() && self.next.is_none()
            || self
                .unstepped
                .values()
                .any(|why| matches!(why, Unstepped::Unobserved(_)));
        if unknown {
            return SyncStatus::Unknown;
        }
        let out = self.next.is_some()
            || !self.failures.is_empty()
            || !self.drift.is_empty()
            || self.fresh
            || matches!(
                &self.phase,
                Phase::Claiming(_) | Phase::Applying(_) | Phase::Leaving(_)
            )
            || matches!(&self.phase, Phase::Settling(plan) if !plan.waiting.is_empty())
            || matches!(&self.phase, Phase::Holding(Hold::Deletion(_)))
            || self.unstepped.values().any(|why| {
                !matches!(
                    why,
                    Unstepped::InSync | Unstepped::NeverSeen | Unstepped::Hook { .. }
                )
            });
        if out {
            SyncStatus::OutOfSync
        } else {
            SyncStatus::Synced
        }
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
                place: wanted
                    .manifest
                    .places()
                    .first()
                    .map(|(_, place)| place.clone()),
            });
        }
        for (id, entry) in &self.inventory.entries {
            if desired.is_some_and(|desired| desired.get(id).is_some()) {
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
            });
        }
        objects
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
                Unstepped::Hook { .. } => "HookHeldWarning",
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

    fn strips(&self, app: Option<&App>) -> Vec<Strip> {
        let mut strips = Vec::new();
        let path = app
            .and_then(|app| app.sources.first())
            .map(|source| source.path.clone());
        let slots = [(self.next.as_ref(), false), (self.enforced.as_ref(), true)];
        for (slot, is_enforced) in slots {
            let Some(slot) = slot else { continue };
            let objects = slot.desired.objects.len();
            let mut facts = vec![format!("{objects} objects")];
            if let Some(path) = path.as_ref().filter(|path| !path.is_empty()) {
                facts.push(format!("{}, {path}", slot.kind.to_lowercase()));
            }
            let step = |name, outcome, started_at, ended_at, facts| StripStep {
                name,
                outcome,
                started_at,
                ended_at,
                facts,
            };
            let (diff, apply, health) = self.outcomes(is_enforced);
            let (applied_from, applied_to) = match (is_enforced, self.applied_at) {
                (true, Some((from, to))) => (Some(from), Some(to)),
                _ => (None, None),
            };
            let plan = self
                .shown
                .as_ref()
                .filter(|_| !is_enforced || diff == Outcome::Held);
            let ready = self.ready_fact();
            strips.push(Strip {
                commit: slot.commit.clone(),
                live: is_enforced && !self.fresh,
                steps: vec![
                    step(
                        "commit",
                        Outcome::Done,
                        Some(slot.seen_at),
                        Some(slot.seen_at),
                        Vec::new(),
                    ),
                    step(
                        "render",
                        Outcome::Done,
                        Some(slot.seen_at),
                        Some(slot.rendered_at),
                        facts,
                    ),
                    step(
                        "diff",
                        diff,
                        Some(slot.rendered_at),
                        applied_from.or(Some(slot.rendered_at)),
                        plan.map(|plan| vec![plan.summary()]).unwrap_or_default(),
                    ),
                    step(
                        "apply",
                        apply,
                        applied_from,
                        applied_to,
                        self.last_operation
                            .as_ref()
                            .filter(|_| is_enforced)
                            .map(|o| vec![format!("{} objects", o.results.len())])
                            .unwrap_or_default(),
                    ),
                    step(
                        "health",
                        health,
                        applied_to,
                        self.healthy_at.filter(|_| is_enforced),
                        ready.filter(|_| is_enforced).into_iter().collect(),
                    ),
                ],
            });
        }
        strips
    }

    fn outcomes(&self, is_enforced: bool) -> (Outcome, Outcome, Outcome) {
        if !is_enforced {
            return (Outcome::Held, Outcome::None, Outcome::None);
        }
        if self.failures.values().any(|f| f.fault.code != NOT_OURS) {
            return (Outcome::Done, Outcome::Failed, Outcome::None);
        }
        if self.run.is_some() || matches!(self.phase, Phase::Claiming(_) | Phase::Applying(_)) {
            return (Outcome::Done, Outcome::Running, Outcome::None);
        }
        if self.compared_at.is_none() {
            return (Outcome::None, Outcome::None, Outcome::None);
        }
        let apply = if self.applied_at.is_some() {
            Outcome::Done
        } else {
            Outcome::Skipped
        };
        let health = match self.health() {
            Health::Healthy | Health::None | Health::Suspended { .. } => Outcome::Done,
            Health::Progressing { .. } => Outcome::Running,
            Health::Degraded { .. } => Outcome::Failed,
            Health::Missing | Health::Unknown { .. } => Outcome::None,
        };
        (Outcome::Done, apply, health)
    }

    fn ready_fact(&self) -> Option<String> {
        let with_rule: Vec<&Health> = self
            .observed
            .objects
            .values()
            .map(|seen| &seen.health)
            .filter(|health| **health != Health::None)
            .collect();
        let healthy = with_rule
            .iter()
            .filter(|health| ***health == Health::Healthy)
            .count();
        (!with_rule.is_empty()).then(|| format!("{healthy} of {} healthy", with_rule.len()))
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

/// Where git says what, by the path that people read.
fn places_by_path(manifest: &Manifest) -> BTreeMap<String, Place> {
    let root = serde_json::Value::Object(manifest.body().clone());
    manifest
        .places()
        .iter()
        .map(|(at, place)| (pointer::readable(&root, at), place.clone()))
        .collect()
}
