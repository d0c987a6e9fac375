//! The daemon: runs effects, serves HTTP, keeps its tasks alive.
//!
//! Reading order: [`run()`] puts it together; [`board`] is what faces read; [`http`] the faces; [`metrics`] what is
//! counted; [`token`] who may write. The engine is the one writer and nobody's business but its own.

pub mod board;
mod bundle;
mod claims;
mod clock;
mod engine;
mod files;
pub mod http;
pub mod metrics;
mod pack;
mod record;
mod reload;
mod run;
mod tasks;
pub mod token;

pub use run::{Options, RunError, run};
pub use tasks::TaskEnded;
