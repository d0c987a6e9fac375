//! When something is due for which app: one moment each, the earliest first, however many apps there are.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use lockstep_app::app::AppKey;

/// At most one alarm an app.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    at: HashMap<AppKey, Timestamp>,
    by_time: BTreeSet<(Timestamp, AppKey)>,
}

impl Alarms {
    /// Sets an app's alarm, in place of the one that it had.
    pub(super) fn set(&mut self, key: &AppKey, at: Timestamp) {
        if self.at.get(key) != Some(&at) {
            self.clear(key);
            self.at.insert(key.clone(), at);
            self.by_time.insert((at, key.clone()));
        }
    }

    /// Sees to it that an app's alarm goes off at this moment at the latest.
    pub(super) fn set_earlier(&mut self, key: &AppKey, at: Timestamp) {
        if self.at.get(key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    /// Takes an app's alarm away.
    pub(super) fn clear(&mut self, key: &AppKey) {
        if let Some(old) = self.at.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
    }

    /// When the next one goes off.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The app whose alarm went off first of those that have, without its alarm from now on.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<AppKey> {
        self.next().filter(|at| *at <= now)?;
        let (_, key) = self.by_time.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> AppKey {
        AppKey {
            namespace: "argocd".to_owned(),
            name: name.to_owned(),
        }
    }

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).expect("a moment of this century")
    }

    #[test]
    fn the_earliest_goes_off_first_and_each_goes_off_once() {
        let mut alarms = Alarms::default();
        alarms.set(&key("a"), second(3));
        alarms.set(&key("b"), second(1));
        alarms.set_earlier(&key("a"), second(2));
        alarms.set_earlier(&key("a"), second(9));
        assert_eq!(alarms.next(), Some(second(1)));
        assert_eq!(alarms.take_due(second(0)), None);
        assert_eq!(alarms.take_due(second(2)), Some(key("b")));
        assert_eq!(alarms.take_due(second(2)), Some(key("a")));
        assert_eq!(alarms.take_due(second(9)), None);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn an_alarm_can_be_put_off_and_taken_away() {
        let mut alarms = Alarms::default();
        alarms.set(&key("a"), second(1));
        alarms.set(&key("a"), second(5));
        assert_eq!(alarms.take_due(second(4)), None);
        alarms.clear(&key("a"));
        assert_eq!(alarms.take_due(second(9)), None);
    }
}
