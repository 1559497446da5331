//! Sessions in the memory of one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::memory::call::{Call, Memory};
use crate::memory::ops::{
    bind, clean, count, create, create_many, delete, delete_user, depart, expired, freeze, get, heartbeat,
    import, list, migrations, nodes, patch, reap, recover, refresh, rotate, thaw, unbind, update,
};
use crate::memory::record::{Kind, Record};
use crate::memory::snapshot;
use crate::memory::snapshot::Stored;
use crate::model::{
    Binding, Bound, Claim, Claimed, Cleaned, Created, Deleted, Departed, Direction, Error, Expired, Export,
    Freezing, Frozen, Heartbeat, Import, Imported, LeaseStatus, Leftover, Migration, Migrations, NewSession,
    Node, NodeFilter, NodeIdentity, Obstacle, OperationId, Page, PageRequest, Patch, Patched, Reaped,
    Refreshed, Result, Rotated, Rotation, Rules, Selector, Session, SessionId, SessionRef, TaskId, Thawed,
    Unbound, UserDeleted, Version,
};
use crate::store::call_span as span;
use crate::store::session_store::SessionStore;
use crate::stored::keys::{Keys, Partition};

/// Sessions in the memory of one process: the same operations with the same meaning as in Redis, without a server. They
/// end with the process. A clone is another handle of the same store.
///
/// For a service that is one process, for tests, and as what a [`FallbackStore`](crate::FallbackStore) falls back to.
///
/// ```
/// use cloakroom::{MemoryStore, NewSession, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// let store = MemoryStore::builder().max_sessions(10_000).build()?;
/// let session = store.create(NewSession::new().user("ann")).await?.session;
/// assert_eq!(store.get(session.id()).await?, Some(session));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    /// Of all calls through this handle.
    operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    holder: Option<NodeIdentity>,
}

#[derive(Debug)]
struct Shared {
    memory: Memory,
    closed: AtomicBool,
}

impl MemoryStore {
    pub(crate) fn new(memory: Memory, rules: Rules) -> Self {
        let shared = Arc::new(Shared { memory, closed: AtomicBool::new(false) });
        Self { shared, rules: Arc::new(rules), operation_id: None, holder: None }
    }

    /// The rules of this handle.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Another handle of the same sessions, with other rules for what is done through it.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the rule and its limits.
    pub fn with_rules(&self, rules: Rules) -> Result<Self> {
        rules.validate()?;
        Ok(Self { rules: Arc::new(rules), ..self.clone() })
    }

