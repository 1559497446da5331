//! A store that goes on while another is away.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::fallback::breaker::Access;
use crate::fallback::calls::Sent;
use crate::fallback::coordinator::{Adopt, Coordinator, Place};
use crate::fallback::policy::FallbackStats;
use crate::model::{
    Binding, Bound, Claim, Claimed, Cleaned, Created, Deleted, Departed, Direction, Expired, Export,
    Freezing, Frozen, Heartbeat, Import, Imported, LeaseStatus, Leftover, Migration, Migrations, NewSession,
    Node, NodeIdentity, OperationId, Origin, Page, PageRequest, Patch, Patched, Reaped, Refreshed, Result,
    Rotated, Rotation, Selector, Session, SessionId, SessionRef, TaskId, Thawed, Unbound, UserDeleted,
    require_name,
};
use crate::store::session_store::SessionStore;

/// A store that goes on while another, mostly a [`RedisStore`](crate::RedisStore), is away, as its
/// [`FallbackPolicy`](crate::FallbackPolicy) says. A clone is another handle of the same store.
///
/// A circuit breaker finds out: after some failures in a row it opens, and calls no longer wait for the store. In the
/// background one probe at a time then makes a session of its own and deletes it, until that works. What failures are:
/// no connection, no answer before the deadline, an error of the server. A refusal is an answer.
///
/// ```no_run
/// use cloakroom::{FallbackPolicy, FallbackStore, RedisStore, SessionStore};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// let redis = Arc::new(RedisStore::builder("redis://127.0.0.1/").build().await?);
/// let stale = FallbackPolicy::ServeStale { max_age: Duration::from_secs(60) };
/// let store = FallbackStore::builder(redis).policy(stale).build()?;
/// println!("{:?}", store.stats().breaker);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackStore {
    pub(crate) shared: Arc<Coordinator>,
    /// Of all calls through this handle.
    pub(crate) operation_id: Option<OperationId>,
    /// The node that makes all calls through this handle: they go to the store, for only that knows who is fenced.
    pub(crate) holder: Option<NodeIdentity>,
    /// The store, under this handle's operation id and for its node.
    pub(crate) store: Arc<dyn SessionStore>,
}

impl fmt::Debug for FallbackStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl FallbackStore {
    pub(crate) fn new(shared: Coordinator) -> Self {
        let store = shared.store.clone();
        Self { shared: Arc::new(shared), operation_id: None, holder: None, store }
    }

    /// Whether the store is there, and what was done while it was not.
    #[must_use]
    pub fn stats(&self) -> FallbackStats {
        self.shared.stats()
    }
}

