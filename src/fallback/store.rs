//! A store that goes on while another is away.

use std::fmt;
use std::sync::Arc;

use crate::fallback::coordinator::Coordinator;
use crate::fallback::policy::FallbackStats;
use crate::model::{NodeIdentity, OperationId};
use crate::store::session_store::SessionStore;

/// A store that goes on while another, mostly a [`RedisStore`](crate::RedisStore), is away, as its
/// [`FallbackPolicy`](crate::fallback::FallbackPolicy) says. A clone is another handle of the same store.
///
/// A circuit breaker finds out: after some failures in a row it opens, and calls no longer wait for the store. In the
/// background one probe at a time then makes a session of its own and deletes it, until that works. What failures are:
/// no connection, no answer before the deadline, an error of the server. A refusal is an answer.
///
/// ```no_run
/// use cloakroom::{RedisStore, SessionStore};
/// use cloakroom::fallback::{FallbackPolicy, FallbackStore};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// let redis = Arc::new(RedisStore::builder("redis://127.0.0.1/").build().await?);
/// let stale = FallbackPolicy::ServeStale { max_age: Duration::from_secs(60) };
/// let store = FallbackStore::builder(redis).policy(stale).build()?;
/// println!("{:?}", store.stats().breaker);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackStore {
    pub(crate) coordinator: Arc<Coordinator>,
    /// Of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle: they go to the store, for only that knows who is fenced.
    pub(crate) identity: Option<NodeIdentity>,
    /// The store, under this handle's operation id and for its node.
    pub(crate) store: Arc<dyn SessionStore>,
}

impl fmt::Debug for FallbackStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl FallbackStore {
    pub(crate) fn new(coordinator: Coordinator) -> Self {
        let store = coordinator.store.clone();
        Self { coordinator: Arc::new(coordinator), operation_id: None, identity: None, store }
    }

    /// Whether the store is there, and what was done while it was not.
    #[must_use]
    pub fn stats(&self) -> FallbackStats {
        self.coordinator.stats()
    }
}
