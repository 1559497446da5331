//! What a service does while its store is away.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod coordinator;
pub(crate) mod ledger;
pub(crate) mod local_sessions;
pub(crate) mod policy;
pub(crate) mod reconciler;
pub(crate) mod reconciliation;
pub(crate) mod stale_cache;
pub(crate) mod store;
pub(crate) mod upload;
