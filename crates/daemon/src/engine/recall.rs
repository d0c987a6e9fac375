//! What is remembered of each app: its record, what was claimed beside it, and who reads that when.

use std::collections::HashSet;
use std::time::Duration;

use lockstep_app::Fault;
use lockstep_app::app::AppKey;
use lockstep_manifest::{Manifest, Uid};
use lockstep_reconcile::{Event, Recalled};

use super::{Engine, Feed, News};
use crate::claims::Claims;
use crate::record;

/// A record that could not be read is asked for again after this long: an API server that is away is not woken by it.
const READ_AGAIN: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) fn record(&mut self, name: &str, object: &Manifest) {
        let key = AppKey {
            namespace: self.config.namespace.clone(),
            name: name.to_owned(),
        };
        let known = self.lives.get(&key);
        if self.leading && known.is_some_and(|life| life.is_recalled()) {
            self.records.insert(name.to_owned(), None);
            return;
        }
        match record::recall(object) {
            Ok(recalled) => {
                let before = self
                    .records
                    .insert(name.to_owned(), Some(Box::new(recalled)));
                if matches!(before, Some(None)) {
                    self.recall(&key); // somebody mended it, or made it again
                }
            }
            Err(error) => {
                // An inventory that cannot be read is unknown: the app stays unlooked-at rather than empty-handed.
                tracing::error!(record = name, %error, "a record cannot be read");
                self.records.insert(name.to_owned(), None);
            }
        }
    }

    pub(super) fn recall_all(&mut self) {
        let keys: Vec<AppKey> = self.lives.keys().cloned().collect();
        for key in keys {
            self.recall(&key);
        }
    }

    /// Tells an app what its record says, once.
    pub(super) fn recall(&mut self, key: &AppKey) {
        if self.lives.get(key).is_some_and(|life| !life.is_recalled()) {
            self.recall_anew(key);
        }
    }

    /// Tells it again: somebody else wrote the record, or claimed beside it.
    pub(super) fn recall_anew(&mut self, key: &AppKey) {
        let Some(uid) = self.lives.get(key).map(|life| life.uid().clone()) else {
            return;
        };
        let recalled = match self.records.get_mut(&key.name) {
            // Who stands by is told again by whoever led.
            Some(record) if !self.leading => record.clone(),
            Some(record) => record.take(),
            None => Some(Box::new(Recalled {
                is_lost: self.recorded.contains(key),
                ..Recalled::default()
            })),
        };
        let Some(recalled) = recalled else {
            self.read_record(key);
            return;
        };
        let recalled = self.with_claim(&uid, *recalled);
        self.recorded.remove(key);
        let history = self.histories.remove(key).unwrap_or_default();
        self.step(key, Event::Recalled(Box::new(recalled), history));
    }

    /// Somebody else wrote the record: reads it again.
    pub(super) fn read_record(&mut self, key: &AppKey) {
        let apps = self.apps.clone();
        let broke = self.broke(key);
        let key = key.clone();
        self.spawn(broke, async move {
            let result = apps.record(&key.name).await.map_err(|error| error.fault());
            vec![News::Record {
                key,
                result: result.map(|found| found.map(Box::new)),
            }]
        });
    }

    /// Asks again for the records that could not be read.
    pub(super) fn read_unread_records(&mut self) {
        while let Some(key) = self.unread.take_due(self.now) {
            self.read_record(&key);
        }
    }

    pub(super) fn record_read(
        &mut self,
        key: &AppKey,
        result: Result<Option<Box<Manifest>>, Fault>,
    ) {
        let Some(uid) = self.lives.get(key).map(|life| life.uid().clone()) else {
            return;
        };
        let recalled = match result {
            Ok(None) => Recalled::default(),
            Ok(Some(live)) => match record::recall(&live) {
                Ok(recalled) => recalled,
                Err(error) => {
                    tracing::error!(app = %key, %error, "a record cannot be read");
                    return;
                }
            },
            Err(fault) => {
                tracing::warn!(app = %key, error = %fault, "a record could not be read again");
                let again = self.now.checked_add(READ_AGAIN).unwrap_or(self.now);
                self.unread.set(key, again);
                return;
            }
        };
        let recalled = self.with_claim(&uid, recalled);
        self.step(key, Event::Recalled(Box::new(recalled), Vec::new()));
    }

    /// The lease is ours: what its holder before us claimed and did not come to write down is now for us to know.
    pub(super) fn take_over_claims(&mut self) {
        let (made, faults) = Claims::read(&self.lease.text());
        for fault in faults {
            tracing::error!(
                %fault,
                hint = "what its apps had begun is found by name when they sync next; an object that git gave up just then is not, and has to be deleted by hand",
                "claims that the lease's last holder left cannot be read"
            );
        }
        self.claiming.made = made;
        self.keep_claims();
        let told: Vec<AppKey> = self
            .lives
            .values()
            .filter(|life| life.is_recalled() && self.claiming.made.of(life.uid()).is_some())
            .map(|life| life.key().clone())
            .collect();
        for key in told {
            self.recall_anew(&key);
        }
        // From now on each app knows better than its record.
        for life in self.lives.values().filter(|life| life.is_recalled()) {
            if let Some(record) = self.records.get_mut(&life.key().name) {
                *record = None;
            }
        }
    }

    /// Of Applications that are gone no claim counts.
    pub(super) fn keep_claims(&mut self) {
        if !self.read.contains(&Feed::Applications) {
            return;
        }
        let lives = self.lives.values();
        let alive: HashSet<&Uid> = lives.map(|life| life.uid()).collect();
        if self.claiming.made.keep(|uid| alive.contains(uid)) {
            self.lease.put(&self.claiming.made.text());
        }
    }

    /// A record, with what was claimed beside it.
    pub(super) fn with_claim(&self, uid: &Uid, record: Recalled) -> Recalled {
        match self.claiming.made.of(uid) {
            Some(claim) => record.with_claim(record::recalled(&claim, None)),
            None => record,
        }
    }
}
