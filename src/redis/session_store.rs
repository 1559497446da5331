//! The operations on sessions in Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Binding, Bound, Created, Error, Expired, Explanation, Health, NewId, NewSession, NodeIdentity,
    OperationId, Page, PageRequest, Patch, Patched, Reaped, Refreshed, Refusal, Removed, Result, Rotated,
    Rotation, Rules, Selector, Session, SessionId, SessionRef, UserDeleted,
};
use crate::redis::call::Call;
use crate::redis::commands;
use crate::redis::lookup;
use crate::redis::store::RedisStore;
use crate::redis::tidy;
use crate::store::event_store::EventStore;
use crate::store::session_store::SessionStore;
use crate::stored::partitions::Partition;

#[async_trait]
impl SessionStore for RedisStore {
    async fn create(&self, new: NewSession) -> Result<Created> {
        self.call("create", |call| async move { commands::create::run(&call, new).await }).await
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        self.make_many(new).await
    }

    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let id = session.id();
        match self.answer("get", id, |near_cache| near_cache.get(id)) {
            Some(session) => Ok(Some(session)),
            None => self.get_fresh(id).await,
        }
    }

    async fn get_fresh(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        let id = session.id();
        self.search("get", |call| async move { commands::get::run(&call, id).await }).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        self.call("update", |call| async move { commands::update::run(&call, session).await }).await
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        self.call("patch", |call| async move { commands::patch::run(&call, session, patch).await }).await
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        if let Some(session) = self.answer_untouched(session.id()) {
            return Ok(Some(Refreshed::of_untouched(&session)));
        }
        self.search("refresh", |call| async move { commands::refresh::run(&call, session).await }).await
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        if let Some(session) = self.answer_untouched(session.id()) {
            return Ok(Some(session));
        }
        let call = self
            .search("refresh", |call| async move { commands::refresh::run_and_get(&call, session).await });
        Ok(call.await?.map(|(session, _)| session))
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        if self.is_login_elsewhere(session, &rotation) {
            return self.log_in_elsewhere(session, rotation).await;
        }
        self.call("rotate", |call| async move { commands::rotate::run(&call, session, rotation).await }).await
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        self.call("bind", |call| async move { commands::bind::run(&call, session, binding).await }).await
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        let unbind = |call: Arc<Call>| async move { commands::unbind::run(&call, session, connection).await };
        self.end_one("unbind", unbind).await
    }

    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>> {
        let delete = |call: Arc<Call>| async move { commands::delete::run(&call, session).await };
        match self.search("delete", delete).await {
            // A login moved it to another partition.
            Err(Error::Refused(Refusal::Rotated { to: Some(to) })) => {
                let delete = |call: Arc<Call>| async move { commands::delete::run(&call, &to).await };
                match self.search("delete", delete).await {
                    // Another login has moved it again since: a delete follows only one.
                    Err(Error::Refused(Refusal::Rotated { .. })) => Ok(None),
                    deleted => deleted,
                }
            }
            deleted => deleted,
        }
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        match self.partitions().of_owner(of)[..] {
            [partition] => self.list_in(partition, of, page).await,
            _ => self.list_everywhere(of, page).await,
        }
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        self.call("count", |call| async move { commands::count::run(&call, of).await }).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        if !self.partitions().is_one() {
            return self.session_by_connection_everywhere(connection).await;
        }
        self.session_by_connection_in(Partition::default(), connection, None).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut deletion = commands::delete_user::Deletion::new(user, keep)?;
        let partition = self.partitions().of(user);
        let id = self.operation_id.unwrap_or_else(OperationId::random);
        loop {
            let deleting = &mut deletion;
            let whole =
                self.call_in(partition, "delete_user", Some(id), |call| async move {
                    deleting.batch(&call).await
                })
                .await;
            if whole? {
                return Ok(deletion.done);
            }
        }
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        if !self.partitions().is_one() {
            return self.expired_everywhere(before_ms, skip, limit).await;
        }
        let body =
            |call: Arc<Call>| async move { commands::expired::run(&call, before_ms, skip, limit).await };
        self.call("expired", body).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        let reaped = if self.partitions().is_one() {
            self.reap_in(Partition::default(), batch).await
        } else {
            self.reap_somewhere(batch).await
        };
        self.tidy(&reaped).await;
        reaped
    }

    async fn explain(&self, id: &SessionId) -> Result<Explanation> {
        self.call("explain", |call| async move { lookup::explain(&call, id).await }).await
    }

    fn rules(&self) -> &Rules {
        &self.config().rules
    }

    fn new_id(&self, user: &str) -> NewId {
        let operation = self.operation_id.unwrap_or_else(OperationId::random);
        self.partitions().new_id(&operation, user)
    }

    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        match from {
            Some(from) if user.is_empty() => {
                self.partitions().check_in(self.partitions().of(from.as_str()), id)
            }
            _ => self.partitions().check(id, user),
        }
    }

    async fn health(&self) -> Health {
        self.probe().await
    }

    async fn close(&self) {
        self.end_all();
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

impl RedisStore {
    /// A session for which a refresh would write nothing. Only the server knows whether a node holds its lease.
    fn answer_untouched(&self, id: &SessionId) -> Option<Session> {
        let is_fenced = self.identity.is_some();
        self.answer("refresh", id, |near_cache| {
            near_cache.get_untouched(id, self.rules()).filter(|_| !is_fenced)
        })
    }

    /// Tidies after a reap. It neither delays nor fails the report.
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
            tracing::debug!(%error, "indexes were not tidied this time");
        }
    }
}
