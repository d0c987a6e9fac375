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
    /// Plan only, write nothing.
    #[serde(default)]
    pub dry_run: bool,
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
}
