//! Sessions in Redis.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::model::{
    BATCH, Binding, Bound, Claim, Claimed, Cleaned, Created, Deleted, Departed, Direction, Error, Expired,
    Export, Freezing, Frozen, Heartbeat, Import, Imported, LeaseStatus, Leftover, Migration, Migrations,
    NewSession, Node, NodeFilter, NodeIdentity, Obstacle, OperationId, Page, PageRequest, Patch, Patched,
    Reaped, Refreshed, Result, Rotated, Rotation, Rules, Selector, Session, SessionId, SessionRef, TaskId,
    Thawed, Unbound, UserDeleted, check_count,
};
use crate::redis::call::Operation;
use crate::redis::config::StoreConfig;
use crate::redis::create_batcher::Waiting;
use crate::redis::refresh_cache::RefreshCache;
use crate::redis::transport::gather::Gather;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::ReadBatcher;
use crate::redis::{commands, lookup};
use crate::store::session_store::SessionStore;

/// Sessions in Redis. A clone is another handle of the same store.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    /// Of all calls through this handle; one a call if there is none.
    operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    holder: Option<NodeIdentity>,
}

struct Shared {
    engine: StoreConfig,
    /// `None` once the store is closed.
    reads: RwLock<Option<Arc<ReadBatcher>>>,
    creates: Arc<Gather<Waiting>>,
    /// `None` where the server is always asked.
    refresh_cache: Option<RefreshCache>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.shared.engine.keys).finish_non_exhaustive()
    }
}

impl RedisStore {
    pub(crate) fn new(pool: Pool, engine: StoreConfig, refresh_cache: Option<RefreshCache>) -> Self {
        let reads = RwLock::new(Some(Arc::new(ReadBatcher::new(pool))));
        let shared = Arc::new(Shared { engine, reads, creates: Arc::default(), refresh_cache });
        Self { shared, operation_id: None, holder: None }
    }

    pub(crate) fn refresh_cache(&self) -> Option<&RefreshCache> {
        self.shared.refresh_cache.as_ref()
    }

