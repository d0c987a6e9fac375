//! A plan in words: one text for CLI, page, log and Events.

use std::fmt;

use crate::seen::Going;
use crate::step::{Action, Asked, Barred, Plan, Reason, Step, Unstepped, Waiting};

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create => f.write_str("in git, not in the cluster"),
            Self::Update => f.write_str("changed in git"),
            Self::Heal => f.write_str("changed in the cluster"),
            Self::Recreate => f.write_str("deleted from the cluster"),
            Self::Namespace => f.write_str("asked for by CreateNamespace=true"),
            Self::Gone => f.write_str("no longer in git"),
            Self::Leaving => f.write_str("its app is being deleted"),
            Self::TakenOver { by } => write!(f, "now in git of app {by}"),
            Self::Hook(phase) => write!(f, "{} hook", phase.text()),
            Self::HookOver => f.write_str("hook that has ended"),
            Self::Moved { to } => write!(f, "the same object as {to}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied(id) => write!(f, "waits until {id} is applied"),
            Self::Healthy(id) => write!(f, "waits until {id} is healthy"),
            Self::Gone(id) => write!(f, "waits until {id} is gone"),
            Self::Served(gvk) => write!(f, "waits until the API server serves {gvk}"),
            Self::Retry(at) => write!(f, "tried again at {}", clock(*at)),
            Self::Others => f.write_str("waits until every app of the repository is rendered"),
            Self::Approval(Asked::Policy) => f.write_str("waits for a sync by a person"),
            Self::Approval(Asked::Confirm) => f.write_str(
                "waits for a confirmation: a sync by a person, or argocd.argoproj.io/deletion-approved on the Application",
            ),
            Self::Approval(Asked::Unsure) => f.write_str(
                "waits for a sync by a person, since its record was lost and its mark alone says whose it is",
            ),
            Self::Approval(Asked::Protected) => f.write_str(
                "waits for a sync by a person, since git cannot bring back what it holds",
            ),
            Self::Approval(Asked::Budget { wanted, allowed }) => write!(
                f,
                "waits for a sync by a person, since {wanted} objects would go and {allowed} may by themselves"
            ),
            Self::HealAt(at) => write!(f, "put back at {}", clock(*at)),
            Self::Hook(id) => write!(f, "waits until hook {id} has done its work"),
            Self::Runs => f.write_str("runs"),
            Self::Barred(Barred::Failed) => f.write_str(
                "waits for another commit or a sync by a person, since a sync of this commit has failed",
            ),
            Self::Barred(Barred::Partly) => {
                f.write_str("waits for a sync by a person, since the last one was of other objects")
            }
            Self::NotSelected => f.write_str("is not part of the sync that runs"),
        }
    }
}

impl fmt::Display for Unstepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InSync => f.write_str("as git wants it"),
            Self::Drifted => f.write_str("differs from git, and policy leaves it"),
            Self::PruneDisabled => f.write_str("no longer in git, and kept: pruning is off for it"),
            Self::NotOurs => {
                f.write_str("no longer in git, and kept: it carries no mark of this app")
            }
            Self::NeverSeen => f.write_str("no longer in git, and never seen in the cluster"),
            Self::OwnedByOther { app } => write!(f, "app {app} had it first"),
            Self::Unobserved(fault) => write!(f, "cannot be seen: {fault}"),
            Self::HookSkipped => f.write_str("a hook that runs at another moment, or never"),
            Self::HookRan => f.write_str("a hook that has done its work"),
            Self::HookFailed(why) => write!(f, "hook failed: {why}"),
            Self::HookKept => f.write_str("a hook that has ended, and is kept until it runs again"),
            Self::NotServed(gvk) => write!(f, "held: the API server does not serve {gvk}"),
            Self::Failed(fault) | Self::Refused(fault) => write!(f, "{fault}"),
            Self::Terminating(going) => write!(f, "{going}"),
        }
    }
}

impl fmt::Display for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is being deleted")?;
        if let Some(since) = self.since {
            write!(f, " since {}", clock(since))?;
        }
        match self.finalizers.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; finalizer {one} keeps it"),
            all => write!(f, "; finalizers {} keep it", all.join(", ")),
        }
    }
}

impl Step {
    /// `+` created, `~` changed, `-` deleted, `>` released, `!` run as a hook, `.` let go.
    pub fn sign(&self) -> char {
        match (&self.action, &self.reason) {
            (Action::Apply(_), Reason::Create | Reason::Recreate | Reason::Namespace) => '+',
            (Action::Apply(_), _) => '~',
            (Action::Prune { .. }, _) => '-',
            (Action::Release, _) => '>',
            (Action::Run { .. }, _) => '!',
            (Action::LetGo { .. }, _) => '.',
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.sign(), self.id, self.reason)?;
        for change in &self.changes {
            write!(
                f,
                "\n    {} {} → {}",
                change.path,
                change.before.text(),
                change.after.text()
            )?;
        }
        for taken in &self.taken {
            write!(f, "\n    takes {taken}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// `2 objects to update, 0 to create, 1 to prune`.
    pub fn summary(&self) -> String {
        let (create, update, prune) = self.counts();
        let objects = if update == 1 { "object" } else { "objects" };
        format!("{update} {objects} to update, {create} to create, {prune} to prune")
    }
}

/// The summary, then a line for every step, then what is left alone for a reason worth saying.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for step in &self.front {
            writeln!(f, "  {step}")?;
        }
        for (step, waiting) in &self.waiting {
            writeln!(f, "  {step}; {waiting}")?;
        }
        for (id, why) in &self.unstepped {
            if *why != Unstepped::InSync {
                writeln!(f, "  . {id}: {why}")?;
            }
        }
        Ok(())
    }
}

fn clock(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}
