//! The one binary: the command line, with `serve` as the daemon.
fn main() {}
