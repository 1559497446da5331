//! All tests against a real server, in one binary: a file an operation, and files for what spans them.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod support;

mod bind;
mod clean;
mod count;
mod create;
mod create_many;
mod delete;
mod delete_user;
mod depart;
mod expired;
mod freeze;
mod get;
mod heartbeat;
mod import;
mod list;
mod migrations;
mod nodes;
mod patch;
mod reap;
mod recover;
mod refresh;
mod rotate;
mod thaw;
mod tokens;
mod unbind;
mod update;

mod acl;
mod architecture;
mod bad_input;
mod callers;
mod clocks;
mod cluster;
mod conformance;
mod connect;
mod contract;
mod cost;
mod credentials;
mod deadlines;
mod draining;
mod durability;
mod errors;
mod fallback;
mod faults;
mod fencing;
mod health;
mod interop;
mod large;
mod lease;
mod linearizable;
mod many;
mod memory;
mod migration;
mod model;
mod modify;
mod near_cache;
mod operating;
mod partitions;
mod public_face;
mod races;
mod random;
mod reads;
mod reaper;
mod recoverer;
mod retries;
mod role;
mod runtimes;
mod sentinel;
mod silent_peer;
mod soak;
mod start;
mod testing;
