//! The tools of the tests: a real server, a fresh namespace, a view of the stored data.

pub(crate) mod acknowledged;
pub(crate) mod bus;
pub(crate) mod calls;
pub(crate) mod cluster;
pub(crate) mod context;
pub(crate) mod delayed;
pub(crate) mod expect;
#[cfg(target_os = "linux")]
pub(crate) mod faketime;
pub(crate) mod hooked;
pub(crate) mod invariants;
pub(crate) mod leases;
pub(crate) mod manager;
pub(crate) mod narrow;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod record;
pub(crate) mod replicated;
pub(crate) mod repository;
pub(crate) mod sentinels;
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod spread;
pub(crate) mod stopped_time;
pub(crate) mod traced;

pub(crate) use context::Context;
