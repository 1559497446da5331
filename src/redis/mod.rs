//! The store in Redis. Only this folder names the redis and bb8 crates.

pub(crate) mod builder;
pub(crate) mod bulk;
pub(crate) mod bulk_create;
pub(crate) mod call;
mod cluster_url;
pub(crate) mod commands;
pub(crate) mod config;
pub(crate) mod contract;
pub(crate) mod credentials;
pub(crate) mod durability;
mod everywhere;
pub(crate) mod history;
mod hosts_url;
mod index_page;
pub(crate) mod key_plan;
mod leases;
mod login;
pub(crate) mod lookup;
pub(crate) mod migration_store;
pub(crate) mod near_cache;
pub(crate) mod node_registry;
pub(crate) mod permission;
mod probe;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod script_error;
mod sentinel_url;
mod server_url;
mod server_version;
pub(crate) mod session_store;
pub(crate) mod startup;
pub(crate) mod store;
mod stored_id;
pub(crate) mod tidy;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod transport;
