//! The operations on sessions whose store may be away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::fallback::breaker::Access;
use crate::fallback::place::{Adopt, Place, open};
use crate::fallback::store::FallbackStore;
use crate::model::{
    Binding, Bound, Created, Expired, Explanation, Health, NewId, NewSession, NodeIdentity, OperationId,
    Origin, Page, PageRequest, Patch, Patched, Readiness, Reaped, Refreshed, Removed, Result, Rotated,
    Rotation, Rules, Selector, Session, SessionId, SessionRef, UserDeleted, require_name,
};
use crate::store::event_store::EventStore;
use crate::store::join::PendingCall;
use crate::store::session_store::SessionStore;

#[async_trait]
impl SessionStore for FallbackStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        let began = self.begin();
        let (created, place) = match self.away() {
            Some(local) => {
                let created = local.create(new, self.operation_id, &*self.store)?;
                self.coordinator.awaken();
                (created, Place::Local)
            }
            None => {
                let created = self.coordinator.through(Access::Write, self.store.create(new)).await;
                (created.map_err(|error| self.unless_in_doubt(Access::Write, error))?, Place::Store)
            }
        };
        Ok(self.created(created, place, began))
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let began = self.begin();
        let (answers, place) = match self.away() {
            Some(local) => {
                let answers = local.create_many(new, self.operation_id, &*self.store);
                self.coordinator.awaken();
                (answers, Place::Local)
            }
            None => {
                let count = new.len();
                let answers =
                    self.coordinator.all_through(Access::Write, count, self.store.create_many(new)).await;
                let nth = |place| self.operation_id.map(|id| id.nth(place));
                let places = answers.into_iter().enumerate();
                let answers = places.map(|(at, answer)| answer.map_err(|error| error.under_given(nth(at))));
                (answers.collect(), Place::Store)
            }
        };
        answers.into_iter().map(|answer| Ok(self.created(answer?, place, began))).collect()
    }

    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let id = session.id();
        self.read(Access::Read, Adopt::No, id, |_, store| Box::pin(async move { store.get(id).await })).await
    }

    async fn get_fresh(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let id = session.id();
        self.read(Access::Read, Adopt::No, id, |_, store| Box::pin(async move { store.get_fresh(id).await }))
            .await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let (began, id) = (self.begin(), session.id().clone());
        let copy = &*session;
        let save = |place: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Session>> {
            let mut saved = copy.clone();
            Box::pin(async move {
                if place == Place::Local {
                    self.store.check_id(saved.id(), saved.user().unwrap_or_default(), None)?;
                }
                self.adopt_holder(place, saved.connection())?;
                store.update(&mut saved).await.map(|()| saved)
            })
        };
        let (mut saved, place) = self.on_session(Access::Write, Adopt::Yes, &id, save).await?;
        saved.origin = Origin::Store;
        *session = self.seen(saved, place, began);
        Ok(())
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Patched>> {
            let patch = patch.clone();
            Box::pin(async move { store.patch(session, patch).await })
        };
        let (patched, place) = self.on_session(Access::Write, Adopt::Yes, session.id(), call).await?;
        if place == Place::Store {
            self.stale_cache(|cache| cache.patched(session.id(), &patched));
        }
        Ok(patched)
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Option<Refreshed>>> {
            Box::pin(async move { store.refresh(session).await })
        };
        let answer = self.on_session(Access::Write, Adopt::Yes, session.id(), call).await;
        let (answer, place) = answer.inspect_err(|error| self.forget_if_left(session.id(), error))?;
        match &answer {
            Some(refreshed) if place == Place::Store => {
                self.stale_cache(|cache| cache.refreshed(session.id(), refreshed));
            }
            None if place == Place::Store => {
                self.stale_cache(|cache| cache.forget(session.id()));
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Option<Session>>> {
            Box::pin(async move { store.refresh_and_get(session).await })
        };
        self.read(Access::Write, Adopt::Yes, session.id(), call).await
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        let began = self.begin();
        let call = |place: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Rotated>> {
            let rotation = rotation.clone();
            // A rotation in this process also changes the id under which the store knows the session.
            match self.coordinator.local.as_ref().filter(|_| place == Place::Local) {
                Some(local) => {
                    Box::pin(async move { local.rotate(session, rotation, self.operation_id, &*self.store) })
                }
                None => Box::pin(async move { store.rotate(session, rotation).await }),
            }
        };
        let (mut rotated, place) = self.on_session(Access::Write, Adopt::Yes, session.id(), call).await?;
        if session.id() != rotated.session.id() {
            self.stale_cache(|cache| cache.moved(session.id(), rotated.session.id()));
        }
        for removed in &rotated.evicted {
            self.stale_cache(|cache| cache.forget(&removed.id));
        }
        rotated.session = self.seen(rotated.session, place, began);
        Ok(rotated)
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        let call = |place: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Bound>> {
            let binding = binding.clone();
            Box::pin(async move {
                self.adopt_holder(place, Some(&binding.connection))?;
                store.bind(session, binding).await
            })
        };
        let (bound, place) = self.on_session(Access::Write, Adopt::Yes, session.id(), call).await?;
        if place == Place::Store {
            self.stale_cache(|cache| cache.bound(session.id(), &binding, &bound));
        }
        Ok(bound)
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        let call = |place: Place, store: Arc<dyn SessionStore>| -> PendingCall<'_, Result<Option<bool>>> {
            Box::pin(async move {
                match self.coordinator.local.as_ref().filter(|_| place == Place::Local) {
                    Some(local) => local.unbind(session, connection, self.operation_id),
                    None => store.unbind(session, connection).await.map(Some),
                }
            })
        };
        let (unbound, place) = self.on_session(Access::Write, Adopt::Yes, session.id(), call).await?;
        let is_detached = unbound.unwrap_or(false);
        if place == Place::Store && is_detached {
            self.stale_cache(|cache| cache.unbound(session.id()));
        }
        Ok(is_detached)
    }

    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>> {
        let id = session.id();
        let mut ids = vec![id.clone()];
        ids.extend(self.stale_cache(|cache| cache.led_to(id)).flatten());
        // Whether or not the store can delete it, this process no longer answers with it, nor with a copy that is read
        // meanwhile.
        self.stale_cache(|cache| cache.forget(id));
        let deleted = self.delete_at(session, &ids).await;
        self.stale_cache(|cache| cache.forget(id));
        deleted
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        let began = self.begin();
        let mut page = self.coordinator.whole(Access::Read, self.store.list(of, page)).await?;
        let seen = |session| self.seen(session, Place::Store, began);
        page.sessions = page.sessions.into_iter().map(seen).collect();
        Ok(page)
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        self.coordinator.whole(Access::Read, self.store.count(of)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        require_name("connection id", connection)?;
        loop {
            let began = self.begin();
            let local = self.coordinator.local.as_ref();
            if let Some(local) = local.filter(|local| !local.is_idle())
                && let Some(session) = self.memory(local).session_by_connection(connection).await?
            {
                return Ok(Some(self.seen(session, Place::Local, began)));
            }
            let asked = self.store.session_by_connection(connection);
            let found = match self.coordinator.through(Access::Read, asked).await {
                Ok(found) => found.map(|session| self.seen(session, Place::Store, began)),
                Err(error) => {
                    self.coordinator.or_stale(error, |cache| cache.find_by_connection(connection))?
                }
            };
            let Some(session) = found else {
                return Ok(None);
            };
            match local.and_then(|local| local.still_has(session.id(), connection)) {
                None => return Ok(Some(session)),
                Some(false) => return Ok(None),
                // It came here meanwhile.
                Some(true) => {}
            }
        }
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        require_name("user id", user)?;
        if let Some(local) = self.away() {
            let done = local.revoke_user(user, keep);
            self.stale_cache(|cache| cache.forget_user(user, keep));
            self.coordinator.awaken();
            return done;
        }
        self.stale_cache(|cache| cache.forget_user(user, keep));
        let done = self.coordinator.whole(Access::Write, self.store.delete_user(user, keep)).await;
        self.stale_cache(|cache| cache.forget_user(user, keep));
        done.map_err(|error| self.unless_in_doubt(Access::Write, error))
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        self.coordinator.through(Access::Read, self.store.expired(before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        self.coordinator.through(Access::Write, self.store.reap(batch)).await
    }

    async fn explain(&self, id: &SessionId) -> Result<Explanation> {
        let local = self.coordinator.local.as_ref().filter(|local| !local.is_idle());
        if let Some(explanation) = local.and_then(|local| local.explain(id)) {
            return Ok(explanation);
        }
        self.coordinator.through(Access::Read, self.store.explain(id)).await
    }

    fn rules(&self) -> &Rules {
        self.coordinator.store.rules()
    }

    fn new_id(&self, user: &str) -> NewId {
        self.store.new_id(user)
    }

    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        self.store.check_id(id, user, from)
    }

    /// While the store is away, the policy may still serve some calls.
    async fn health(&self) -> Health {
        let coordinator = &self.coordinator;
        let health = if coordinator.is_closed() || coordinator.breaker.is_closed() {
            self.store.health().await
        } else {
            Health::of(Err(open()))
        };
        if health.is_ready() || !coordinator.goes_on_without(health.error.as_ref()) {
            return health;
        }
        Health { readiness: Readiness::Degraded, ..health }
    }

    async fn close(&self) {
        self.coordinator.closed.store(true, Ordering::SeqCst);
        if let Some(local) = &self.coordinator.local {
            local.memory.close().await;
        }
        self.store.close().await;
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), store: self.store.with_operation_id(id), ..self.clone() })
    }

    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore> {
        let store = self.store.as_node(identity);
        Arc::new(Self { identity: Some(identity.clone()), store, ..self.clone() })
    }

    fn event_store(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}
