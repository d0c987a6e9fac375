//! Whose turn it is to sync.

use std::collections::{HashSet, VecDeque};

use lockstep_app::app::AppKey;

/// Apps that sync by themselves at once.
///
/// One commit can concern every app. When all of them begin together, each takes as long as all, they come to the same
/// kind at the same moment (an API server that is asked for 64 Services at once takes seconds for the last one's
/// address), and each is told of in between. A few at a time are over within a second each. An app has one write under
/// way for most of its time, so these keep the client's 64 requests more than half full.
const AT_ONCE: usize = 96;

/// As many are called at once: their claims go in one write, and those that were called before keep the server busy
/// meanwhile.
pub(super) const CALLED_TOGETHER: usize = 32;

/// More syncs than that begin a storm; it is over when nobody syncs. Otherwise all that was put off for its sake would
/// come just before its last objects.
const CROWD: usize = 8;

/// Who syncs, who has been called, who waits.
#[derive(Debug, Default)]
pub(super) struct Turns {
    syncing: HashSet<AppKey>,
    called: HashSet<AppKey>,
    waiting: VecDeque<AppKey>,
    queued: HashSet<AppKey>,
    /// How many more are to be called of those that are called together.
    to_call: usize,
    is_storm: bool,
}

impl Turns {
    /// May this app begin a sync?
    pub(super) fn may_begin(&self, key: &AppKey) -> bool {
        self.called.contains(key) || (self.waiting.is_empty() && self.has_room())
    }

    /// Puts an app at the end, unless it waits already.
    pub(super) fn queue(&mut self, key: &AppKey) {
        if self.queued.insert(key.clone()) {
            self.waiting.push_back(key.clone());
        }
        self.watch_for_storm();
    }

    fn watch_for_storm(&mut self) {
        let is_crowded = self.syncing.len() + self.waiting.len() > CROWD;
        self.is_storm = is_crowded || (self.is_storm && !self.is_idle());
    }

    /// Notes what an app does after it was looked at: who was called and does not sync has nothing to sync any more.
    pub(super) fn note(&mut self, key: &AppKey, is_syncing: bool) {
        self.called.remove(key);
        if is_syncing {
            self.syncing.insert(key.clone());
        } else {
            self.syncing.remove(key);
        }
        self.watch_for_storm();
    }

    /// The next one, when there is room for all that are called with it. It is to be woken.
    pub(super) fn call(&mut self) -> Option<AppKey> {
        let room = AT_ONCE.saturating_sub(self.syncing.len() + self.called.len());
        if self.to_call == 0 && room >= CALLED_TOGETHER.min(self.waiting.len()) {
            self.to_call = CALLED_TOGETHER;
        }
        self.to_call = self.to_call.min(room).min(self.waiting.len());
        if self.to_call == 0 {
            return None;
        }
        self.to_call -= 1;
        let next = self.waiting.pop_front()?;
        self.queued.remove(&next);
        self.called.insert(next.clone());
        Some(next)
    }

    /// Forgets an app that is no more.
    pub(super) fn forget(&mut self, key: &AppKey) {
        self.note(key, false);
        if self.queued.remove(key) {
            self.waiting.retain(|waiting| waiting != key);
        }
        self.watch_for_storm();
    }

    /// Does nobody sync, or wait to?
    pub(super) fn is_idle(&self) -> bool {
        self.syncing.is_empty() && self.called.is_empty() && self.waiting.is_empty()
    }

    /// Do many sync, or wait to, or did they and some still do?
    pub(super) fn is_storm(&self) -> bool {
        self.is_storm
    }

    fn has_room(&self) -> bool {
        self.syncing.len() + self.called.len() < AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> AppKey {
        AppKey {
            namespace: "argocd".to_owned(),
            name: format!("app-{number}"),
        }
    }

    /// As many as may sync at once do, and so many more wait.
    fn full(more: usize) -> Turns {
        let mut turns = Turns::default();
        for number in 0..AT_ONCE {
            assert!(turns.may_begin(&key(number)));
            turns.note(&key(number), true);
        }
        for number in 0..more {
            assert!(!turns.may_begin(&key(AT_ONCE + number)));
            turns.queue(&key(AT_ONCE + number));
        }
        turns
    }

    fn called(turns: &mut Turns) -> Vec<AppKey> {
        std::iter::from_fn(|| turns.call()).collect()
    }

    #[test]
    fn the_first_that_waits_is_called_when_a_sync_ends_and_nobody_takes_its_place() {
        let mut turns = full(1);
        turns.queue(&key(AT_ONCE));
        assert_eq!(turns.call(), None);
        turns.note(&key(0), false);
        assert!(!turns.may_begin(&key(0)), "it would jump the queue");
        assert_eq!(called(&mut turns), [key(AT_ONCE)]);
        assert!(!turns.may_begin(&key(0)));
        assert!(turns.may_begin(&key(AT_ONCE)));
        turns.queue(&key(AT_ONCE + 1));
        assert_eq!(turns.call(), None);
        turns.note(&key(AT_ONCE), true);
        turns.note(&key(1), false);
        assert_eq!(called(&mut turns), [key(AT_ONCE + 1)]);
    }

    #[test]
    fn where_many_wait_they_are_called_together() {
        let mut turns = full(CALLED_TOGETHER + 1);
        for number in 0..CALLED_TOGETHER {
            assert_eq!(turns.call(), None, "there is room for {number}");
            turns.note(&key(number), false);
        }
        let first: Vec<AppKey> = (0..CALLED_TOGETHER)
            .map(|number| key(AT_ONCE + number))
            .collect();
        assert_eq!(called(&mut turns), first);
        // The last one waits for no others.
        turns.note(&first[0], true);
        turns.note(&first[0], false);
        assert_eq!(called(&mut turns), [key(AT_ONCE + CALLED_TOGETHER)]);
    }

    #[test]
    fn a_storm_begins_with_many_and_ends_with_the_last() {
        let mut turns = Turns::default();
        for number in 0..=CROWD {
            assert!(!turns.is_storm());
            turns.note(&key(number), true);
        }
        for number in 0..=CROWD {
            assert!(turns.is_storm());
            turns.note(&key(number), false);
        }
        assert!(!turns.is_storm());
    }

    #[test]
    fn one_that_was_called_and_has_nothing_to_do_gives_its_turn_to_the_next() {
        let mut turns = full(1);
        turns.note(&key(0), false);
        assert_eq!(turns.call(), Some(key(AT_ONCE)));
        turns.queue(&key(AT_ONCE + 1));
        assert_eq!(turns.call(), None);
        turns.note(&key(AT_ONCE), false);
        assert_eq!(turns.call(), Some(key(AT_ONCE + 1)));
    }

    #[test]
    fn an_app_that_is_no_more_neither_waits_nor_takes_room() {
        let mut turns = full(1);
        turns.forget(&key(AT_ONCE));
        turns.forget(&key(0));
        assert_eq!(turns.call(), None);
        assert!(turns.may_begin(&key(7)));
    }
}
