//! The adapter under the middleware of actix-session, in memory and on a Redis server.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod acceptance;
mod lives;
mod races;
mod support;
mod users;
