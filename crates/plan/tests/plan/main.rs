//! What a plan says of git, cluster and inventory. Every test is one sentence; the laws are in `laws`.

mod case;
mod deletions;
mod hooks;
mod laws;
mod order;
mod policies;
mod ready;
mod reasons;
