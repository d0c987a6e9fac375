//! The strip: how far a commit got, step by step.

use lockstep_app::app::{App, Revision};
use lockstep_manifest::Health;
use lockstep_plan::NOT_OURS;

use crate::life::{Life, Phase};
use crate::view::{Outcome, Strip, StripStep, Verified};

impl Life {
    pub(crate) fn strips(&self, app: Option<&App>) -> Vec<Strip> {
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
            let verified = self.verified_fact(&slot.commit.revision);
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
                        ready
                            .into_iter()
                            .chain(verified)
                            .filter(|_| is_enforced)
                            .collect(),
                    ),
                ],
            });
        }
        strips
    }

    pub(crate) fn outcomes(&self, is_enforced: bool) -> (Outcome, Outcome, Outcome) {
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

    /// Did all that the last sync applied of this commit become healthy? Nothing is said while that is open.
    fn verified_fact(&self, revision: &Revision) -> Option<String> {
        let operation = self.last_operation.as_ref()?;
        let operation = Some(operation).filter(|o| o.revision.as_ref() == Some(revision))?;
        match operation.verified.as_ref()? {
            Verified::Pending => None,
            Verified::Yes(_) => Some("verified".to_owned()),
            Verified::No(_) => Some("not verified in time".to_owned()),
        }
    }

    pub(crate) fn ready_fact(&self) -> Option<String> {
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
