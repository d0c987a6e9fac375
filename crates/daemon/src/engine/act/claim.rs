//! Claiming: what is about to be touched is written down first, in the app's record. When many apps begin together,
//! their claims go in one write, beside our name in the Lease, and their records say the same some seconds later.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_app::app::AppKey;
use lockstep_app::v1alpha1::RecordFields;
use lockstep_app::{Blame, Fault};
use lockstep_cluster::ClaimError;
use lockstep_manifest::Uid;
use lockstep_reconcile::{Event, RecordDraft};

use super::{WRITE, not_ours};
use crate::claims::Claims;
use crate::engine::turns::CALLED_TOGETHER;
use crate::engine::{Engine, News, contain};
use crate::record;

/// So many claims at least go together; fewer go to their records, which need no second word then.
const TOGETHER: usize = 3;
/// How long the first of a crowd waits for others.
const GATHERED_FOR: Duration = Duration::from_millis(25);
/// How long the lease may take to be written, through its failures; the claims are then made anew.
const PATIENCE: Duration = Duration::from_secs(8);

/// A claim that waits to be made.
#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    key: AppKey,
    uid: Uid,
    turn: u64,
    draft: RecordDraft,
}

/// Whose claim was made together with others, and in which turn.
pub(in crate::engine) type Together = Vec<(AppKey, Uid, u64)>;

/// Claims, from wish to record.
#[derive(Debug, Default)]
pub(in crate::engine) struct Claiming {
    waiting: Vec<Waiting>,
    /// When the first of them came.
    since: Option<Timestamp>,
    is_under_way: bool,
    /// Those that the records do not say yet.
    pub(in crate::engine) made: Claims,
}

impl Engine {
    pub(in crate::engine) fn claim(&mut self, key: &AppKey, turn: u64, draft: RecordDraft) {
        let Some(life) = self.lives.get(key) else {
            return;
        };
        let claim = Waiting {
            key: key.clone(),
            uid: life.uid().clone(),
            turn,
            draft,
        };
        if claim.draft.added.is_some() {
            self.claiming.since.get_or_insert(self.now);
            self.claiming.waiting.push(claim); // with those of this moment
        } else {
            self.write_record(claim);
        }
    }

    /// Makes the claims that wait: those that came while others were being made go together.
    pub(in crate::engine) fn make_claims(&mut self) {
        if self.claims_due().is_none_or(|at| at > self.now) {
            return;
        }
        self.claiming.since = None;
        let waiting = std::mem::take(&mut self.claiming.waiting);
        if waiting.len() < TOGETHER || !self.claim_together(&waiting) {
            for claim in waiting {
                self.write_record(claim);
            }
        }
    }

    /// When those that wait are to be made.
    pub(in crate::engine) fn claims_due(&self) -> Option<Timestamp> {
        let since = self
            .claiming
            .since
            .filter(|_| !self.claiming.is_under_way)?;
        let more_come = self.turns.is_storm() && self.claiming.waiting.len() < CALLED_TOGETHER;
        let gathers = if more_come {
            GATHERED_FOR
        } else {
            Duration::ZERO
        };
        Some(since.checked_add(gathers).unwrap_or(since))
    }

    /// Claims in one write. False: there is no room for it, or the lease is not ours.
    fn claim_together(&mut self, waiting: &[Waiting]) -> bool {
        let lease = Arc::clone(&self.lease);
        let Some(epoch) = lease.epoch().filter(|_| lease.allows(WRITE)) else {
            return false;
        };
        let claims: Vec<RecordFields> = waiting
            .iter()
            .map(|one| record::claim(&one.key, &one.uid, &one.draft, lease.identity(), epoch))
            .collect();
        if !self.claiming.made.add(&claims) {
            return false;
        }
        let text = self.claiming.made.text();
        let of: Together = waiting
            .iter()
            .map(|one| (one.key.clone(), one.uid.clone(), one.turn))
            .collect();
        self.claiming.is_under_way = true;
        let broke = News::Claimed {
            of: of.clone(),
            result: Err(contain::fault("claiming for several apps")),
        };
        self.spawn(Some(broke), async move {
            let late = |why: &str| Fault::new(Blame::Environment, "lease.not_written", why);
            let result = match tokio::time::timeout(PATIENCE, lease.write(&text)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(lost)) => Err(late(&lost.to_string())),
                Err(_) => Err(late("the API server did not take the lease in time")),
            };
            vec![News::Claimed { of, result }]
        });
        true
    }

    /// The claims of several apps were made, or not.
    pub(in crate::engine) fn claimed_together(&mut self, of: Together, result: &Result<(), Fault>) {
        self.claiming.is_under_way = false;
        for (key, uid, turn) in of {
            let result = result.clone().map(|()| None);
            self.app_news(&key, &uid, Event::Claimed { turn, result });
        }
    }

    /// Writes a record: a claim of one app, or what was learnt of it.
    fn write_record(&mut self, claim: Waiting) {
        let Waiting {
            key,
            uid,
            turn,
            draft,
        } = claim;
        let apps = self.apps.clone();
        let holder = self.lease.identity().to_owned();
        let epoch = self.lease.epoch();
        let lease = Arc::clone(&self.lease);
        let broke = self.broke(&key);
        self.spawn(broke, async move {
            let result = match epoch.filter(|_| lease.allows(WRITE)) {
                None => Err(not_ours()),
                Some(epoch) => {
                    let record = record::write(&key, &uid, &draft, &holder, epoch);
                    match apps.claim(&record, draft.previous.as_deref()).await {
                        Ok(claimed) => Ok(Some(claimed.resource_version)),
                        Err(ClaimError::Lost { object }) => Err(Fault::new(
                            Blame::Environment,
                            "record.lost",
                            format!("{object} was written by somebody else"),
                        )),
                        // Whether it was written is not known: it is read again before anything else.
                        Err(ClaimError::Failed(error)) if error.outcome_unknown() => Err(Fault {
                            code: "record.lost".to_owned(),
                            ..error.fault()
                        }),
                        Err(ClaimError::Failed(error)) => Err(error.fault()),
                    }
                }
            };
            vec![News::App {
                key,
                uid,
                event: Event::Claimed { turn, result },
            }]
        });
    }

    /// The record of this app says all that was claimed for it, or nobody asks any more.
    pub(in crate::engine) fn settle_claim(&mut self, uid: &Uid) {
        if self.claiming.made.settle(uid) {
            self.lease.put(&self.claiming.made.text());
        }
    }
}
