//! The program itself, run against a real server.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod files;
mod help;
mod kick;
mod looking;
mod refused;
mod verify;
mod world;
