//! A store that keeps working while another is away.

use std::fmt;
use std::sync::Arc;

use crate::fallback::coordinator::Coordinator;
use crate::fallback::policy::FallbackStats;
use crate::model::{NodeIdentity, OperationId};
use crate::store::session_store::SessionStore;

/// A store that keeps working while another, usually a [`RedisStore`](crate::RedisStore), is away. Its
/// [`FallbackPolicy`](crate::fallback::FallbackPolicy) says how. A clone is another handle of the same
/// store.
///
/// A circuit breaker detects the outage: after some failures in a row it opens, and calls no longer wait for the
/// store. Then one background probe at a time creates a session and deletes it, until that works. Failures are: no
/// connection, no answer before the deadline, an error of the server. A refusal is an answer.
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
    /// The operation id of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle. They go to the store, because only the store knows which
    /// node is fenced.
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

    /// Returns the state of the breaker, and what this store did during outages.
    #[must_use]
    pub fn stats(&self) -> FallbackStats {
        self.coordinator.stats()
    }
}
