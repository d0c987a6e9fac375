//! Whole lives of apps against a cluster, a git and a clock in memory.
//!
//! `world` drives; `paths`, `drift` and `orders` are the main stories, one sentence each, `bases` those of commits that name
//! other repositories, `hooks` those of what runs with a sync; `laws` are what no order of deliveries, no crash
//! and no loss may break; `kills` is one life, ended and begun again wherever that can hurt.

mod apps;
mod bases;
mod drift;
mod hooks;
mod kills;
mod laws;
mod orders;
mod paths;
mod server;
mod world;
