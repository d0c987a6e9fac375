//! What only a real control plane can show, the layers, the demo, the benchmarks.
//!
//! Reading order: [`controlplane`] starts Kubernetes once for a process, [`kube`] talks to it as an administrator,
//! [`git`] makes repositories that it serves, [`daemon`] runs the built `lockstep` against it, [`audit`] says which
//! requests were made, [`proxy`] stands between the two and can cut them off, [`world`] puts them together for one
//! test. [`packages`] is what cargo says we are built from.
//! [`webhook`] is what a git host says, and [`mod@bench`] measures.

pub mod audit;
pub mod bench;
pub mod controlplane;
pub mod daemon;
pub mod git;
pub mod kube;
pub mod packages;
pub mod proxy;
pub mod webhook;
pub mod world;

pub use world::World;
