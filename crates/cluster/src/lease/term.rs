//! Who holds a lease, decided without a clock of its own and without a network: time comes in as an argument.
//!
//! Expiry is never read from the times in the object. Another's is judged by when we last *saw it change*; ours by
//! when the last renewal that succeeded was *sent* (F-33, client-go #67651).

use std::time::Duration;

use tokio::time::Instant;

/// How long a lease stands after it was last seen to change.
pub(crate) const DURATION: Duration = Duration::from_secs(15);

/// How long we believe in ours after a successful renewal was sent. The 5 s to [`DURATION`] are for what is under way.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(10);

/// How often it is renewed.
///
/// Each renewal is a write that etcd keeps: every 3 s is 28,800 a day, every 2 s would be 43,200, every 5 s 17,280.
/// With 5 s only 5 s of margin are left when a renewal is due, and a write that may take that long could not begin
/// while it is under way. With 3 s there are 7, and three attempts of [`ATTEMPT`] before we give up.
pub(crate) const RENEW: Duration = Duration::from_secs(3);

/// How long one attempt to renew may take, and how long it rests after one that failed.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// How often one who waits looks.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// The Lease object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) holder: String,
    pub(crate) version: String,
    pub(crate) transitions: u64,
    /// What its holder promised; a client that promises less than ours is believed no sooner.
    pub(crate) duration: Duration,
}

/// What to do about a lease that we do not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// There is none: make it.
    Create,
    /// Take it, if it is still as it was seen.
    Take { version: String, epoch: u64 },
    /// Look again then.
    LookAt(Instant),
}

/// One who waits for a lease.
#[derive(Debug)]
pub(crate) struct Candidate {
    identity: String,
    seen: Option<(String, Instant)>,
}

impl Candidate {
    pub(crate) fn new(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            seen: None,
        }
    }

    /// Decides what to do, now that the lease was read.
    pub(crate) fn consider(&mut self, standing: Option<&Standing>, now: Instant) -> Move {
        let Some(standing) = standing else {
            return Move::Create;
        };
        let take = |epoch| Move::Take {
            version: standing.version.clone(),
            epoch,
        };
        if standing.holder == self.identity {
            // An attempt of ours whose answer was lost: it counts from now, when the next one is sent.
            return take(standing.transitions);
        }
        let next = standing.transitions.saturating_add(1);
        if standing.holder.is_empty() {
            return take(next);
        }
        let since = match &self.seen {
            Some((version, since)) if *version == standing.version => *since,
            _ => {
                self.seen = Some((standing.version.clone(), now));
                now
            }
        };
        let expires = since + standing.duration.max(DURATION);
        if now >= expires {
            take(next)
        } else {
            Move::LookAt(expires.min(now + LOOK))
        }
    }
}

/// A lease that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) epoch: u64,
    pub(crate) version: String,
    sent: Instant,
    next: Instant,
}

/// What came of an attempt to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is renewed, and this is its version.
    Done(String),
    /// It is not as we left it, and this is how it is.
    Changed(Option<Standing>),
    /// Nothing is known.
    Failed,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Somebody else has it.
    Taken,
    /// Too long since it was renewed.
    Expired,
}

impl Term {
    /// It was had by a request sent at `sent`.
    pub(crate) fn begin(epoch: u64, version: String, sent: Instant) -> Self {
        Self {
            epoch,
            version,
            sent,
            next: sent + RENEW,
        }
    }

    /// Until when we may act on it.
    pub(crate) fn until(&self) -> Instant {
        self.sent + GIVE_UP
    }

    /// When the next attempt is due.
    pub(crate) fn due(&self) -> Instant {
        self.next.min(self.until())
    }

    /// How long an attempt that begins now may take; none when there is no time left.
    pub(crate) fn attempt(&self, now: Instant) -> Option<Duration> {
        let left = self.until().saturating_duration_since(now);
        (!left.is_zero()).then(|| left.min(ATTEMPT))
    }

    /// Takes in what came of an attempt that was sent at `sent`.
    pub(crate) fn renewed(
        &mut self,
        identity: &str,
        outcome: Renewal,
        sent: Instant,
        now: Instant,
    ) -> Result<(), Over> {
        match outcome {
            Renewal::Done(version) => {
                self.version = version;
                self.sent = sent;
                self.next = sent + RENEW;
            }
            // An earlier attempt arrived after all. Which one is not known, so it gives no time: try at once.
            Renewal::Changed(Some(standing))
                if standing.holder == identity && standing.transitions == self.epoch =>
            {
                self.version = standing.version;
                self.next = now;
            }
            Renewal::Changed(_) => return Err(Over::Taken),
            Renewal::Failed => self.next = now + RETRY,
        }
        if now >= self.until() {
            Err(Over::Expired)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
