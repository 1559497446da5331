//! The store in memory: the rules of `lua/`, written once more in Rust.
//!
//! It works as the scripts do. A call names the shards that it touches and locks them. If it finds that it needs more,
//! it starts over with more. It writes nothing before the last refusal.

pub(crate) mod builder;
pub(crate) mod call;
pub(crate) mod capacity;
pub(crate) mod event_store;
pub(crate) mod events;
pub(crate) mod fence;
pub(crate) mod halt;
pub(crate) mod index;
pub(crate) mod lease;
pub(crate) mod limit;
pub(crate) mod locked_shards;
pub(crate) mod migration_store;
pub(crate) mod node_registry;
pub(crate) mod noted_changes;
pub(crate) mod ops;
pub(crate) mod reach;
pub(crate) mod record;
pub(crate) mod removal;
// Not `all(test, shuttle)`: clippy takes only `cfg(test)` alone for tests.
#[cfg(test)]
#[cfg(shuttle)]
mod schedules;
pub(crate) mod session_store;
pub(crate) mod shard;
pub(crate) mod shards;
pub(crate) mod shared_name;
#[cfg(any(test, feature = "test-util"))]
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod telling;
