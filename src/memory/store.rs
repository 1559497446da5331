//! Sessions in the memory of one process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::memory::call::{Call, Memory};
use crate::memory::locked_shards::LockedShards;
use crate::memory::ops::get;
use crate::memory::record::{Kind, Record};
use crate::model::{Error, NodeIdentity, Obstacle, OperationId, Result, Rules, SessionId, Version};
use crate::store::outcome::Outcome;
use crate::store::{call_span, outcome};

/// Sessions in the memory of one process: the same operations with the same meaning as in Redis, without a server. They
/// end with the process. A clone is another handle of the same store.
///
/// Use it for a service that is one process, and for tests. A [`FallbackStore`](crate::fallback::FallbackStore) keeps
/// its local sessions in one.
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
    pub(crate) memory: Arc<Memory>,
    pub(crate) rules: Arc<Rules>,
    /// The operation id of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    pub(crate) identity: Option<NodeIdentity>,
}

impl MemoryStore {
    pub(crate) fn new(memory: Memory, rules: Rules) -> Self {
        Self { memory: Arc::new(memory), rules: Arc::new(rules), operation_id: None, identity: None }
    }

    /// Returns another handle of the same sessions, with other rules for the calls through it.
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
        self.memory.shards.stored()
    }

    /// Runs a call. It waits only for other calls, and they hold locks only while they work.
    ///
    /// Nothing here waits. Without the budget, a task that does nothing else would keep its thread from other tasks.
    pub(crate) async fn run<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(Call<'_>) -> Result<T>,
    ) -> Result<T> {
        tokio::task::coop::consume_budget().await;
        self.run_now(name, call)
    }

    /// Runs a call that looks for a session.
    pub(crate) async fn search<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(Call<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        tokio::task::coop::consume_budget().await;
        self.run_by(name, self.operation_id, outcome::of_search, call)
    }

    /// Runs a call that ends something, and returns whether there was anything to end.
    pub(crate) async fn end_one(
        &self,
        name: &'static str,
        call: impl FnOnce(Call<'_>) -> Result<bool>,
    ) -> Result<bool> {
        tokio::task::coop::consume_budget().await;
        self.run_by(name, self.operation_id, outcome::of_ending, call)
    }

    /// The same, without yielding to the runtime.
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
        self.run_by(name, operation, outcome::of, call)
    }

    fn run_by<T>(
        &self,
        name: &'static str,
        operation: Option<OperationId>,
        outcome_of: fn(&Result<T>) -> Outcome,
        call: impl FnOnce(Call<'_>) -> Result<T>,
    ) -> Result<T> {
        let run = || {
            if self.memory.closed.load(Ordering::SeqCst) {
                return Err(Error::obstacle(Obstacle::Closed, None));
            }
            call(self.call(operation))
        };
        call_span::observe(name, run, outcome_of)
    }

    pub(crate) fn call(&self, operation: Option<OperationId>) -> Call<'_> {
        Call::new(&self.memory, &self.rules, operation).made_by(self.identity.as_ref())
    }

    /// The clock by which its sessions expire.
    pub(crate) fn now_ms(&self) -> u64 {
        crate::model::now_ms(self.memory.clock.as_ref())
    }

    /// Whether an id leads to a live session.
    pub(crate) fn holds(&self, id: &SessionId) -> bool {
        self.look(id, |_| ()).is_some()
    }

    /// Looks at the live session that an id leads to.
    pub(crate) fn look<T>(&self, id: &SessionId, answer: impl Fn(&Record) -> T) -> Option<T> {
        get::find(&self.call(None), id, |_, record| answer(record)).ok().flatten()
    }

    /// The id that a session has now, logins included; an id that was not rotated leads to itself.
    pub(crate) fn led_to(&self, id: &SessionId) -> SessionId {
        get::led_to(&self.call(None), id)
    }

    /// Whether an id was deleted a moment ago, or left by a login.
    pub(crate) fn has_deleted(&self, id: &SessionId) -> bool {
        let record = self.record(id).filter(|record| !record.is_silent(self.now_ms()));
        record.is_some_and(|record| matches!(record.kind, Kind::Deleted(_)))
    }

    /// Whether a login left an id a moment ago.
    pub(crate) fn was_left(&self, id: &SessionId) -> bool {
        let record = self.record(id).filter(|record| !record.is_silent(self.now_ms()));
        record.is_some_and(|record| matches!(record.kind, Kind::Deleted(Some(_))))
    }

    /// The record under an id.
    pub(crate) fn record(&self, id: &SessionId) -> Option<Record> {
        self.memory.shards.read(id, Record::clone)
    }

    /// Makes sure that a session is at a later version than this one.
    pub(crate) fn raise(&self, id: &SessionId, above: Version) {
        let raise = |record: &mut Record| record.version = record.version.max(above.get() + 1);
        // A session that is no longer live has no version to raise.
        let _ = self.call(None).reaching([id.as_str()]).settle(|call, locked| {
            locked.live(id, call.now)?;
            locked.edit(id, raise);
            Ok(())
        });
    }

    /// The ids of all sessions, live and expired.
    pub(crate) fn ids(&self) -> Vec<SessionId> {
        let shards = &self.memory.shards;
        let locked = LockedShards::lock(shards, shards.whole(), self.now_ms());
        locked.shards().flat_map(|shard| &shard.expiry).map(|(_, id)| id.clone()).collect()
    }

    /// Removes a session without a trace, if it meets the condition.
    pub(crate) fn forget(&self, id: &SessionId, is_so: impl Fn(&Record) -> bool) -> bool {
        self.call(None).forget_if(id, is_so).is_some()
    }
}
