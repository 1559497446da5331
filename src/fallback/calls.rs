//! How a call of a fallback store finds its session.

use std::sync::Arc;

use crate::fallback::breaker::Access;
use crate::fallback::local_sessions::LocalSessions;
use crate::fallback::maybe_missing::MaybeMissing;
use crate::fallback::place::{Adopt, Place};
use crate::fallback::stale_cache::StaleCache;
use crate::fallback::store::FallbackStore;
use crate::model::{
    Created, Error, Instant, Origin, Refusal, Removed, Result, Session, SessionId, SessionRef,
};
use crate::store::join::PendingCall;
use crate::store::session_store::SessionStore;

impl FallbackStore {
    /// The memory of this process, under this handle's operation id.
    pub(crate) fn memory(&self, local: &LocalSessions) -> Arc<dyn SessionStore> {
        match self.operation_id {
            Some(id) => local.memory.with_operation_id(id),
            None => Arc::new(local.memory.clone()),
        }
    }

    /// Makes a call on one session where the session is.
    pub(crate) async fn on_session<'a, T: MaybeMissing>(
        &self,
        access: Access,
        adopt: Adopt,
        id: &SessionId,
        call: impl Fn(Place, Arc<dyn SessionStore>) -> PendingCall<'a, Result<T>>,
    ) -> Result<(T, Place)> {
        let adopt = if self.identity.is_some() { Adopt::No } else { adopt };
        loop {
            let place =
                self.coordinator.place(id, adopt).map_err(|error| self.unless_in_doubt(access, error))?;
            let answer = match (place, &self.coordinator.local) {
                (Place::Nowhere, _) => T::missing(),
                (Place::Left, _) => Err(Error::Refused(Refusal::Rotated { to: None })),
                // This process does not know whether the node still holds its lease and the session.
                (Place::Local, Some(_)) if self.identity.is_some() => {
                    return Err(self.unless_in_doubt(access, self.coordinator.apart()));
                }
                (Place::Local, Some(local)) => {
                    if local.wait(id).await {
                        continue;
                    }
                    let answer = call(place, self.memory(local)).await;
                    let is_missing = |answer: &Result<T>| match answer {
                        Ok(answer) => answer.is_missing(),
                        Err(error) => error.is_missing(),
                    };
                    // It left in this moment: it went to the store, or it expired. The next look will show.
                    if is_missing(&answer) {
                        continue;
                    }
                    self.coordinator.awaken();
                    answer
                }
                (_, local) => {
                    let answer = self.coordinator.through(access, call(place, self.store.clone())).await;
                    if let (Some(local), Err(Error::Ambiguous { operation_id, .. })) = (local, &answer) {
                        local.note_unsure(id, *operation_id);
                    }
                    answer.map_err(|error| self.unless_in_doubt(access, error))
                }
            };
            return answer.map(|answer| (answer, place));
        }
    }

    /// Reads one session where it is, or where it was seen last.
    pub(crate) async fn read<'a>(
        &self,
        access: Access,
        adopt: Adopt,
        id: &SessionId,
        call: impl Fn(Place, Arc<dyn SessionStore>) -> PendingCall<'a, Result<Option<Session>>>,
    ) -> Result<Option<Session>> {
        let began = self.begin();
        match self.on_session(access, adopt, id, call).await {
            Ok((Some(session), place)) => {
                if session.id() != id {
                    self.stale_cache(|cache| cache.moved(id, session.id()));
                }
                Ok(Some(self.seen(session, place, began)))
            }
            Ok((None, _)) => {
                self.stale_cache(|cache| cache.forget(id));
                Ok(None)
            }
            Err(error) => {
                self.forget_if_left(id, &error);
                self.coordinator.or_stale(error, |cache| cache.find(id))
            }
        }
    }

    /// Forgets a session whose id a login elsewhere gave up, so that it is not served once the store is
    /// away.
    pub(crate) fn forget_if_left(&self, id: &SessionId, error: &Error) {
        if error.is_rotated() {
            self.stale_cache(|cache| cache.forget(id));
        }
    }

    /// Maps the error of a call. A write that may have happened before under this handle's operation id stays ambiguous
    /// as long as the store cannot be reached.
    pub(crate) fn unless_in_doubt(&self, access: Access, error: Error) -> Error {
        error.under_given(self.operation_id.filter(|_| access == Access::Write))
    }

    /// Marks a session with where it came from, and keeps a copy of what the store has.
    pub(crate) fn seen(&self, mut session: Session, place: Place, began: Option<Instant>) -> Session {
        match (place, began) {
            (Place::Store, Some(began)) => {
                self.stale_cache(|cache| cache.keep(&session, began));
            }
            (Place::Store, None) => {}
            (Place::Local | Place::Nowhere | Place::Left, _) => session.origin = Origin::Local,
        }
        session
    }

    /// The same for a session that was created, and for those that it evicted.
    pub(crate) fn created(&self, mut created: Created, place: Place, began: Option<Instant>) -> Created {
        for removed in &created.evicted {
            self.stale_cache(|cache| cache.forget(&removed.id));
        }
        created.session = self.seen(created.session, place, began);
        created
    }

    pub(crate) fn begin(&self) -> Option<Instant> {
        self.stale_cache(StaleCache::instant)
    }

    pub(crate) fn stale_cache<T>(&self, with: impl FnOnce(&StaleCache) -> T) -> Option<T> {
        self.coordinator.stale_cache.as_deref().map(with)
    }

    /// Before a session here gets a connection, the known holder of that connection must be here too.
    pub(crate) fn adopt_holder(&self, place: Place, connection: Option<&str>) -> Result<()> {
        match (self.coordinator.local.as_ref().filter(|_| place == Place::Local), connection) {
            (Some(local), Some(connection)) => local.adopt_holder(connection),
            _ => Ok(()),
        }
    }

    /// Deletes a session where it is.
    pub(crate) async fn delete_at(
        &self,
        session: &dyn SessionRef,
        ids: &[SessionId],
    ) -> Result<Option<Removed>> {
        let revoke = |local: &LocalSessions| {
            let had = local.revoke(ids)?;
            self.coordinator.awaken();
            let had =
                had.unwrap_or_else(|| Removed::of(session.id().clone(), &session.hint().index_fields()));
            Ok(Some(had))
        };
        let is_away = self.away().is_some();
        let local = self
            .coordinator
            .local
            .as_ref()
            .filter(|_| self.identity.is_none() && !self.coordinator.is_closed());
        if let Some(local) = local.filter(|local| is_away || ids.iter().any(|id| local.leads_here(id))) {
            return revoke(local);
        }
        let call = |place: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Option<Removed>>> {
            match local.filter(|_| place == Place::Local) {
                Some(local) => Box::pin(async move { revoke(local) }),
                None => Box::pin(async move { store.delete(session).await }),
            }
        };
        let (deleted, _) = self.on_session(Access::Write, Adopt::No, session.id(), call).await?;
        Ok(deleted)
    }

    /// The part that works without the store, while that is away.
    pub(crate) fn away(&self) -> Option<&LocalSessions> {
        let is_away =
            self.identity.is_none() && !self.coordinator.breaker.is_closed() && !self.coordinator.is_closed();
        self.coordinator.local.as_ref().filter(|_| is_away)
    }
}
