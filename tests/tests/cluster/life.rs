//! The daemon as a process: stopped, killed, doubled, configured anew, installed, and never starting another program.

mod configuration;
mod install;
mod kills;
mod program;
mod replicas;
mod restart;
mod together;
