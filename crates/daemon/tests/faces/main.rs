//! The faces over a made-up board: everything that [`lockstep_daemon::http`] answers, without a socket.

mod access;
mod argo;
mod orders;
mod pages;
mod rest;
mod sample;
mod site;
mod stream;
mod webhook;
mod words;
