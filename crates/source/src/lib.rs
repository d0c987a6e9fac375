//! Git remotes, fetched into trees.
//!
//! [`Sources::refs`] lists what a remote's names point to, [`Sources::resolve`] says which commit a target means, and
//! [`Sources::tree`] brings that commit here and hands out its files. Nothing is checked out, no program is started,
//! and no path that a repository names is ever opened on disk.
//!
//! Reading order: `refs`, `wire` (the protocol), `cache` and `store` (the disk), `sources` (who shares what with whom).

mod account;
mod answer;
mod cache;
mod error;
mod flight;
mod objects;
mod pack;
mod packet;
mod refs;
mod snapshot;
mod sources;
mod store;
mod wire;

pub use error::{FetchError, SetupError, Why};
pub use refs::Refs;
pub use snapshot::{Commit, Snapshot};
pub use sources::{Counts, Options, Request, Sources};
