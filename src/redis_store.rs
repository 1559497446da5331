//! Sessions in Redis.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bb8_redis::RedisConnectionManager;

use crate::clock::TestClock;
use crate::engine::{self, Engine};
use crate::error::{Error, Obstacle, Result};
use crate::id::{OperationId, SessionId};
use crate::keys::{Keys, Partition};
use crate::operation::Operation;
use crate::ops;
use crate::ops::bind::{Binding, Bound};
use crate::ops::create::{Created, NewSession};
use crate::ops::delete::Deleted;
use crate::ops::delete_user::UserDeleted;
use crate::ops::expired::Expired;
use crate::ops::list::{Page, PageRequest};
use crate::ops::patch::{Patch, Patched};
use crate::ops::reap::Reaped;
use crate::ops::refresh::Refreshed;
use crate::ops::rotate::{Rotated, Rotation};
use crate::ops::unbind::Unbound;
use crate::owner::Owner;
use crate::pool::Pool;
use crate::reaper::{OnRemoved, Reaper};
use crate::rules::{Rules, check_duration};
use crate::session::Session;
use crate::store::SessionStore;
use crate::target::Target;

/// Sessions in Redis. A clone is another handle of the same store.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    /// Of all calls through this handle; one a call if there is none.
    operation_id: Option<OperationId>,
}

struct Shared {
    engine: Engine,
    /// `None` once the store is closed.
    pool: RwLock<Option<Arc<Pool>>>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.shared.engine.keys).finish_non_exhaustive()
    }
}

const NO_URL: &str = "is no redis:// URL, nor, with the feature `tls`, a rediss:// URL";

/// The longest deadline and connect timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Configures a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: Source,
    namespace: String,
    rules: Rules,
    pool_size: u32,
    connect_timeout: Duration,
    deadline: Duration,
    clock: Option<TestClock>,
}

enum Source {
    Url(String),
    Client(Box<redis::Client>),
    Pool(bb8::Pool<RedisConnectionManager>),
}

/// Without the URL and the client, which have the password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Client(_) => "Client",
            Self::Pool(_) => "Pool",
        })
    }
}

