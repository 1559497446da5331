//! The operations on sessions in two stores.

use std::sync::Arc;

use async_trait::async_trait;

use crate::draining::store::{DrainingStore, is_false, is_missing, is_none};
use crate::model::{
    Binding, Bound, Created, Error, Expired, Explanation, Fate, Health, NewId, NewSession, NodeIdentity,
    OperationId, Page, PageRequest, Patch, Patched, Readiness, Reaped, Refreshed, Refusal, Removed, Result,
    Rotated, Rotation, Rules, Selector, Session, SessionId, SessionRef, UserDeleted, cause,
};
use crate::store::join::{PendingCall, join};
use crate::store::session_store::SessionStore;

#[async_trait]
impl SessionStore for DrainingStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        if let Some(id) = &new.id {
            self.require_unused(&id.id).await?;
        }
        let (user, operation) =
            (new.wanted_user().to_owned(), self.operation_id.unwrap_or_else(OperationId::random));
        self.require_room(&user).await?;
        let mut created = self.new_calls.with_operation_id(operation).create(new).await?;
        let evicted = self.evict(&user, created.session.id()).await;
        // The session was made: a repeated call finds it, and evicts.
        created.evicted.extend(evicted.map_err(|error| Error::ambiguous(operation, cause(error)))?);
        Ok(created)
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let is_plain =
            |new: &NewSession| new.id.is_none() && (new.wanted_user().is_empty() || !self.has_limit());
        if new.iter().all(is_plain) {
            return self.new_calls.create_many(new).await;
        }
        let operation = self.operation_id.unwrap_or_else(OperationId::random);
        let one = |(place, new): (usize, NewSession)| -> PendingCall<'_, Result<Created>> {
            let store = self.under(operation.nth(place));
            Box::pin(async move { store.create(new).await })
        };
        let calls = new.into_iter().enumerate().map(one);
        if !self.has_limit() {
            return join(calls).await;
        }
        // In order, because each may evict other sessions of its user.
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await);
        }
        answers
    }

    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.by_id(is_none, |store| Box::pin(store.get(session))).await
    }

    async fn get_fresh(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.by_id(is_none, |store| Box::pin(store.get_fresh(session))).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let first = self.new_calls.update(session).await;
        if !is_missing(&first) && !self.proves_nothing(&first) {
            return first;
        }
        match self.old_calls.update(session).await {
            Err(Error::Refused(Refusal::Departed { .. })) => self.new_calls.update(session).await,
            second if is_missing(&second) => first,
            second => second,
        }
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        self.by_id(is_missing, |store| Box::pin(store.patch(session, patch.clone()))).await
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        self.by_id(is_none, |store| Box::pin(store.refresh(session))).await
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.by_id(is_none, |store| Box::pin(store.refresh_and_get(session))).await
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        if rotation.named_user().is_empty() {
            return self.by_id(is_missing, |store| Box::pin(store.rotate(session, rotation.clone()))).await;
        }
        self.log_in(session, rotation).await
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        self.by_id(is_missing, |store| Box::pin(store.bind(session, binding.clone()))).await
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        self.by_id(is_false, |store| Box::pin(store.unbind(session, connection))).await
    }

    /// Deletes in both stores: a process that knows only the old store may have made a session with the same id there.
    /// A logout under the id from before a login counts too.
    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>> {
        let is_here = self.new_calls.delete(session).await?;
        let is_there = match self.old_calls.delete(session).await {
            Err(Error::Refused(Refusal::Departed { .. })) => self.new_calls.delete(session).await?,
            deleted => deleted?,
        };
        if let Some(removed) = is_here.or(is_there) {
            return Ok(Some(removed));
        }
        match self.successor(session.id()).await? {
            Some(to) => self.new_calls.delete(&to).await,
            None => Ok(None),
        }
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        let pages = vec![self.new_calls.list(of, page).await?, self.old_calls.list(of, page).await?];
        Ok(Page::merged(pages, page.size))
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        Ok(self.new_calls.count(of).await? + self.old_calls.count(of).await?)
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        self.by_id(is_none, |store| Box::pin(store.session_by_connection(connection))).await
    }

    /// Deletes in the new store, in the old one, and in the new one again: the last pass finds the sessions
    /// that moved meanwhile.
    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut done = UserDeleted::default();
        for store in [&self.new_calls, &self.old_calls, &self.new_calls] {
            let successor = match keep.filter(|_| Arc::ptr_eq(store, &self.new_calls)) {
                Some(keep) => self.successor(keep).await?,
                None => None,
            };
            let deleted = store.delete_user(user, successor.as_ref().or(keep)).await?;
            done.removed.extend(deleted.removed);
            done.corrupt.extend(deleted.corrupt);
            done.unreadable += deleted.unreadable;
        }
        done.corrupt.sort();
        done.corrupt.dedup();
        Ok(done)
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        self.expired_in_both(before_ms, skip, limit).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        self.reap_in_either(batch).await
    }

    async fn explain(&self, id: &SessionId) -> Result<Explanation> {
        match self.new_calls.explain(id).await? {
            Explanation::Unknown => self.old_calls.explain(id).await,
            known => Ok(known),
        }
    }

    fn rules(&self) -> &Rules {
        self.new.rules()
    }

    fn new_id(&self, user: &str) -> NewId {
        self.new_calls.new_id(user)
    }

    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        self.new.check_id(id, user, from)
    }

    /// Without the new store no call is served: each call asks it first.
    async fn health(&self) -> Health {
        let (old, mut both) = futures_util::future::join(self.old.health(), self.new.health()).await;
        if both.is_ready() {
            both.readiness = both.readiness.min(old.readiness.max(Readiness::Degraded));
        }
        both.servers.extend(old.servers);
        both.error = both.error.or(old.error);
        both
    }

    async fn close(&self) {
        self.new.close().await;
        self.old.close().await;
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(self.under(id))
    }

    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore> {
        Arc::new(Self {
            old_calls: self.old_calls.as_node(identity),
            new_calls: self.new_calls.as_node(identity),
            identity: Some(identity.clone()),
            ..self.clone()
        })
    }
}

impl DrainingStore {
    pub(crate) fn has_limit(&self) -> bool {
        self.rules().get_sessions_per_user().is_some()
    }

    /// Refuses a caller's id that the old store has.
    async fn require_unused(&self, id: &SessionId) -> Result<()> {
        match self.old.fate(id).await? {
            Fate::Live => Err(Error::Refused(Refusal::Exists)),
            Fate::Deleted { .. } => Err(Error::Refused(Refusal::Gone)),
            Fate::Rotated { to } => Err(Error::Refused(Refusal::Rotated { to: Some(to) })),
            Fate::Departed { .. } | Fate::Unknown => Ok(()),
        }
    }
}