#[async_trait]
impl SessionStore for FallbackStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        let began = self.begin();
        let (created, place) = match self.away() {
            Some(local) => {
                let created = local.create(new, self.operation_id)?;
                self.shared.awaken();
                (created, Place::Local)
            }
            None => (self.shared.through(Access::Write, self.store.create(new)).await?, Place::Store),
        };
        Ok(self.created(created, place, began))
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let began = self.begin();
        let (answers, place) = match self.away() {
            Some(local) => {
                let answers = local.create_many(new, self.operation_id);
                self.shared.awaken();
                (answers, Place::Local)
            }
            None => {
                let count = new.len();
                let answers =
                    self.shared.all_through(Access::Write, count, self.store.create_many(new)).await;
                (answers, Place::Store)
            }
        };
        answers.into_iter().map(|answer| Ok(self.created(answer?, place, began))).collect()
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Session>> {
        self.read(Access::Read, Adopt::No, id, |_, store| Box::pin(async move { store.get(id).await })).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let (began, id) = (self.begin(), session.id().clone());
        let copy = &*session;
        let save = |place: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Session> {
            let mut saved = copy.clone();
            Box::pin(async move {
                self.adopt_holder(place, saved.connection())?;
                store.update(&mut saved).await.map(|()| saved)
            })
        };
        let (mut saved, place) = self.on_session(Access::Write, Adopt::Yes, &id, save).await?;
        saved.origin = Origin::Store;
        *session = self.seen(saved, place, began);
        Ok(())
    }

    async fn patch(&self, target: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Patched> {
            let patch = patch.clone();
            Box::pin(async move { store.patch(target, patch).await })
        };
        let (patched, place) = self.on_session(Access::Write, Adopt::Yes, target.id(), call).await?;
        if place == Place::Store {
            self.copies(|copies| copies.patched(target.id(), &patch, &patched));
        }
        Ok(patched)
    }

    async fn refresh(&self, target: &dyn SessionRef) -> Result<Option<Refreshed>> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Option<Refreshed>> {
            Box::pin(async move { store.refresh(target).await })
        };
        let (answer, place) = self.on_session(Access::Write, Adopt::Yes, target.id(), call).await?;
        match &answer {
            Some(refreshed) if place == Place::Store => {
                self.copies(|copies| copies.refreshed(target.id(), refreshed));
            }
            None if place == Place::Store => {
                self.copies(|copies| copies.forget(target.id()));
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn refresh_and_get(&self, target: &dyn SessionRef) -> Result<Option<Session>> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Option<Session>> {
            Box::pin(async move { store.refresh_and_get(target).await })
        };
        self.read(Access::Write, Adopt::Yes, target.id(), call).await
    }

    async fn rotate(&self, target: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        let began = self.begin();
        let call = |place: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Rotated> {
            let rotation = rotation.clone();
            // In this process a rotation also changes under which id the store knows the session.
            match self.shared.local.as_ref().filter(|_| place == Place::Local) {
                Some(local) => Box::pin(async move { local.rotate(target, rotation, self.operation_id) }),
                None => Box::pin(async move { store.rotate(target, rotation).await }),
            }
        };
        let (mut rotated, place) = self.on_session(Access::Write, Adopt::Yes, target.id(), call).await?;
        if target.id() != rotated.session.id() {
            self.copies(|copies| copies.moved(target.id(), rotated.session.id()));
        }
        for removed in &rotated.evicted {
            self.copies(|copies| copies.forget(&removed.id));
        }
        rotated.session = self.seen(rotated.session, place, began);
        Ok(rotated)
    }

    async fn bind(&self, target: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        let call = |place: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Bound> {
            let binding = binding.clone();
            Box::pin(async move {
                self.adopt_holder(place, Some(&binding.connection))?;
                store.bind(target, binding).await
            })
        };
        let (bound, place) = self.on_session(Access::Write, Adopt::Yes, target.id(), call).await?;
        if place == Place::Store {
            self.copies(|copies| copies.bound(target.id(), &binding, &bound));
        }
        Ok(bound)
    }

    async fn unbind(&self, target: &dyn SessionRef, connection: &str) -> Result<Unbound> {
        let call = |_: Place, store: Arc<dyn SessionStore>| -> Sent<'_, Unbound> {
            Box::pin(async move { store.unbind(target, connection).await })
        };
        let (unbound, place) = self.on_session(Access::Write, Adopt::Yes, target.id(), call).await?;
        if place == Place::Store && unbound == Unbound::Detached {
            self.copies(|copies| copies.unbound(target.id()));
        }
        Ok(unbound)
    }

    async fn delete(&self, target: &dyn SessionRef) -> Result<Deleted> {
        let id = target.id();
        let mut ids = vec![id.clone()];
        ids.extend(self.copies(|copies| copies.led_to(id)).flatten());
        // Whether or not it can be deleted there, this process no longer answers with it; nor with what is read meanwhile.
        self.copies(|copies| copies.forget(id));
        let deleted = self.delete_at(target, &ids).await;
        self.copies(|copies| copies.forget(id));
        deleted
    }

    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.shared.whole(Access::Read, self.store.export(id)).await
    }

    async fn import(&self, import: Import) -> Result<Imported> {
        self.copies(|copies| copies.forget(import.export.session.id()));
        self.shared.whole(Access::Write, self.store.import(import)).await
    }

    async fn list(&self, owner: &Selector, page: &PageRequest) -> Result<Page> {
        let began = self.begin();
        let mut page = self.shared.whole(Access::Read, self.store.list(owner, page)).await?;
        let seen = |session| self.seen(session, Place::Store, began);
        page.sessions = page.sessions.into_iter().map(seen).collect();
        Ok(page)
    }

    async fn count(&self, owner: &Selector) -> Result<u64> {
        self.shared.whole(Access::Read, self.store.count(owner)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        require_name("connection id", connection)?;
        loop {
            let began = self.begin();
            let local = self.shared.local.as_ref();
            if let Some(local) = local.filter(|local| !local.is_idle())
                && let Some(session) = self.memory(local).session_by_connection(connection).await?
            {
                return Ok(Some(self.seen(session, Place::Local, began)));
            }
            let asked = self.store.session_by_connection(connection);
            let found = match self.shared.through(Access::Read, asked).await {
                Ok(found) => found.map(|session| self.seen(session, Place::Store, began)),
                Err(error) => self.shared.or_stale(error, |copies| copies.find_by_connection(connection))?,
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
            self.copies(|copies| copies.forget_user(user, keep));
            self.shared.awaken();
            return done;
        }
        self.copies(|copies| copies.forget_user(user, keep));
        let done = self.shared.whole(Access::Write, self.store.delete_user(user, keep)).await;
        self.copies(|copies| copies.forget_user(user, keep));
        done
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        self.shared.through(Access::Read, self.store.expired(before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        self.shared.through(Access::Write, self.store.reap(batch)).await
    }

    async fn heartbeat(&self, holder: &NodeIdentity, beat: Heartbeat) -> Result<LeaseStatus> {
        self.shared.through(Access::Write, self.store.heartbeat(holder, beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.shared.through(Access::Read, self.store.nodes()).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        self.shared.through(Access::Read, self.store.lapsed_nodes()).await
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let claimed = self.shared.through(Access::Write, self.store.recover(claim)).await?;
        for session in &claimed.sessions {
            self.copies(|copies| copies.forget(&session.id));
        }
        Ok(claimed)
    }

    async fn freeze(&self, target: &dyn SessionRef, freezing: Freezing) -> Result<Option<Frozen>> {
        self.copies(|copies| copies.forget(target.id()));
        self.shared.whole(Access::Write, self.store.freeze(target, freezing)).await
    }

    async fn depart(&self, target: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<Departed> {
        let departed = self.shared.whole(Access::Write, self.store.depart(target, task, until_ms)).await;
        self.copies(|copies| copies.forget(target.id()));
        departed
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<Thawed> {
        self.copies(|copies| copies.forget(id));
        self.shared.whole(Access::Write, self.store.thaw(id, task, direction)).await
    }

    async fn clean(&self, target: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<Cleaned> {
        let cleaned = self.shared.whole(Access::Write, self.store.clean(target, task, what)).await;
        self.copies(|copies| copies.forget(target.id()));
        cleaned
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        self.shared.through(Access::Read, self.store.migrations(skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.shared.through(Access::Read, self.store.migration(id)).await
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(local) = &self.shared.local {
            local.memory.close().await;
        }
        self.store.close().await;
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), store: self.store.with_operation_id(id), ..self.clone() })
    }

    fn as_node(&self, holder: &NodeIdentity) -> Arc<dyn SessionStore> {
        let store = self.store.as_node(holder);
        Arc::new(Self { holder: Some(holder.clone()), store, ..self.clone() })
    }

    fn handle(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.clone())
    }
}