    /// How many sessions are stored, live or expired and not reaped.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.shared.memory.shards.stored()
    }

    /// All that is stored, at one instant, under the names and in the form in which Redis has it for a namespace: to look
    /// at in a test. It holds the whole store while it copies.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a namespace that Redis would not take.
    pub fn snapshot(&self, namespace: &str) -> Result<BTreeMap<String, Stored>> {
        let keys = Keys::new(namespace, Partition::default())?;
        Ok(snapshot::take(&self.shared.memory, &keys))
    }

    /// Runs a call. It waits for nothing but other calls, which hold no lock for longer than they work.
    ///
    /// Nothing here waits, so a task that does nothing else would keep its thread from the others but for the budget.
    async fn run<T>(&self, name: &'static str, call: impl FnOnce(Call<'_>) -> Result<T>) -> Result<T> {
        tokio::task::coop::consume_budget().await;
        self.run_now(name, call)
    }

    /// The same without a word to the runtime.
    pub(crate) fn run_now<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(Call<'_>) -> Result<T>,
    ) -> Result<T> {
        self.run_as(name, self.operation_id, call)
    }

    pub(crate) fn run_as<T>(
        &self,
        name: &'static str,
        operation: Option<OperationId>,
        call: impl FnOnce(Call<'_>) -> Result<T>,
    ) -> Result<T> {
        span::observe(name, || {
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Error::obstacle(Obstacle::Closed, None));
            }
            call(self.call(operation))
        })
    }

    fn call(&self, operation: Option<OperationId>) -> Call<'_> {
        Call::new(&self.shared.memory, &self.rules, operation).held_by(self.holder.as_ref())
    }

    /// The id of a session that was given none.
    pub(crate) fn new_id(&self, operation: Option<OperationId>) -> SessionId {
        self.call(operation).new_id()
    }

    /// The time by which its sessions live.
    pub(crate) fn now_ms(&self) -> u64 {
        crate::model::now_ms(self.shared.memory.clock.as_ref())
    }

    /// Whether an id leads to a live session.
    pub(crate) fn holds(&self, id: &SessionId) -> bool {
        self.look(id, |_| ()).is_some()
    }

    /// What the live session says that an id leads to.
    pub(crate) fn look<T>(&self, id: &SessionId, answer: impl Fn(&Record) -> T) -> Option<T> {
        get::find(&self.call(None), id, |_, record| answer(record)).ok().flatten()
    }

    /// The id that a session has now, logins included; an id that was not rotated leads to itself.
    pub(crate) fn led_to(&self, id: &SessionId) -> SessionId {
        get::led_to(&self.call(None), id)
    }

    /// Whether an id was deleted a moment ago, or left by a login.
    pub(crate) fn has_deleted(&self, id: &SessionId) -> bool {
        let record = self.record(id).filter(|record| !record.has_lapsed(self.now_ms()));
        record.is_some_and(|record| matches!(record.kind, Kind::Deleted(_)))
    }

    /// What is under an id.
    pub(crate) fn record(&self, id: &SessionId) -> Option<Record> {
        self.shared.memory.shards.read(id, Record::clone)
    }

    /// Sees to it that a session is at a later version than another.
    pub(crate) fn raise(&self, id: &SessionId, above: Version) {
        let raise = |record: &mut Record| record.version = record.version.max(above.get() + 1);
        // One that is no longer live is at no version.
        let _ = self.call(None).reaching([id.as_str()]).settle(|call, locked| {
            locked.live(id, call.now)?;
            locked.edit(id, raise);
            Ok(())
        });
    }

    /// The ids of all sessions, live and expired.
    pub(crate) fn ids(&self) -> Vec<SessionId> {
        let shards = &self.shared.memory.shards;
        let locked = shards.lock(shards.whole());
        locked.shards().flat_map(|shard| &shard.expiry).map(|(_, id)| id.clone()).collect()
    }

    /// Lets go of a session as if it had never been here, if it is as asked for.
    pub(crate) fn forget(&self, id: &SessionId, is_so: impl Fn(&Record) -> bool) -> bool {
        reap::remove_if(self.call(None), id, |record, _| is_so(record)).is_some()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        self.run("create", |call| create::run(call, new)).await
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let count = new.len();
        let made = self.run("create_many", |call| Ok(create_many::run(&call, new))).await;
        made.unwrap_or_else(|error| {
            error.of_many(count, |_| OperationId::random()).into_iter().map(Err).collect()
        })
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Session>> {
        self.run("get", |call| get::run(&call, id)).await
    }

    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.run("export", |call| import::export(&call, id)).await
    }

    async fn import(&self, import: Import) -> Result<Imported> {
        self.run("import", |call| import::run(call, &import)).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        self.run("update", |call| update::run(call, session)).await
    }

    async fn patch(&self, target: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        self.run("patch", |call| patch::run(call, target, &patch)).await
    }

    async fn refresh(&self, target: &dyn SessionRef) -> Result<Option<Refreshed>> {
        self.run("refresh", |call| refresh::run(call, target)).await
    }

    async fn refresh_and_get(&self, target: &dyn SessionRef) -> Result<Option<Session>> {
        self.run("refresh", |call| refresh::run_and_get(call, target)).await
    }

    async fn rotate(&self, target: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        self.run("rotate", |call| rotate::run(call, target, rotation)).await
    }

    async fn bind(&self, target: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        self.run("bind", |call| bind::run(call, target, &binding)).await
    }

    async fn unbind(&self, target: &dyn SessionRef, connection: &str) -> Result<Unbound> {
        self.run("unbind", |call| unbind::run(call, target, connection)).await
    }

    async fn delete(&self, target: &dyn SessionRef) -> Result<Deleted> {
        self.run("delete", |call| delete::run(call, target)).await
    }

    async fn list(&self, owner: &Selector, page: &PageRequest) -> Result<Page> {
        self.run("list", |call| list::run(call, owner, page)).await
    }

    async fn count(&self, owner: &Selector) -> Result<u64> {
        self.run("count", |call| count::run(&call, owner)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        self.run("session_by_connection", |call| get::by_connection(call, connection)).await
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

    async fn heartbeat(&self, holder: &NodeIdentity, beat: Heartbeat) -> Result<LeaseStatus> {
        self.run("heartbeat", |call| heartbeat::run(call, holder, &beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.run("nodes", |call| nodes::counted(&call)).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        let nodes = self.run("nodes", |call| nodes::run(&call, NodeFilter::Lapsed)).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        self.run("recover", |call| recover::run(call, &claim)).await
    }

    async fn freeze(&self, target: &dyn SessionRef, freezing: Freezing) -> Result<Option<Frozen>> {
        self.run("freeze", |call| freeze::run(call, target, &freezing)).await
    }

    async fn depart(&self, target: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<Departed> {
        self.run("depart", |call| depart::run(call, target, task, until_ms)).await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<Thawed> {
        self.run("thaw", |call| thaw::run(call, id, task, direction)).await
    }

    async fn clean(&self, target: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<Cleaned> {
        self.run("clean", |call| clean::run(call, target, task, what)).await
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        self.run("migrations", |call| migrations::run(call, skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.run("migration", |call| Ok(migrations::one(&call, id))).await
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
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