    /// The rules of this store.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.shared.engine.rules
    }

    /// That of all calls through this handle, if it has one.
    pub(crate) fn given_operation_id(&self) -> Option<OperationId> {
        self.operation_id
    }

    pub(crate) fn creates(&self) -> &Arc<Gather<Waiting>> {
        &self.shared.creates
    }

    /// Whether a node makes all calls through this handle.
    pub(crate) fn is_fenced(&self) -> bool {
        self.holder.is_some()
    }

    /// Begins a call.
    pub(crate) fn operation(&self, name: &'static str) -> Result<Operation<'_>> {
        self.operation_as(name, self.operation_id)
    }

    pub(crate) fn operation_as(&self, name: &'static str, id: Option<OperationId>) -> Result<Operation<'_>> {
        // Poisoned or not, what it holds is whole: nothing is done under the lock but this.
        let reads = self.shared.reads.read().unwrap_or_else(PoisonError::into_inner).clone();
        let reads = reads.ok_or_else(|| Error::obstacle(Obstacle::Closed, None))?;
        Ok(Operation::new(&self.shared.engine, reads, name, id, self.holder.clone()))
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        let operation = self.operation("create")?;
        let began = self.refresh_cache().map(RefreshCache::begin);
        let result = operation.observe(self.make(&operation, new)).await;
        self.made(began, &result);
        result
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let began = self.refresh_cache().map(RefreshCache::begin);
        let results = self.make_many(new).await;
        results.iter().for_each(|result| self.made(began, result));
        results
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Session>> {
        let operation = self.operation("get")?;
        let result = operation.observe(commands::get::run(&operation, id)).await;
        if let Some(refresh_cache) = self.refresh_cache() {
            if matches!(&result, Ok(found) if found.as_ref().is_none_or(|session| session.id() != id)) {
                refresh_cache.forget(id);
            }
            refresh_cache.doubt(&result);
        }
        result
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let operation = self.operation("update")?;
        let id = session.id().clone();
        let call = operation.observe(commands::update::run(&operation, session));
        let result = self.changing(&id, call, |()| Vec::new()).await;
        self.forget(session.id());
        result
    }

    async fn patch(&self, target: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        let operation = self.operation("patch")?;
        let call = operation.observe(commands::patch::run(&operation, target, patch));
        self.changing(target.id(), call, |patched| vec![patched.id.clone()]).await
    }

    async fn refresh(&self, target: &dyn SessionRef) -> Result<Option<Refreshed>> {
        let operation = self.operation("refresh")?;
        if let Some(refreshed) =
            self.refresh_cache().and_then(|refresh_cache| refresh_cache.answer(target.id()))
        {
            operation.about(target.id());
            return operation.observe(async { Ok(Some(refreshed)) }).await;
        }
        let call = operation.observe(commands::refresh::run(&operation, target));
        self.using(target.id(), call, |refreshed| refreshed).await
    }

    async fn refresh_and_get(&self, target: &dyn SessionRef) -> Result<Option<Session>> {
        let operation = self.operation("refresh")?;
        let call = operation.observe(commands::refresh::run_and_get(&operation, target));
        let found = self.using(target.id(), call, |(_, refreshed)| refreshed).await?;
        Ok(found.map(|(session, _)| session))
    }

    async fn rotate(&self, target: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        let operation = self.operation("rotate")?;
        let call = operation.observe(commands::rotate::run(&operation, target, rotation));
        let named = |rotated: &Rotated| {
            let evicted = rotated.evicted.iter().map(|removed| removed.id.clone());
            evicted.chain([rotated.session.id().clone()]).collect()
        };
        self.changing(target.id(), call, named).await
    }

    async fn bind(&self, target: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        let operation = self.operation("bind")?;
        let call = operation.observe(commands::bind::run(&operation, target, binding));
        let named = |bound: &Bound| {
            [Some(&bound.id), bound.taken_from.as_ref()].into_iter().flatten().cloned().collect()
        };
        self.changing(target.id(), call, named).await
    }

    async fn unbind(&self, target: &dyn SessionRef, connection: &str) -> Result<Unbound> {
        let operation = self.operation("unbind")?;
        let call = operation.observe(commands::unbind::run(&operation, target, connection));
        let (_, unbound) = self.changing(target.id(), call, |(id, _)| vec![id.clone()]).await?;
        Ok(unbound)
    }

    async fn delete(&self, target: &dyn SessionRef) -> Result<Deleted> {
        let operation = self.operation("delete")?;
        let call = operation.observe(commands::delete::run(&operation, target));
        let (_, deleted) = self.changing(target.id(), call, |(id, _)| vec![id.clone()]).await?;
        Ok(deleted)
    }

    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        let operation = self.operation("export")?;
        operation.observe(lookup::export(&operation, id)).await
    }

    async fn import(&self, import: Import) -> Result<Imported> {
        let operation = self.operation("import")?;
        let id = import.export.session.id().clone();
        let call = operation.observe(commands::import::run(&operation, import));
        self.changing(&id, call, |_| Vec::new()).await
    }

    async fn list(&self, owner: &Selector, page: &PageRequest) -> Result<Page> {
        let operation = self.operation("list")?;
        operation.observe(commands::list::run(&operation, owner, page)).await
    }

    async fn count(&self, owner: &Selector) -> Result<u64> {
        let operation = self.operation("count")?;
        operation.observe(commands::count::run(&operation, owner)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        let operation = self.operation("session_by_connection")?;
        operation.observe(commands::get::by_connection(&operation, connection)).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut deletion = commands::delete_user::Deletion::new(user, keep)?;
        let id = self.operation_id.unwrap_or_else(OperationId::random);
        loop {
            let operation = self.operation_as("delete_user", Some(id))?;
            let whole = operation.observe(deletion.batch(&operation)).await;
            if let Some(refresh_cache) = self.refresh_cache() {
                deletion.done.removed.iter().for_each(|removed| refresh_cache.forget(&removed.id));
                refresh_cache.doubt(&whole);
            }
            if whole? {
                return Ok(deletion.done);
            }
        }
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        let operation = self.operation("expired")?;
        operation.observe(commands::expired::run(&operation, before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        check_count("batch", batch, BATCH)?;
        let operation = self.operation("reap")?;
        let body = async {
            let mut corrupt = Vec::new();
            loop {
                // What cannot be removed stays the oldest, and must not keep the rest from being found.
                let page = commands::expired::run(&operation, None, corrupt.len(), batch).await?;
                let more = page.len() == batch;
                let ids = page.into_iter().map(|expired| expired.id).collect();
                let mut reaped = commands::reap::run(&operation, ids).await?;
                let stuck = more && reaped.corrupt.len() == batch;
                corrupt.append(&mut reaped.corrupt);
                if !stuck {
                    return Ok(Reaped { corrupt, more, ..reaped });
                }
            }
        };
        let reaped: Result<Reaped> = operation.observe(body).await;
        reaped.iter().flat_map(|reaped| &reaped.sessions).for_each(|session| self.forget(session.id()));
        reaped
    }

    async fn heartbeat(&self, holder: &NodeIdentity, beat: Heartbeat) -> Result<LeaseStatus> {
        let operation = self.operation("heartbeat")?;
        operation.observe(commands::heartbeat::run(&operation, holder, &beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let operation = self.operation("nodes")?;
        let body = async {
            let mut nodes = commands::nodes::run(&operation, NodeFilter::All).await?;
            for node in &mut nodes {
                node.sessions = commands::count::run(&operation, &Selector::node(&node.name)).await?;
            }
            Ok(nodes)
        };
        operation.observe(body).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        let operation = self.operation("nodes")?;
        let nodes = operation.observe(commands::nodes::run(&operation, NodeFilter::Lapsed)).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let operation = self.operation("recover")?;
        operation.observe(commands::recover::run(&operation, &claim)).await
    }

    async fn freeze(&self, target: &dyn SessionRef, freezing: Freezing) -> Result<Option<Frozen>> {
        let operation = self.operation("freeze")?;
        operation.observe(commands::freeze::run(&operation, target, &freezing)).await
    }

    async fn depart(&self, target: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<Departed> {
        let operation = self.operation("depart")?;
        operation.observe(commands::depart::run(&operation, target, task, until_ms)).await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<Thawed> {
        let operation = self.operation("thaw")?;
        operation.observe(commands::thaw::run(&operation, id, task, direction)).await
    }

    async fn clean(&self, target: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<Cleaned> {
        let operation = self.operation("clean")?;
        operation.observe(commands::clean::run(&operation, target, task, what)).await
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        let operation = self.operation("migrations")?;
        operation.observe(commands::migrations::run(&operation, skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        let operation = self.operation("migration")?;
        operation.observe(commands::migrations::one(&operation, id)).await
    }

    async fn close(&self) {
        self.shared.reads.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), ..self.clone() })
    }

    fn as_node(&self, holder: &NodeIdentity) -> Arc<dyn SessionStore> {
        Arc::new(Self { holder: Some(holder.clone()), ..self.clone() })
    }

    fn handle(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.clone())
    }
}