impl RedisStore {
    /// Configures a store on the server of a URL: `redis://[user:password@]host[:port][/db]`,
    /// or `rediss://` with the feature `tls`.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Url(url.into()))
    }

    /// Configures a store on a client that the service has.
    #[must_use]
    pub fn builder_with_client(client: redis::Client) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Client(Box::new(client)))
    }

    /// Configures a store on a pool that the service has. Leave its check at check-out on (bb8's default): it is how
    /// that pool finds out that a connection broke.
    #[must_use]
    pub fn builder_with_pool(pool: bb8::Pool<RedisConnectionManager>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Pool(pool))
    }

    /// The rules of this store.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.shared.engine.rules
    }

    /// Begins a call.
    fn operation(&self, name: &'static str) -> Result<Operation<'_>> {
        self.operation_as(name, self.operation_id)
    }

    fn operation_as(&self, name: &'static str, id: Option<OperationId>) -> Result<Operation<'_>> {
        // Poisoned or not, what it holds is whole: nothing is done under the lock but this.
        let pool = self.shared.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let pool = pool.ok_or_else(|| Error::obstacle(Obstacle::Closed, None))?;
        Ok(Operation::new(&self.shared.engine, pool, name, id))
    }
}

impl RedisStoreBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            namespace: "cloakroom".to_owned(),
            rules: Rules::default(),
            pool_size: 4,
            connect_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            clock: None,
        }
    }

    /// What all keys begin with: 1 to 64 bytes, no braces. Defaults to `cloakroom`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long sessions live, how large they may be, how many a user may have. Defaults to [`Rules::default`].
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How many connections there are at most, 1 to 1,000. Each carries any number of calls at once. Defaults to 4.
    #[must_use]
    pub fn pool_size(mut self, size: u32) -> Self {
        self.pool_size = size;
        self
    }

    /// How long making a connection may take, 1 ms to 1 hour. Defaults to 1 second.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an operation may take in all: waiting for a connection, round trips, attempts. 1 ms to
    /// 1 hour. Defaults to 2 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A clock that stands in for the server's, for tests of an application. Defaults to none.
    #[must_use]
    pub fn clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Connects, loads the scripts, and warns (by `tracing`) of a server that may evict keys.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration; [`Error::NotExecuted`] when the server cannot be
    /// reached.
    pub async fn build(self) -> Result<RedisStore> {
        self.rules.validate()?;
        let keys = Keys::new(&self.namespace, Partition::default())?;
        if !(1..=1000).contains(&self.pool_size) {
            return Err(Error::invalid("pool_size", format!("is {}, must be 1 to 1000", self.pool_size)));
        }
        for (field, duration) in [("connect_timeout", self.connect_timeout), ("deadline", self.deadline)] {
            check_duration(field, duration, Duration::from_millis(1), LONGEST_WAIT)?;
        }
        let own = |client| Pool::own(client, self.pool_size, self.connect_timeout);
        let pool = match self.source {
            // redis-rs would name the URL, which has the password.
            Source::Url(url) => own(redis::Client::open(url).map_err(|_| Error::invalid("url", NO_URL))?),
            Source::Client(client) => own(*client),
            Source::Pool(pool) => Pool::Given(pool),
        };
        engine::prepare(&pool, self.deadline).await?;
        let engine = Engine { keys, rules: self.rules, clock: self.clock, deadline: self.deadline };
        Ok(RedisStore {
            shared: Arc::new(Shared { engine, pool: RwLock::new(Some(Arc::new(pool))) }),
            operation_id: None,
        })
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        let operation = self.operation("create")?;
        operation.observe(ops::create::run(&operation, new)).await
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Session>> {
        let operation = self.operation("get")?;
        operation.observe(ops::get::run(&operation, id)).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let operation = self.operation("update")?;
        operation.observe(ops::update::run(&operation, session)).await
    }

    async fn patch(&self, target: &dyn Target, patch: Patch) -> Result<Patched> {
        let operation = self.operation("patch")?;
        operation.observe(ops::patch::run(&operation, target, patch)).await
    }

    async fn refresh(&self, target: &dyn Target) -> Result<Option<Refreshed>> {
        let operation = self.operation("refresh")?;
        operation.observe(ops::refresh::run(&operation, target)).await
    }

    async fn refresh_and_get(&self, target: &dyn Target) -> Result<Option<Session>> {
        let operation = self.operation("refresh")?;
        operation.observe(ops::refresh::run_and_get(&operation, target)).await
    }

    async fn rotate(&self, target: &dyn Target, rotation: Rotation) -> Result<Rotated> {
        let operation = self.operation("rotate")?;
        operation.observe(ops::rotate::run(&operation, target, rotation)).await
    }

    async fn bind(&self, target: &dyn Target, binding: Binding) -> Result<Bound> {
        let operation = self.operation("bind")?;
        operation.observe(ops::bind::run(&operation, target, binding)).await
    }

    async fn unbind(&self, target: &dyn Target, connection: &str) -> Result<Unbound> {
        let operation = self.operation("unbind")?;
        operation.observe(ops::unbind::run(&operation, target, connection)).await
    }

    async fn delete(&self, target: &dyn Target) -> Result<Deleted> {
        let operation = self.operation("delete")?;
        operation.observe(ops::delete::run(&operation, target)).await
    }

    async fn list(&self, owner: &Owner, page: &PageRequest) -> Result<Page> {
        let operation = self.operation("list")?;
        operation.observe(ops::list::run(&operation, owner, page)).await
    }

    async fn count(&self, owner: &Owner) -> Result<u64> {
        let operation = self.operation("count")?;
        operation.observe(ops::count::run(&operation, owner)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        let operation = self.operation("session_by_connection")?;
        operation.observe(ops::get::by_connection(&operation, connection)).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut deletion = ops::delete_user::Deletion::new(user, keep)?;
        let id = self.operation_id.unwrap_or_else(OperationId::random);
        loop {
            let operation = self.operation_as("delete_user", Some(id))?;
            if operation.observe(deletion.batch(&operation)).await? {
                return Ok(deletion.done);
            }
        }
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        let operation = self.operation("expired")?;
        operation.observe(ops::expired::run(&operation, before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        ops::reap::check_batch(batch)?;
        let operation = self.operation("reap")?;
        let body = async {
            let mut corrupt = Vec::new();
            loop {
                // What cannot be removed stays the oldest, and must not keep the rest from being found.
                let page = ops::expired::run(&operation, None, corrupt.len(), batch).await?;
                let more = page.len() == batch;
                let ids = page.into_iter().map(|expired| expired.id).collect();
                let mut reaped = ops::reap::run(&operation, ids).await?;
                let stuck = more && reaped.corrupt.len() == batch;
                corrupt.append(&mut reaped.corrupt);
                if !stuck {
                    return Ok(Reaped { corrupt, more, ..reaped });
                }
            }
        };
        operation.observe(body).await
    }

    async fn close(&self) {
        self.shared.pool.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), ..self.clone() })
    }

    fn spawn_reaper_with(&self, every: Duration, batch: usize, on_removed: OnRemoved) -> Result<Reaper> {
        ops::reap::check_batch(batch)?;
        Reaper::spawn(Arc::new(self.clone()), every, batch, on_removed)
    }
}
