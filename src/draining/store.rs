//! A store that empties into another.

use std::sync::Arc;

use crate::model::{Error, Fate, NodeIdentity, OperationId, Refusal, Result, SessionId};
use crate::store::Store;
use crate::store::join::PendingCall;
use crate::store::session_store::SessionStore;

/// Through how many new ids a logout follows a session.
const HOPS: u32 = 4;

/// Two stores as one: new sessions and logins go to the new one, and the old one empties as its sessions end. For a
/// namespace that grows into another, of more partitions, say. A clone is another handle of the same store.
///
/// Calls by id ask the new store and then the old; `list`, `count` and limits cover both, and what the other promises say of
/// one script holds in each of them. docs/partitions.md tells how to deploy it, and what is different from one store.
///
/// ```
/// use std::sync::Arc;
///
/// use cloakroom::draining::DrainingStore;
/// use cloakroom::{MemoryStore, NewSession, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// let old = Arc::new(MemoryStore::builder().build()?);
/// let early = old.create(NewSession::new()).await?.session;
///
/// let store = DrainingStore::new(old.clone(), Arc::new(MemoryStore::builder().build()?));
/// assert!(store.get(early.id()).await?.is_some());
/// store.create(NewSession::new()).await?;
/// assert_eq!(old.stored(), 1);
///
/// store.delete(&early).await?;
/// assert!(store.is_drained().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrainingStore {
    pub(crate) old: Arc<dyn Store>,
    pub(crate) new: Arc<dyn Store>,
    /// The old store, under this handle's operation id and for its node.
    pub(crate) old_calls: Arc<dyn SessionStore>,
    /// The new one.
    pub(crate) new_calls: Arc<dyn SessionStore>,
    /// Of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    pub(crate) identity: Option<NodeIdentity>,
}

impl DrainingStore {
    /// Empties `old` into `new`, which are two stores and not two handles of one. The rules are those of the new one.
    #[must_use]
    pub fn new(old: Arc<dyn Store>, new: Arc<dyn Store>) -> Self {
        let (old_calls, new_calls) = (old.clone(), new.clone());
        Self { old, new, old_calls, new_calls, operation_id: None, identity: None }
    }

    /// Whether the old store has no session any more, live or expired and not reaped: then the new one is enough. A
    /// [`Reaper`](crate::background::Reaper) of this store reaps both.
    ///
    /// # Errors
    /// Only those of all operations.
    pub async fn is_drained(&self) -> Result<bool> {
        Ok(self.old.stored().await? == 0)
    }

    /// The same handle, under an operation id.
    pub(crate) fn under(&self, id: OperationId) -> Self {
        Self {
            old_calls: self.old_calls.with_operation_id(id),
            new_calls: self.new_calls.with_operation_id(id),
            operation_id: Some(id),
            ..self.clone()
        }
    }

    /// Asks the new store, and if it has no such session the old one. What went over by a migration meanwhile is in the new
    /// one by then.
    pub(crate) async fn by_id<'a, T>(
        &'a self,
        is_absent: fn(&Result<T>) -> bool,
        ask: impl Fn(&'a dyn SessionStore) -> PendingCall<'a, Result<T>>,
    ) -> Result<T> {
        let first = ask(&*self.new_calls).await;
        if !is_absent(&first) && !self.proves_nothing(&first) {
            return first;
        }
        match ask(&*self.old_calls).await {
            Err(Error::Refused(Refusal::Departed { .. })) => ask(&*self.new_calls).await,
            second if is_absent(&second) => first,
            second => second,
        }
    }

    /// Whether an answer of one store leaves open that the other has the session: of a call that is repeated, a store that has
    /// no such session cannot tell whether it had one.
    pub(crate) fn proves_nothing<T>(&self, answer: &Result<T>) -> bool {
        self.is_repeat() && matches!(answer, Err(Error::Ambiguous { .. }))
    }

    /// Whether a call of this handle may have happened.
    pub(crate) fn is_repeat(&self) -> bool {
        self.operation_id.is_some_and(|id| id.is_of_a_repeat())
    }

    /// The id that a login gave a session of the old store, or a rotation; `None` if there was none.
    pub(crate) async fn successor(&self, id: &SessionId) -> Result<Option<SessionId>> {
        let mut successor = None;
        for _ in 0..HOPS {
            match self.old.fate(successor.as_ref().unwrap_or(id)).await? {
                Fate::Rotated { to } | Fate::Deleted { to: Some(to) } => successor = Some(to),
                _ => break,
            }
        }
        Ok(successor)
    }
}

/// Whether a store that is asked for a session has none.
pub(crate) fn is_none<T>(answer: &Result<Option<T>>) -> bool {
    matches!(answer, Ok(None))
}

/// Whether a store that is to change a session has none. An id that does not fit the new store's partitions is refused before
/// anything is looked for.
pub(crate) fn is_missing<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(Error::Refused(Refusal::Missing) | Error::Invalid(_)))
}

/// Whether a store that is to end something has nothing.
pub(crate) fn is_false(answer: &Result<bool>) -> bool {
    matches!(answer, Ok(false))
}
