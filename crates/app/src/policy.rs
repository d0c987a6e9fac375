//! What may happen to an app by itself: three axes, the stricter of environment and Application on each.

use std::time::Duration;

/// A new commit is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NewCommitPolicy {
    /// It is applied.
    Apply,
    /// It waits for a sync by a person.
    Approve,
    /// It is not applied, by nobody, until the policy changes.
    Hold,
}

/// The cluster differs from what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftPolicy {
    /// It is put back at once.
    Heal,
    /// It is put back when it has stood this long.
    HealAfter(Duration),
    /// It is shown and left.
    Report,
}

/// An object is no longer in git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeletionPolicy {
    /// It is deleted.
    Prune,
    /// It waits for a sync by a person.
    Approve,
    /// It is kept.
    Keep,
}

/// How many objects that left git one commit may take away by itself.
///
/// More than that is more often a folder that was moved, or a generator that broke, than a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneBudget {
    /// So many, however few objects the app has.
    pub objects: u32,
    /// And so many of a hundred of the app's objects, when that is more.
    pub percent: u32,
}

impl PruneBudget {
    /// How many of this many objects may go without a person.
    pub fn allows(self, inventory: usize) -> usize {
        let share = inventory.saturating_mul(self.percent as usize) / 100;
        share.max(self.objects as usize)
    }
}

impl Default for PruneBudget {
    fn default() -> Self {
        Self {
            objects: 10,
            percent: 25,
        }
    }
}

/// Which text decided on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// The Application's own `syncPolicy`.
    Application,
    /// The environment in the daemon's configuration.
    Environment,
    /// Both say the same.
    Both,
}

/// The policy in force for one app, each axis with who decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// On a new commit.
    pub new_commit: NewCommitPolicy,
    /// See [`DecidedBy`].
    pub new_commit_by: DecidedBy,
    /// On drift.
    pub drift: DriftPolicy,
    /// See [`DecidedBy`].
    pub drift_by: DecidedBy,
    /// On an object gone from git.
    pub deletion: DeletionPolicy,
    /// See [`DecidedBy`].
    pub deletion_by: DecidedBy,
    /// More deletions than this wait for a person, whatever else lets them through.
    pub prune_budget: PruneBudget,
    /// `automated.allowEmpty`: may a commit that renders nothing prune everything?
    pub allow_empty: bool,
}

/// Takes the stricter of two on one axis, and says whose it was. Stricter is greater.
pub fn stricter<T: Copy + Ord>(application: T, environment: Option<T>) -> (T, DecidedBy) {
    match environment {
        None => (application, DecidedBy::Application),
        Some(environment) => match application.cmp(&environment) {
            std::cmp::Ordering::Greater => (application, DecidedBy::Application),
            std::cmp::Ordering::Less => (environment, DecidedBy::Environment),
            std::cmp::Ordering::Equal => (application, DecidedBy::Both),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_side_wins_and_is_named() {
        use NewCommitPolicy::{Apply, Approve};
        assert_eq!(
            stricter(Apply, Some(Approve)),
            (Approve, DecidedBy::Environment)
        );
        assert_eq!(
            stricter(Approve, Some(Apply)),
            (Approve, DecidedBy::Application)
        );
        assert_eq!(stricter(Apply, Some(Apply)), (Apply, DecidedBy::Both));
        assert_eq!(stricter(Apply, None), (Apply, DecidedBy::Application));
    }

    #[test]
    fn a_small_app_may_lose_ten_objects_and_a_large_one_a_quarter() {
        let budget = PruneBudget::default();
        assert_eq!(
            [0, 3, 40, 44, 1000].map(|n| budget.allows(n)),
            [10, 10, 10, 11, 250]
        );
    }

    #[test]
    fn a_longer_wait_before_healing_is_stricter_than_healing_at_once() {
        let wait = |s| DriftPolicy::HealAfter(Duration::from_secs(s));
        assert!(DriftPolicy::Heal < wait(1) && wait(1) < wait(2) && wait(2) < DriftPolicy::Report);
    }
}
