//! A store that keeps working while another is away.

pub(crate) mod base;
pub(crate) mod breaker;
pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod coordinator;
pub(crate) mod event_store;
pub(crate) mod ledger;
pub(crate) mod local_sessions;
pub(crate) mod maybe_missing;
pub(crate) mod migration_store;
pub(crate) mod node_registry;
pub(crate) mod place;
pub(crate) mod policy;
pub(crate) mod reconciler;
pub(crate) mod reconciliation;
pub(crate) mod session_store;
pub(crate) mod stale_cache;
pub(crate) mod store;
pub(crate) mod upload;

pub use crate::model::Origin;
pub use breaker::BreakerState;
pub use builder::FallbackStoreBuilder;
pub use policy::{FallbackPolicy, FallbackStats};
pub use reconciliation::Reconciled;
pub use store::FallbackStore;
