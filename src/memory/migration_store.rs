//! The steps of a migration, in memory.

use async_trait::async_trait;

use crate::memory::ops::{clean, delete, depart, freeze, get, import, migrations, refresh, thaw};
use crate::memory::store::MemoryStore;
use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Result,
    Session, SessionId, SessionRef, TaskId,
};
use crate::store::migration_store::MigrationStore;

#[async_trait]
impl MigrationStore for MemoryStore {
    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.search("export", |call| import::export(&call, id)).await
    }

    async fn import(&self, import: Import) -> Result<bool> {
        let id = import.operation_id;
        self.run_as("import", id, |call| import::run(call, &import))
    }

    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen> {
        self.run("freeze", |call| freeze::run(call, session, &freezing)).await
    }

    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
        self.end_one("depart", |call| depart::run(call, session, task, until_ms)).await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
        self.run("thaw", |call| thaw::run(call, id, task, direction)).await
    }

    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
        self.end_one("clean", |call| clean::run(call, session, task, what)).await
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        self.run("migrations", |call| migrations::run(call, skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.search("migration", |call| Ok(migrations::one(&call, id))).await
    }

    async fn knows(&self, id: &SessionId) -> Result<bool> {
        self.run("knows", |call| Ok(migrations::knows(&call, id))).await
    }

    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()> {
        let store = Self { identity: leaving.identity.clone(), ..self.clone() };
        store.run_as("leave", leaving.operation_id, |call| delete::leave(call, session, &leaving))
    }

    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.search("extend", |call| refresh::extend(call, session)).await
    }

    async fn fate(&self, id: &SessionId) -> Result<Fate> {
        self.run("fate", |call| Ok(get::fate(&call, id))).await
    }

    async fn now(&self) -> Result<u64> {
        self.run("now", |call| Ok(call.now)).await
    }

    async fn stored(&self) -> Result<u64> {
        self.run("stored", |call| Ok(call.memory.shards.stored() as u64)).await
    }
}
