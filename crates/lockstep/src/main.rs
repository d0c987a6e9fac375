//! The one binary: the command line, with `serve` as the daemon.
//!
//! Reading order: [`cli`] is every verb and flag, [`exit`] every exit code, [`failure`] what an error looks like,
//! [`environment`] the one place where variables are read, [`screen`] how text becomes a terminal's, [`server`] the
//! connection to a daemon, [`target`] which app is meant, [`object`] which object of it, `verb` one module for each verb.

mod cli;
mod environment;
mod exit;
mod failure;
mod object;
mod period;
mod screen;
mod server;
mod target;
mod verb;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::screen::Screen;

/// musl's own allocator collapses under threads, and the image is static.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Huge pages that are mostly empty count as memory, and a heap of many small values is full of them. Where that
    // is not to be had, memory is all it costs.
    #[cfg(target_os = "linux")]
    let _fewer = rustix::thread::disable_transparent_huge_pages(true);
    // Whoever opens a TLS connection without a provider panics, so it comes before everything. It fails only when
    // there is one already, which is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is wrong usage. Clap knows which is which.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Yes
            };
            // A closed pipe is no reason for another error.
            let _printed = error.print();
            return exit.into();
        }
    };
    let screen = Screen::new(&environment, cli.color, cli.ascii);
    match verb::run(cli, &environment, &screen) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen.failure(&failure);
            failure.exit.into()
        }
    }
}
