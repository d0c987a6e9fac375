//! Errors: what did not happen, why, and what to do.

use serde::{Deserialize, Serialize};

use crate::plan::PlanView;

/// An error, as `application/problem+json` (RFC 9457) with our own members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// What did not happen, to what, where.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// From the reason catalogue.
    pub code: String,
    /// Why.
    pub detail: String,
    /// One command, or one person.
    pub next: Option<String>,
    /// When trying again makes sense.
    pub retry_after_ms: Option<u64>,
    /// What to quote when asking about it.
    pub request_id: String,
    /// The plan as it is now, when it is not the one that was approved.
    pub plan: Option<Box<PlanView>>,
    /// The operation that is in the way.
    pub operation: Option<String>,
}
