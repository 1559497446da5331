//! A handle of the sessions in Redis, and how a call of it begins.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use crate::model::{
    Error, NodeIdentity, Obstacle, OperationId, Result, Rules, SessionId, ValidatedSession, require_runtime,
};
use crate::redis::call::Call;
use crate::redis::config::StoreConfig;
use crate::redis::near_cache::NearCache;
use crate::redis::tidy::Tidying;
use crate::redis::transport::lane::Lanes;
use crate::redis::transport::sender::Sender;
use crate::redis::transport::servers::Servers;
use crate::store::outcome::Outcome;
use crate::store::{call_span, meter, outcome};
use crate::stored::partitions::{Partition, Partitions};

/// Sessions in Redis. A clone is another handle of the same store.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) backend: Arc<Backend>,
    /// The operation id of all calls through this handle. If there is none, each call makes its own.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    pub(crate) identity: Option<NodeIdentity>,
    /// The sender of all calls through this handle, if it differs from the store's.
    pub(crate) alone: Option<Arc<Sender>>,
}

/// The state that all handles of a store share.
pub(crate) struct Backend {
    config: Arc<StoreConfig>,
    /// `None` once the store is closed.
    sender: RwLock<Option<Arc<Sender>>>,
    pub(crate) lanes: Lanes,
    tidying: Tidying,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("partitions", self.partitions()).finish_non_exhaustive()
    }
}

impl RedisStore {
    pub(crate) fn new(servers: Servers, config: StoreConfig) -> Self {
        let sender = RwLock::new(Some(Arc::new(Sender::new(servers))));
        let (config, lanes, tidying) = (Arc::new(config), Lanes::default(), Tidying::default());
        Self {
            backend: Arc::new(Backend { config, sender, lanes, tidying }),
            operation_id: None,
            identity: None,
            alone: None,
        }
    }

    /// Waits until the server is prepared, or until the deadline makes that impossible.
    pub(crate) async fn start(&self) -> Result<()> {
        let config = self.config();
        let until = Instant::now() + config.deadline;
        let started = config.startup.wait(&self.sender()?, &config.partitions, until).await;
        started.map_err(|error| error.at(&config.server))
    }

    /// The sender, until the store is closed.
    pub(crate) fn sender(&self) -> Result<Arc<Sender>> {
        // The value is whole even if the lock is poisoned: no code that panics runs under it.
        let sender = self.backend.sender.read().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.ok_or_else(|| Error::obstacle(Obstacle::Closed, None))?;
        Ok(self.alone.clone().unwrap_or(sender))
    }

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.backend.config
    }

    /// The number of partitions over which the namespace spreads its sessions.
    #[must_use]
    pub fn partition_count(&self) -> u16 {
        self.partitions().count()
    }

    pub(crate) fn partitions(&self) -> &Partitions {
        &self.config().partitions
    }

    pub(crate) fn tidying(&self) -> &Tidying {
        &self.backend.tidying
    }

    /// Records an answer from memory as a call that asks no server.
    pub(crate) fn answer<T>(
        &self,
        name: &'static str,
        id: &SessionId,
        answer: impl FnOnce(&NearCache) -> Option<T>,
    ) -> Option<T> {
        let answer = answer(self.config().near_cache.as_deref()?);
        let result = if answer.is_some() { "hit" } else { "miss" };
        meter::LOOKUPS.add(1, &[(meter::RESULT, result)]);
        if answer.is_some() {
            call_span::answered(name, id);
        }
        answer
    }

    /// Whether a call that makes this session needs a script of its own: `create_many` knows neither leases nor limits, and
    /// one lifetime for all.
    pub(crate) fn creates_alone(&self, rules: &Rules, session: &ValidatedSession) -> bool {
        self.identity.is_some()
            || (rules.limit.is_some() && !session.index_fields.user.is_empty())
            || session.lifetime != rules.max_lifetime
    }

    /// Makes a call.
    pub(crate) async fn call<T, F>(&self, name: &'static str, body: impl FnOnce(Arc<Call>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.call_as(name, self.operation_id, body).await
    }

    /// Makes a call that looks for a session.
    pub(crate) async fn search<T, F>(
        &self,
        name: &'static str,
        body: impl FnOnce(Arc<Call>) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        self.observe_by(self.begin(name, self.operation_id)?, body, outcome::of_search).await
    }

    /// Makes a call that ends something, and returns whether there was anything to end.
    pub(crate) async fn end_one<F>(
        &self,
        name: &'static str,
        body: impl FnOnce(Arc<Call>) -> F,
    ) -> Result<bool>
    where
        F: Future<Output = Result<bool>>,
    {
        self.observe_by(self.begin(name, self.operation_id)?, body, outcome::of_ending).await
    }

    /// Makes a call under an operation id.
    pub(crate) async fn call_as<T, F>(
        &self,
        name: &'static str,
        id: Option<OperationId>,
        body: impl FnOnce(Arc<Call>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.observe(self.begin(name, id)?, body).await
    }

    /// Makes a call in a partition.
    pub(crate) async fn call_in<T, F>(
        &self,
        partition: Partition,
        name: &'static str,
        id: Option<OperationId>,
        body: impl FnOnce(Arc<Call>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let call = self.begin(name, id)?;
        call.enter(partition);
        self.observe(call, body).await
    }

    /// A call that is not made yet.
    pub(crate) fn begin(&self, name: &'static str, id: Option<OperationId>) -> Result<Call> {
        require_runtime()?;
        let sender = self.sender()?;
        let config = self.backend.config.clone();
        Ok(Call::new(config, sender, name, id, self.identity.clone()))
    }

    pub(crate) async fn observe<T, F>(&self, call: Call, body: impl FnOnce(Arc<Call>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.observe_by(call, body, outcome::of).await
    }

    pub(crate) async fn observe_by<T, F>(
        &self,
        call: Call,
        body: impl FnOnce(Arc<Call>) -> F,
        outcome_of: fn(&Result<T>) -> Outcome,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let call = Arc::new(call);
        // By reference: a future that is passed by value takes its space twice, and is copied each time.
        let body = std::pin::pin!(body(call.clone()));
        call.observe(body, outcome_of).await
    }

    /// Closes all connections.
    pub(crate) fn end_all(&self) {
        self.config().near_cache.iter().for_each(|near_cache| near_cache.close());
        self.backend.sender.write().unwrap_or_else(PoisonError::into_inner).take();
        self.backend.lanes.close();
    }
}
