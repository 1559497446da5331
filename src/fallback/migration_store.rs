//! The steps of a migration: only the store executes them, and not while some of its sessions are here.

use async_trait::async_trait;

use crate::fallback::breaker::Access;
use crate::fallback::store::FallbackStore;
use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Result,
    Session, SessionId, SessionRef, TaskId,
};
use crate::store::migration_store::MigrationStore;

#[async_trait]
impl MigrationStore for FallbackStore {
    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.coordinator.whole(Access::Read, self.coordinator.store.export(id)).await
    }

    async fn import(&self, import: Import) -> Result<bool> {
        self.stale_cache(|cache| cache.forget(import.export.session.id()));
        let id = import.operation_id;
        let imported = self.coordinator.whole(Access::Write, self.coordinator.store.import(import)).await;
        imported.map_err(|error| error.under_given(id))
    }

    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen> {
        self.stale_cache(|cache| cache.forget(session.id()));
        self.coordinator.whole(Access::Write, self.coordinator.store.freeze(session, freezing)).await
    }

    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
        let departed = self
            .coordinator
            .whole(Access::Write, self.coordinator.store.depart(session, task, until_ms))
            .await;
        self.stale_cache(|cache| cache.forget(session.id()));
        departed
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
        self.stale_cache(|cache| cache.forget(id));
        self.coordinator.whole(Access::Write, self.coordinator.store.thaw(id, task, direction)).await
    }

    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
        let cleaned =
            self.coordinator.whole(Access::Write, self.coordinator.store.clean(session, task, what)).await;
        self.stale_cache(|cache| cache.forget(session.id()));
        cleaned
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        self.coordinator.through(Access::Read, self.coordinator.store.migrations(skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.coordinator.through(Access::Read, self.coordinator.store.migration(id)).await
    }

    async fn knows(&self, id: &SessionId) -> Result<bool> {
        self.coordinator.whole(Access::Read, self.coordinator.store.knows(id)).await
    }

    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()> {
        let id = leaving.operation_id;
        let left =
            self.coordinator.whole(Access::Write, self.coordinator.store.leave(session, leaving)).await;
        self.stale_cache(|cache| cache.forget(session.id()));
        left.map_err(|error| error.under_given(id))
    }

    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.coordinator.whole(Access::Write, self.coordinator.store.extend(session)).await
    }

    async fn fate(&self, id: &SessionId) -> Result<Fate> {
        self.coordinator.whole(Access::Read, self.coordinator.store.fate(id)).await
    }

    async fn now(&self) -> Result<u64> {
        self.coordinator.through(Access::Read, self.coordinator.store.now()).await
    }

    async fn stored(&self) -> Result<u64> {
        self.coordinator.whole(Access::Read, self.coordinator.store.stored()).await
    }
}
