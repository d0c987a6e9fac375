//! A sync: what is asked for, and how far it is.

use serde::{Deserialize, Serialize};

use crate::app::ObjectRef;
use crate::time::Time;

/// The body of `POST /api/v1/apps/ENV/APP/sync`. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncRequest {
    /// The digest of the plan that was seen. Needed while the app has a plan, unless `revision` or `dryRun` is given.
    #[serde(default)]
    pub plan: Option<String>,
    /// May it delete? Without it, policy and approval decide.
    #[serde(default)]
    pub prune: Option<bool>,
    /// A complete commit id to sync to, instead of the target's.
    #[serde(default)]
    pub revision: Option<String>,
    /// Plan only, write nothing: the operation's results say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Only these objects; none is all of them. Such a sync runs no hooks and is no deployment.
    #[serde(default)]
    pub resources: Vec<Pick>,
    /// Without hooks.
    #[serde(default)]
    pub skip_hooks: bool,
    /// What cannot be changed is deleted and made again.
    #[serde(default)]
    pub force: bool,
}

/// Some objects of an app: what is left out matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pick {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// The body of `POST /api/v1/apps/ENV/APP/rollback`. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    /// Where to; left out, the deployment before the last.
    #[serde(default)]
    pub to: Option<Past>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// How long to stay: `newer-commit` (left out, too), `release`, a time such as `2026-03-12T16:00:00Z`, or a
    /// length of it such as `2h`.
    #[serde(default)]
    pub until: String,
    /// May it delete what was not there then? Without it, policy and approval decide.
    #[serde(default)]
    pub prune: bool,
    /// Without hooks.
    #[serde(default)]
    pub skip_hooks: bool,
    /// Plan only, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// One of the last deployments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Past {
    /// By its number in the history.
    Number(u64),
    /// By its commit: seven digits of it or more.
    Commit(String),
}

/// The body of `POST /api/v1/apps/ENV/APP/abandon`. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbandonRequest {
    /// Which.
    pub objects: Vec<ObjectRef>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OperationPhase {
    /// Not ended.
    Running,
    /// Somebody ended it, and its hooks are being tidied up.
    Terminating,
    /// Everything was applied.
    Succeeded,
    /// Something was not.
    Failed,
}

/// One sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id: `op-` and hex digits.
    pub id: String,
    /// The app: `prod/checkout`.
    pub key: String,
    /// How far it is.
    pub phase: OperationPhase,
    /// One sentence.
    pub message: String,
    /// The commit it goes to.
    pub revision: Option<String>,
    /// Who asked; `automated` when nobody did.
    pub by: String,
    /// When it began.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// What was done to which object.
    pub results: Vec<OperationResult>,
    /// How often something was tried again.
    #[serde(default)]
    pub retries: u32,
    /// Did what it applied become healthy? None where that is not looked at: it runs, it failed, it was of some objects.
    #[serde(default)]
    pub verified: Option<Verified>,
    /// Was it only tried? Then nothing was written, and the results say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Did everything that was applied become healthy?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerifiedState {
    /// It is not known yet.
    Pending,
    /// All of it did.
    Verified,
    /// Not in time.
    NotVerified,
}

/// The same, with when or why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Did it?
    pub state: VerifiedState,
    /// When it was.
    pub at: Option<Time>,
    /// Why it was not.
    pub why: Option<String>,
}

/// How far a hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookState {
    /// It is made, or runs.
    Running,
    /// It has done its work.
    Succeeded,
    /// It has not.
    Failed,
}

/// What a sync did to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationResult {
    /// Which.
    #[serde(rename = "ref")]
    pub id: ObjectRef,
    /// Argo CD's code: `Synced`, `SyncFailed`, `Pruned`, `PruneSkipped`.
    pub status: String,
    /// In words.
    pub message: String,
    /// The phase it belongs to: `PreSync`, `Sync`, `PostSync`, `SyncFail`, `PreDelete` or `PostDelete`.
    #[serde(default)]
    pub phase: String,
    /// How far it is, when it is a hook.
    #[serde(default)]
    pub hook: Option<HookState>,
}

impl Operation {
    /// Is it under way?
    pub fn is_running(&self) -> bool {
        matches!(
            self.phase,
            OperationPhase::Running | OperationPhase::Terminating
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_of_a_sync_is_refused_instead_of_ignored() {
        assert!(serde_json::from_str::<SyncRequest>(r#"{"dryrun":true}"#).is_err());
        let request: SyncRequest = serde_json::from_str("{}").expect("everything may be left out");
        assert_eq!(request, SyncRequest::default());
    }

    #[test]
    fn a_deployment_is_named_by_its_number_or_by_its_commit() {
        let to = |text: &str| {
            serde_json::from_str::<RollbackRequest>(text)
                .map(|request| request.to)
                .ok()
        };
        assert_eq!(to(r#"{"to":46}"#), Some(Some(Past::Number(46))));
        let commit = Past::Commit("a3f19d7".to_owned());
        assert_eq!(to(r#"{"to":"a3f19d7"}"#), Some(Some(commit)));
        assert_eq!(to("{}"), Some(None));
        assert_eq!(to(r#"{"to":-1}"#), None);
    }
}
