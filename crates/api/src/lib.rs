//! The REST contract, as plain wire types.
//!
//! Shape: camelCase; times are RFC 3339 in UTC with milliseconds; durations are whole milliseconds with the unit in
//! the name; what is not known is `null`, never absent; lists are wrapped in an object. The daemon writes these,
//! the command line reads them, and [`text`] is their third representation: what `Accept: text/plain` answers and
//! what the command line prints, byte for byte.
//!
//! Reading order: [`app`] is one app, [`drift`] and [`plan`] what differs and what a sync would do, [`operation`] a
//! sync and what else can be asked for, [`past`] what was done before, [`overview`] all apps, [`stream`] the doorbell,
//! [`problem`] every error, [`time`](mod@time) its instants.

pub mod app;
pub mod drift;
pub mod operation;
pub mod overview;
pub mod past;
pub mod plan;
pub mod problem;
pub mod stream;
pub mod text;
pub mod time;

pub use app::{App, AppList, AppSummary, Commit, HealthState, NextMove, State, StepOutcome};
pub use drift::Drift;
pub use operation::{Operation, OperationPhase, RollbackRequest, SyncRequest};
pub use overview::{Environment, Environments, Overview};
pub use plan::PlanView;
pub use problem::Problem;
pub use time::Time;
