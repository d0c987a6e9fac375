//! What the daemon does on a real Kubernetes: `sync` to objects, `faces` to whoever asks, `life` to itself;
//! `traps` are those of server-side apply, each of which has bitten somebody.

mod faces;
mod life;
mod objects;
mod sync;
mod traps;
