//! What `GET /api/v1/stream` sends: a doorbell that says which piece changed.

use serde::{Deserialize, Serialize};

use crate::app::State;
use crate::time::Time;

/// `hello`, on connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The server's clock.
    pub now: Time,
    /// Lockstep's version.
    pub version: String,
    /// The board's version that the stream begins after.
    pub after: u64,
}

/// `app`, on any change of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppChanged {
    /// `prod/checkout`.
    pub key: String,
    /// The board's version.
    pub version: u64,
    /// Its word now; none when it is gone.
    pub state: Option<State>,
    /// Its word before; none when it is new.
    pub was: Option<State>,
    /// For screen readers and for watching in a terminal; empty when the word stays.
    pub say: String,
}

/// `drift`, when the ledger of an app changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftChanged {
    /// `prod/checkout`.
    pub key: String,
    /// How many fields differ now.
    pub fields: u64,
    /// A sentence.
    pub say: String,
}

/// `deployment`, when a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// `prod/checkout`.
    pub key: String,
    /// Its number.
    pub n: u64,
    /// `succeeded`: a failed one is no deployment.
    pub outcome: String,
}

/// `beat`, every 15 s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// The server's clock.
    pub now: Time,
}
