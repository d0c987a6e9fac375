//! The one word of an app, and the sentence why.

use std::sync::Arc;

use jiff::Timestamp;
use lockstep_app::Blame;
use lockstep_manifest::health::worst;
use lockstep_manifest::{Health, marks};
use lockstep_plan::{Asked, Barred, NOT_OURS, Unstepped, Waiting, Wanted};

use crate::event::Until;
use crate::life::{Hold, Life, Phase};
use crate::view::{SyncStatus, Why, Word};

fn why_of(code: &str, text: String, next: Option<String>) -> Why {
    let code = code.to_owned();
    Why { code, text, next }
}

impl Life {
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

    pub(crate) fn word_and_why(&self) -> (Word, Option<Why>) {
        let why = |code: &str, text: String, next: Option<String>| Some(why_of(code, text, next));
        let sync = self.command("sync");
        if let Some(fault) = self.spec_faults.first() {
            return (
                Word::Held,
                why(&fault.code, fault.message.clone(), fault.hint.clone()),
            );
        }
        let leaves = self.app.as_ref().is_some_and(|app| app.leaving);
        if leaves && !matches!(self.phase, Phase::Holding(_) | Phase::Resting) {
            return (Word::Syncing, why("leaving", self.what_is_left(), None));
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
        if let Some(attempt) = self.attempt.as_ref().filter(|a| a.barred == Barred::Failed) {
            let text = format!(
                "sync of {} failed: {}",
                attempt.revision.short(),
                attempt.why
            );
            return (Word::Failing, why("sync.failed", text, sync));
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
        if let Phase::Queued(_) = self.phase {
            let text = "waits for its turn: other apps are being synced".to_owned();
            return (Word::Syncing, why("syncing.queued", text, None));
        }
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

    pub(crate) fn held(&self, hold: &Hold, sync: Option<String>) -> (Word, Option<Why>) {
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
            Hold::Deletion(count, Asked::Policy) => (
                "held.prune",
                format!("{count} deletions wait for a person's sync"),
                sync,
            ),
            Hold::Deletion(count, Asked::Protected) => (
                "held.prune_protected",
                format!(
                    "{count} deletions wait for a person's sync: git cannot bring back what they hold"
                ),
                sync,
            ),
            Hold::Deletion(_, Asked::Budget { wanted, allowed }) => (
                "held.prune_budget",
                format!(
                    "{wanted} objects left git and {allowed} may be deleted without a person; none is, until somebody syncs"
                ),
                sync,
            ),
            Hold::Deletion(count, Asked::Confirm) => (
                "held.prune_confirm",
                format!("waiting for pruning confirmation of {count} objects"),
                sync,
            ),
            Hold::Deletion(count, Asked::Unsure) => (
                "held.record_lost",
                format!(
                    "{count} deletions wait for a person's sync: the record was lost, and their marks are the only witness"
                ),
                sync,
            ),
            Hold::Rollback => (
                "held.rollback",
                self.why_rolled_back(),
                self.command("release"),
            ),
            Hold::DeletionHook(fault) => {
                let next = fault.hint.clone().or(sync);
                return (
                    Word::Failing,
                    Some(why_of(&fault.code, fault.message.clone(), next)),
                );
            }
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

    /// How far a deletion is, and what it waits for.
    fn what_is_left(&self) -> String {
        let left = self.inventory.entries.len();
        let waits = match &self.phase {
            Phase::Leaving(plan) => {
                let going = plan.unstepped.iter();
                let going = going.filter(|(_, why)| matches!(why, Unstepped::Terminating(_)));
                let going = going.map(|(id, why)| format!("{id} {why}")).next();
                let hook = plan.waiting.iter().find(|(_, on)| *on == Waiting::Runs);
                going.or_else(|| hook.map(|(step, _)| format!("hook {} runs", step.id)))
            }
            _ => None,
        };
        let waits = waits.map_or_else(String::new, |waits| format!("; {waits}"));
        format!("being deleted: {left} objects left{waits}")
    }

    fn why_rolled_back(&self) -> String {
        let Some(rollback) = &self.rollback else {
            return String::new();
        };
        let until = match rollback.until {
            Until::NewerCommit => "until a newer commit".to_owned(),
            Until::Release => "until it is released".to_owned(),
            Until::Time(at) => format!("until {}", at.strftime("%Y-%m-%d %H:%M UTC")),
        };
        let reason = match rollback.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        format!(
            "rolled back to {} by {} {until}{reason}",
            rollback.to.short(),
            rollback.by
        )
    }

    pub(crate) fn held_objects(&self) -> Option<Why> {
        self.unstepped.iter().find_map(|(id, why)| {
            let code = match why {
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

    pub(crate) fn drifted(&self, sync: Option<String>) -> (Word, Option<Why>) {
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

    pub(crate) fn command(&self, verb: &str) -> Option<String> {
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
        let counts = |wanted: &&Arc<Wanted>| {
            wanted.manifest.annotation(marks::IGNORE_HEALTH) != Some("true")
        };
        let seen = |wanted: &Arc<Wanted>| {
            let seen = self.observed.objects.get(&wanted.id);
            seen.map_or(&Health::Missing, |seen| &seen.health)
        };
        worst(slot.desired.objects.iter().filter(counts).map(seen))
    }

    pub(crate) fn sync_status(&self) -> SyncStatus {
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
                Phase::Queued(_) | Phase::Claiming(_) | Phase::Applying(_) | Phase::Leaving(_)
            )
            || matches!(&self.phase, Phase::Settling(plan) if !plan.waiting.is_empty())
            || matches!(&self.phase, Phase::Holding(Hold::Deletion(..)))
            || self.unstepped.values().any(|why| {
                !matches!(why, Unstepped::InSync | Unstepped::NeverSeen) && !why.is_of_hook()
            });
        if out {
            SyncStatus::OutOfSync
        } else {
            SyncStatus::Synced
        }
    }
}
