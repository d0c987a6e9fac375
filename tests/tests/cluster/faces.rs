//! What the daemon answers to people, scripts, git hosts and Prometheus, over a real socket and from a real cluster.

mod argo;
mod cli;
mod pages;
mod rest;
mod secrets;
mod webhook;
