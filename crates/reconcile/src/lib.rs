//! The life of one app, as a state machine that touches nothing.
//!
//! Reading order: [`event`] lists everything that can happen to an app and everything it can ask of the world;
//! [`life`] is the machine, in two halves that never wait for each other: `source` (which commit, what does it
//! render to) and `cluster` (plan, claim, apply, look again), with `run` for a sync from its beginning to its end,
//! `rollback` for going back and `leave` for going away, which `guard` lets wait for hooks; [`orders`] is what people
//! ask for, `dry_run` what would come of it; [`view`] what faces show;
//! [`status`](fn@status) the only writer of an Application's status.

mod answers;
mod cluster;
mod dry_run;
pub mod event;
mod guard;
mod leave;
pub mod life;
mod measure;
pub mod orders;
mod planning;
mod recall;
mod rollback;
mod run;
mod show;
mod sightings;
mod source;
mod status;
mod strip;
pub mod view;
mod word;

pub use event::{
    Effect, Event, Look, Measured, Outcome, Recalled, RecordDraft, RecordedRun, Rollback, Slot,
    Until, World, spec_digest,
};
pub use life::{Life, Phase};
pub use orders::{Order, OrderRefused, RollbackOrder, RollbackTo};
pub use status::{Gist, STATUS_FIELDS, says_the_same, status, tells_the_same};
