//! The program itself, run against a real server.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod files;
mod help;
mod kick;
mod looking;
mod migrate;
#[cfg(unix)]
mod reach;
mod refused;
mod servers;
#[cfg(unix)]
mod terminal;
mod verify;
#[cfg(unix)]
mod watch;
mod world;
