//! One Kubernetes API server: observe, watch, claim, apply, delete.
//!
//! Reading order: [`Connect`] says where the server is, [`Cluster`] is the server, [`Served`] what it serves,
//! [`Seen`] what a watch says, [`WriteError`] why a write did not happen, [`Apps`] our own kinds and Argo CD's,
//! [`lease`] who may act.

mod apps;
mod call;
mod cluster;
mod connect;
mod contact;
mod error;
pub mod lease;
mod path;
mod refusal;
mod served;
mod status;
mod undeclared;
mod watch;
mod write;

pub use apps::{Apps, ClaimError, Claimed, EventType, Extras, NewEvent, Published};
pub use cluster::{Cluster, FIELD_MANAGER};
pub use connect::{Connect, Plugins};
pub use error::{ClusterError, Permission};
pub use refusal::WriteError;
pub use served::{Lookup, Resource, Served};
pub use watch::Seen;
pub use write::Written;
