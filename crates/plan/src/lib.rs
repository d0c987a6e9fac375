//! Desired against live: the steps, the reason for each step, wait or non-step.
//!
//! Reading order: [`desired`] is what git wants, with our marks on it, and [`hook`] what of it runs once in a sync; [`seen`] what the cluster was seen to hold and
//! the inventory of what we may have touched; [`step`](mod@step) what a plan is made of; [`plan()`](fn@plan) makes
//! one; [`changes`] compares two objects field by field; [`text`] says it all in words.

pub mod changes;
pub mod desired;
pub mod hook;
pub mod make;
mod manner;
mod order;
pub mod seen;
pub mod step;
pub mod text;
mod unsaid;

pub use changes::{FieldChange, Side, overlaid};
pub use desired::{Desired, Finding, Scopes, Wanted, prepare};
pub use hook::{Course, Hook, HookKey, HookRun, HookState, Leftover, Run, Selector};
pub use make::{DriftClock, Elsewhere, Facts, Mode, NOT_OURS, namespace_digest, plan};
pub use seen::{Entry, Failure, Going, HookSeen, Inventory, KindView, Observed, Seen};
pub use step::{Action, Asked, Barred, Foreseen, Plan, Reason, Step, Unstepped, Waiting};
