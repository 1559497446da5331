//! All tests against a real server, in one binary: a file an operation, and files for what spans them.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod support;

mod bind;
mod count;
mod create;
mod delete;
mod delete_user;
mod expired;
mod get;
mod list;
mod patch;
mod reap;
mod refresh;
mod rotate;
mod unbind;
mod update;

mod bad_input;
mod connect;
mod contract;
mod cost;
mod faults;
mod modify;
mod races;
mod random;
mod reaper;
mod retries;
