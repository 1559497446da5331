//! Browsers against a small service, on both stores.

// A test that unwraps what is not there has failed.
#![allow(clippy::unwrap_used)]

mod browser;
mod cookies;
mod outage;
mod readme;
mod service;
mod sessions;
mod sockets;
mod trips;
mod users;
