//! The operations on sessions in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::memory::call::Call;
use crate::memory::ops::{
    bind, count, create, create_many, delete, delete_user, expired, get, list, patch, reap, refresh, rotate,
    unbind, update,
};
use crate::memory::store::MemoryStore;
use crate::model::{
    Binding, Bound, Created, Expired, Explanation, Health, NewId, NewSession, NodeIdentity, OperationId,
    Page, PageRequest, Patch, Patched, Reaped, Refreshed, Removed, Result, Rotated, Rotation, Rules,
    Selector, Session, SessionId, SessionRef, UserDeleted,
};
use crate::store::event_store::EventStore;
use crate::store::session_store::SessionStore;

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        self.run("create", |call| create::run(call, new)).await
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let count = new.len();
        let made = self.run("create_many", |call| Ok(create_many::run(&call, new))).await;
        made.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
    }

    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.search("get", |call| get::run(&call, session.id())).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        self.run("update", |call| update::run(call, session)).await
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        self.run("patch", |call| patch::run(call, session, patch)).await
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        self.search("refresh", |call| refresh::run(call, session)).await
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.search("refresh", |call| refresh::run_and_get(call, session)).await
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        self.run("rotate", |call| rotate::run(call, session, rotation)).await
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        self.run("bind", |call| bind::run(call, session, &binding)).await
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        let unbind = |call: Call<'_>| Ok(unbind::run(call, session, connection)?.unwrap_or(false));
        self.end_one("unbind", unbind).await
    }

    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>> {
        self.search("delete", |call| delete::run(call, session)).await
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        self.run("list", |call| list::run(call, of, page)).await
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        self.run("count", |call| count::run(&call, of)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        self.search("session_by_connection", |call| get::by_connection(call, connection)).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        self.run("delete_user", |call| delete_user::run(&call, user, keep)).await
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        self.run("expired", |call| expired::run(call, before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        self.run("reap", |call| reap::run(call, batch)).await
    }

    async fn explain(&self, id: &SessionId) -> Result<Explanation> {
        self.run("explain", |call| Ok(get::explain(&call, id))).await
    }

    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn new_id(&self, _user: &str) -> NewId {
        self.call(self.operation_id).new_id()
    }

    async fn health(&self) -> Health {
        Health::of(self.run("health", |_| Ok(())).await)
    }

    async fn close(&self) {
        self.memory.closed.store(true, Ordering::SeqCst);
        self.memory.events.wake();
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), ..self.clone() })
    }

    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore> {
        Arc::new(Self { identity: Some(identity.clone()), ..self.clone() })
    }

    fn event_store(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}
