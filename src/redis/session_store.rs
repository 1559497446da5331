//! What a service does with its sessions, in Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Binding, Bound, Created, Expired, NewSession, NodeIdentity, OperationId, Page, PageRequest, Patch,
    Patched, Reaped, Refreshed, Result, Rotated, Rotation, Rules, Selector, Session, SessionId, SessionRef,
    UserDeleted,
};
use crate::redis::call::Call;
use crate::redis::commands;
use crate::redis::store::RedisStore;
use crate::redis::tidy;
use crate::store::session_store::SessionStore;

#[async_trait]
impl SessionStore for RedisStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        let began = self.refresh_cache().begin();
        let result = self.call("create", |call| async move { commands::create::run(&call, new).await }).await;
        self.refresh_cache().made(began, self.operation_id.is_some(), &result);
        result
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let began = self.refresh_cache().begin();
        let results = self.make_many(new).await;
        for result in &results {
            self.refresh_cache().made(began, self.operation_id.is_some(), result);
        }
        results
    }

    async fn get(&self, id: &SessionId) -> Result<Option<Session>> {
        let result = self.call("get", |call| async move { commands::get::run(&call, id).await }).await;
        self.refresh_cache().read(id, &result);
        result
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        let id = session.id().clone();
        let call = self.call("update", |call| async move { commands::update::run(&call, session).await });
        self.refresh_cache().changing(&id, call, |id| vec![id.clone()]).await.map(drop)
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        let call =
            self.call("patch", |call| async move { commands::patch::run(&call, session, patch).await });
        self.refresh_cache().changing(session.id(), call, |patched| vec![patched.id.clone()]).await
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        if let Some(refreshed) = self.refresh_cache().answer(session.id()) {
            let answered = |call: Arc<Call>| async move {
                call.about(session.id());
                Ok(Some(refreshed))
            };
            return self.call("refresh", answered).await;
        }
        let call = self.call("refresh", |call| async move { commands::refresh::run(&call, session).await });
        self.refresh_cache().using(session.id(), call, |refreshed| refreshed).await
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let call =
            self.call("refresh", |call| async move { commands::refresh::run_and_get(&call, session).await });
        let found = self.refresh_cache().using(session.id(), call, |(_, refreshed)| refreshed).await?;
        Ok(found.map(|(session, _)| session))
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        let call =
            self.call("rotate", |call| async move { commands::rotate::run(&call, session, rotation).await });
        let named = |rotated: &Rotated| {
            let evicted = rotated.evicted.iter().map(|removed| removed.id.clone());
            evicted.chain([rotated.session.id().clone()]).collect()
        };
        self.refresh_cache().changing(session.id(), call, named).await
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        let call =
            self.call("bind", |call| async move { commands::bind::run(&call, session, binding).await });
        let named = |bound: &Bound| {
            [Some(&bound.id), bound.taken_from.as_ref()].into_iter().flatten().cloned().collect()
        };
        self.refresh_cache().changing(session.id(), call, named).await
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        let call = self
            .call("unbind", |call| async move { commands::unbind::run(&call, session, connection).await });
        let unbound = self.refresh_cache().changing(session.id(), call, |(id, _)| vec![id.clone()]).await;
        unbound.map(|(_, is_detached)| is_detached)
    }

    async fn delete(&self, session: &dyn SessionRef) -> Result<bool> {
        let call = self.call("delete", |call| async move { commands::delete::run(&call, session).await });
        let deleted = self.refresh_cache().changing(session.id(), call, |(id, _)| vec![id.clone()]).await;
        deleted.map(|(_, was_live)| was_live)
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        self.call("list", |call| async move { commands::list::run(&call, of, page).await }).await
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        self.call("count", |call| async move { commands::count::run(&call, of).await }).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        let body = |call: Arc<Call>| async move { commands::get::by_connection(&call, connection).await };
        self.call("session_by_connection", body).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut deletion = commands::delete_user::Deletion::new(user, keep)?;
        let id = self.operation_id.unwrap_or_else(OperationId::random);
        loop {
            let deleting = &mut deletion;
            let whole = self
                .call_as("delete_user", Some(id), |call| async move { deleting.batch(&call).await })
                .await;
            self.refresh_cache().removed(&deletion.done, &whole);
            if whole? {
                return Ok(deletion.done);
            }
        }
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        let body =
            |call: Arc<Call>| async move { commands::expired::run(&call, before_ms, skip, limit).await };
        self.call("expired", body).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        let reaped: Result<Reaped> =
            self.call("reap", |call| async move { commands::reap::run(&call, batch).await }).await;
        for session in reaped.iter().flat_map(|reaped| &reaped.sessions) {
            self.refresh_cache().forget(session.id());
        }
        self.tidy(&reaped).await;
        reaped
    }

    fn rules(&self) -> &Rules {
        &self.config().rules
    }

    async fn close(&self) {
        self.end();
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Self { operation_id: Some(id), ..self.clone() })
    }

    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore> {
        Arc::new(Self { identity: Some(identity.clone()), ..self.clone() })
    }
}

impl RedisStore {
    /// What a reap met makes no report wait or fail.
    async fn tidy(&self, reaped: &Result<Reaped>) {
        let tidying = self.tidying();
        if reaped.as_ref().is_ok_and(|reaped| reaped.dropped > 0) {
            tidying.begin();
        }
        if !tidying.is_on() {
            return;
        }
        let step = self.call("tidy", |call| async move { tidy::step(&call, tidying).await }).await;
        if let Err(error) = step {
            tracing::debug!(%error, "indexes are not tidied this time");
        }
    }
}
