//! Claims of many apps that were made with one write. They stand beside the holder's name in the Lease, as one text,
//! until the record of each app says what its claim said.
//!
//! Shape: the text is a list of batches, the oldest first; a batch is the claims of one write, each a record that names
//! only what it adds, as JSON, compressed. A batch goes when every claim of it is settled.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockstep_app::v1alpha1::RecordFields;
use lockstep_manifest::Uid;

use crate::pack;

/// The longest text. An API server takes 256 KiB of annotations; the other third is for whoever else has some.
const LONGEST: usize = 160 * 1024;
/// The most that a batch may unpack to.
const MOST_UNPACKED: u64 = 16 * 1024 * 1024;
/// What stands between two batches.
const BETWEEN: char = ',';

/// All that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    batches: Vec<Batch>,
}

#[derive(Debug)]
struct Batch {
    /// Whose claims in it count still.
    apps: BTreeSet<Uid>,
    packed: String,
}

/// A batch cannot be read: it was written by another version, or by hand.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl Claims {
    /// What somebody left; what of it cannot be read is said.
    pub(crate) fn read(text: &str) -> (Self, Vec<Unreadable>) {
        let mut claims = Self::default();
        let mut faults = Vec::new();
        for packed in text.split(BETWEEN).filter(|packed| !packed.is_empty()) {
            match unpack(packed) {
                Ok(batch) => claims.batches.push(Batch {
                    apps: batch.into_iter().map(|claim| Uid(claim.app.uid)).collect(),
                    packed: packed.to_owned(),
                }),
                Err(fault) => faults.push(fault),
            }
        }
        (claims, faults)
    }

    /// The text that says all of them.
    pub(crate) fn text(&self) -> String {
        let packed: Vec<&str> = self.batches.iter().map(|batch| &*batch.packed).collect();
        packed.join(&BETWEEN.to_string())
    }

    /// Adds a batch. False: there is no room for it, and nothing was added.
    pub(crate) fn add(&mut self, batch: &[RecordFields]) -> bool {
        let json = serde_json::to_vec(batch).ok();
        let Some(packed) = json.and_then(|json| pack::compress(&json).ok()) else {
            return false;
        };
        let packed = BASE64.encode(packed);
        let held: usize = self.batches.iter().map(|old| old.packed.len() + 1).sum();
        if held + packed.len() > LONGEST {
            return false;
        }
        let apps = batch.iter().map(|claim| Uid(claim.app.uid.clone()));
        let apps = apps.collect();
        self.batches.push(Batch { apps, packed });
        true
    }

    /// The record of this app says it all now, or the app is gone. Is the text another one?
    pub(crate) fn settle(&mut self, app: &Uid) -> bool {
        self.keep(|claim| claim != app)
    }

    /// Only the claims of these apps count. Is the text another one?
    pub(crate) fn keep(&mut self, counts: impl Fn(&Uid) -> bool) -> bool {
        let before = self.batches.len();
        for batch in &mut self.batches {
            batch.apps.retain(&counts);
        }
        self.batches.retain(|batch| !batch.apps.is_empty());
        self.batches.len() != before
    }

    /// The last claim of an app that is not settled.
    pub(crate) fn of(&self, app: &Uid) -> Option<RecordFields> {
        let mut newest = self.batches.iter().rev();
        let batch = newest.find(|batch| batch.apps.contains(app))?;
        let claims = unpack(&batch.packed).ok()?;
        claims.into_iter().find(|claim| claim.app.uid == app.0)
    }
}

fn unpack(packed: &str) -> Result<Vec<RecordFields>, Unreadable> {
    let bytes = BASE64
        .decode(packed)
        .map_err(|error| Unreadable(error.to_string()))?;
    let bytes =
        pack::expand(&bytes, MOST_UNPACKED).map_err(|error| Unreadable(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_app::v1alpha1::{Entry, RecordedApp};

    fn uid(app: &str) -> Uid {
        Uid(format!("uid-{app}"))
    }

    fn claim(app: &str, serial: i64) -> RecordFields {
        RecordFields {
            app: RecordedApp {
                name: app.to_owned(),
                uid: uid(app).0,
            },
            serial,
            entries: vec![Entry {
                kind: "ConfigMap".to_owned(),
                name: app.to_owned(),
                ..Entry::default()
            }],
            ..RecordFields::default()
        }
    }

    #[test]
    fn what_one_process_claimed_the_next_one_reads() {
        let mut claims = Claims::default();
        assert!(claims.add(&[claim("a", 1), claim("b", 1)]));
        assert!(claims.add(&[claim("a", 2)]));
        let (read, faults) = Claims::read(&claims.text());
        assert!(faults.is_empty());
        assert_eq!(read.of(&uid("a")), Some(claim("a", 2)));
        assert_eq!(read.of(&uid("b")), Some(claim("b", 1)));
        assert_eq!(read.of(&uid("c")), None);
    }

    #[test]
    fn a_batch_goes_with_the_last_of_its_claims() {
        let mut claims = Claims::default();
        assert!(claims.add(&[claim("a", 1), claim("b", 1)]));
        assert!(!claims.settle(&uid("a")));
        assert_eq!(claims.of(&uid("a")), None);
        assert!(claims.of(&uid("b")).is_some());
        assert!(claims.settle(&uid("b")));
        assert_eq!(claims.text(), "");
    }

    #[test]
    fn what_has_no_room_is_not_added() {
        let mut claims = Claims::default();
        // Digests do not compress, so that the text grows as it would in a large cluster.
        let large = |app: &str| RecordFields {
            spec: (0..1000)
                .map(|n| lockstep_manifest::Digest::of(format!("{app}{n}").as_bytes()).0)
                .collect(),
            ..claim(app, 1)
        };
        let mut added = 0;
        while claims.add(&[large(&format!("app-{added}"))]) {
            added += 1;
        }
        assert!((1..10).contains(&added), "{added}");
        let text = claims.text();
        assert!(text.len() <= LONGEST);
        assert!(claims.add(&[claim("small", 1)]), "there is room for this");
        assert!(claims.settle(&uid("app-0")));
        assert!(claims.add(&[large("again")]), "there is room again");
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_counts() {
        let mut claims = Claims::default();
        assert!(claims.add(&[claim("a", 1)]));
        let text = format!("bm90IGl0,{},%", claims.text());
        let (read, faults) = Claims::read(&text);
        assert_eq!(faults.len(), 2);
        assert!(read.of(&uid("a")).is_some());
    }
}
