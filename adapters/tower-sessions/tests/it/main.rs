//! The adapter under the middleware of tower-sessions and of axum-login, in memory and on a Redis server.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod axum_login;
mod lives;
mod races;
mod stored;
mod support;
mod upstream;
mod users;
