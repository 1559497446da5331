//! Connections, and what is sent over them.

pub(crate) mod address;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod delivery;
pub(crate) mod dialer;
pub(crate) mod failure;
mod health;
pub(crate) mod lane;
pub(crate) mod listener;
pub(crate) mod node;
mod place;
pub(crate) mod pool;
pub(crate) mod read_batcher;
pub(crate) mod redirect;
pub(crate) mod role;
pub(crate) mod sender;
pub(crate) mod sentinels;
pub(crate) mod server_clock;
pub(crate) mod server_error;
pub(crate) mod servers;
mod siblings;
mod slot_map;
mod survey;
pub(crate) mod target;
pub(crate) mod tracked;
pub(crate) mod tracking;
