//! A store that empties into another while both serve.

mod expired;
mod limit;
mod login;
mod migration_store;
mod node_registry;
mod session_store;
mod store;

pub use store::DrainingStore;
