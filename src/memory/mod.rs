//! The engine in memory: the rules of `lua/`, told once more in Rust, a module an operation.
//!
//! It works as the scripts do. A call declares what it touches, which here are shards to lock; what it finds out to
//! need besides makes it begin again with more. Nothing is written before the last refusal.

pub(crate) mod bind;
pub(crate) mod call;
pub(crate) mod clean;
#[cfg(test)]
mod concurrency;
pub(crate) mod count;
pub(crate) mod create;
pub(crate) mod create_many;
pub(crate) mod delete;
pub(crate) mod delete_user;
pub(crate) mod depart;
pub(crate) mod expired;
pub(crate) mod freeze;
#[cfg(test)]
mod frozen;
pub(crate) mod get;
pub(crate) mod heartbeat;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod lease;
pub(crate) mod limit;
pub(crate) mod list;
pub(crate) mod locked;
pub(crate) mod migrations;
pub(crate) mod name;
pub(crate) mod nodes;
pub(crate) mod patch;
pub(crate) mod reap;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod refresh;
pub(crate) mod room;
pub(crate) mod rotate;
pub(crate) mod snapshot;
pub(crate) mod table;
pub(crate) mod thaw;
pub(crate) mod unbind;
pub(crate) mod update;
#[cfg(test)]
pub(crate) mod world;
