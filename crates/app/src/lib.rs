//! What the user asked for: as written in the CRDs, as meant.
//!
//! Reading order: [`v1alpha1`] mirrors Argo CD's resources and our `Record`; [`app`](mod@app) is what one of them
//! means, made by [`lower()`]; [`kustomize`] its overrides of a kustomization; [`policy`] what may happen to it by itself; [`project`] the only way to a write;
//! [`config`] the daemon's file; [`credentials`] Argo CD's Secrets; [`fault`] what went wrong, and whose move it is;
//! [`units`] durations and sizes as people write them, [`spelling`] what they meant.

pub mod app;
pub mod config;
pub mod credentials;
pub mod fault;
mod glob;
pub mod kustomize;
pub mod lower;
pub mod policy;
pub mod project;
mod schema;
mod spec_error;
pub mod spelling;
pub mod units;
pub mod v1alpha1;

pub use app::{App, AppKey, Source, SourceType};
pub use fault::{Blame, Fault};
pub use lower::lower;
pub use policy::{DeletionPolicy, DriftPolicy, NewCommitPolicy, Policy};
pub use project::{Authorized, Project, Refused, Scope};
pub use spec_error::SpecError;
