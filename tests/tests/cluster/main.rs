//! What the daemon does on a real Kubernetes: `sync` to objects, `faces` to whoever asks, `life` to itself.

mod faces;
mod life;
mod objects;
mod sync;
