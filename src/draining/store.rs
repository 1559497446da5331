//! A store that empties into another.

use std::sync::Arc;

use crate::model::{Error, Fate, NodeIdentity, OperationId, Refusal, Result, SessionId};
use crate::store::Store;
use crate::store::join::PendingCall;
use crate::store::session_store::SessionStore;

/// How many new ids in a row a logout follows.
const HOPS: u32 = 4;

/// Two stores as one: new sessions and logins go to the new one, and the old one empties as its sessions end. Use
/// it, for example, to move from one namespace to another with more partitions. A clone is another handle of the
/// same store.
///
/// Calls by id ask the new store and then the old one. `list`, `count` and limits cover both. Promises about one script
/// hold within each store. docs/partitions.md says how to deploy it, and how it differs from one store.
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
    /// The operation id of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle.
    pub(crate) identity: Option<NodeIdentity>,
}

impl DrainingStore {
    /// Empties `old` into `new`. They must be two stores, not two handles of one. The rules are those of the new one.
    #[must_use]
    pub fn new(old: Arc<dyn Store>, new: Arc<dyn Store>) -> Self {
        let (old_calls, new_calls) = (old.clone(), new.clone());
        Self { old, new, old_calls, new_calls, operation_id: None, identity: None }
    }

    /// Whether the old store is empty: no session in it is live, or expired and not reaped. Then you need
    /// only the new one. A [`Reaper`](crate::background::Reaper) of this store reaps both.
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

    /// Asks the new store, then the old one if the new one has no such session, and the new one again if a migration
    /// has moved the session there meanwhile.
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

    /// Whether the answer of one store leaves it open that the other has the session. For a repeated call, a store
    /// without the session cannot know whether it once had it.
    pub(crate) fn proves_nothing<T>(&self, answer: &Result<T>) -> bool {
        self.is_repeat() && matches!(answer, Err(Error::Ambiguous { .. }))
    }

    /// Whether a call of this handle may have happened.
    pub(crate) fn is_repeat(&self) -> bool {
        self.operation_id.is_some_and(|id| id.is_of_a_repeat())
    }

    /// The id that a login or a rotation gave a session of the old store; `None` if neither happened.
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

/// Whether the answer to a read says that there is no session.
pub(crate) fn is_none<T>(answer: &Result<Option<T>>) -> bool {
    matches!(answer, Ok(None))
}

/// Whether the answer to a change says that there is no session. The new store refuses an id that does not fit its
/// partitions without looking for the session.
pub(crate) fn is_missing<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(Error::Refused(Refusal::Missing) | Error::Invalid(_)))
}

/// Whether the answer says that there was nothing to end.
pub(crate) fn is_false(answer: &Result<bool>) -> bool {
    matches!(answer, Ok(false))
}
