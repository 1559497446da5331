//! The steps of a migration, in Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Result,
    Session, SessionId, SessionRef, TaskId,
};
use crate::redis::call::Call;
use crate::redis::store::RedisStore;
use crate::redis::{commands, lookup};
use crate::store::migration_store::MigrationStore;
use crate::stored::partitions::Partition;

#[async_trait]
impl MigrationStore for RedisStore {
    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.search("export", |call| async move { lookup::export(&call, id).await }).await
    }

    async fn import(&self, import: Import) -> Result<bool> {
        let operation_id = import.operation_id;
        let body = |call: Arc<Call>| async move { commands::import::run(&call, import).await };
        self.call_as("import", operation_id, body).await
    }

    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen> {
        self.call("freeze", |call| async move { commands::freeze::run(&call, session, &freezing).await })
            .await
    }

    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
        self.end_one(
            "depart",
            |call| async move { commands::depart::run(&call, session, task, until_ms).await },
        )
        .await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
        self.call("thaw", |call| async move { commands::thaw::run(&call, id, task, direction).await }).await
    }

    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
        self.end_one("clean", |call| async move { commands::clean::run(&call, session, task, what).await })
            .await
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        if !self.partitions().is_one() {
            return self.migrations_everywhere(skip, limit).await;
        }
        self.migrations_in(Partition::default(), skip, limit).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.search("migration", |call| async move { commands::migrations::one(&call, id).await }).await
    }

    async fn knows(&self, id: &SessionId) -> Result<bool> {
        self.call("knows", |call| async move { commands::migrations::knows(&call, id).await }).await
    }

    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()> {
        let Leaving { version, new_id, operation_id, identity } = leaving;
        let store = Self { identity, ..self.clone() };
        let body =
            |call: Arc<Call>| async move { commands::delete::leave(&call, session, version, &new_id).await };
        store.call_as("leave", operation_id, body).await
    }

    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.search("extend", |call| async move { commands::refresh::extend(&call, session).await }).await
    }

    async fn fate(&self, id: &SessionId) -> Result<Fate> {
        self.call("fate", |call| async move { lookup::fate(&call, id).await }).await
    }

    async fn now(&self) -> Result<u64> {
        if let Some(clock) = &self.config().clock {
            return Ok(clock.now_ms());
        }
        let body = |call: Arc<Call>| async move { lookup::time(&call).await };
        self.call_in(Partition::default(), "now", self.operation_id, body).await
    }

    async fn stored(&self) -> Result<u64> {
        self.stored_everywhere().await
    }
}
