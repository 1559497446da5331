//! The steps of a migration: they act on a session where it is, and import into the new store.

use async_trait::async_trait;

use crate::draining::store::{DrainingStore, is_false, is_missing, is_none};
use crate::model::{
    Direction, Error, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations,
    Refusal, Result, Session, SessionId, SessionRef, TaskId,
};
use crate::store::Store;
use crate::store::join::PendingCall;
use crate::store::migration_store::MigrationStore;

#[async_trait]
impl MigrationStore for DrainingStore {
    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.step(is_none, |store| Box::pin(store.export(id))).await
    }

    /// Imports into the store that has the session, otherwise into the new one.
    async fn import(&self, import: Import) -> Result<bool> {
        match self.old.fate(import.export.session.id()).await? {
            Fate::Live => self.old.import(import).await,
            _ => self.new.import(import).await,
        }
    }

    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen> {
        self.step(is_missing, |store| Box::pin(store.freeze(session, freezing.clone()))).await
    }

    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
        self.step(is_false, |store| Box::pin(store.depart(session, task, until_ms))).await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
        self.step(is_missing, |store| Box::pin(store.thaw(id, task, direction))).await
    }

    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
        self.step(is_false, |store| Box::pin(store.clean(session, task, what))).await
    }

    /// Reads the pages of the old store, then those of the new one.
    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        let mut old = 0;
        loop {
            let page = self.old.migrations(old, limit).await?;
            let behind = page.next.unwrap_or(old + page.migrations.len());
            let is_here = skip < behind || (page.next.is_some() && skip == behind);
            if is_here {
                let page = self.old.migrations(skip, limit).await?;
                let next = page.next.or(Some(skip + page.migrations.len()));
                return Ok(Migrations { next, ..page });
            }
            if page.next.is_none() {
                let page = self.new.migrations(skip - behind, limit).await?;
                let next = page.next.map(|next| behind + next);
                return Ok(Migrations { next, ..page });
            }
            old = behind;
        }
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.step(is_none, |store| Box::pin(store.migration(id))).await
    }

    async fn knows(&self, id: &SessionId) -> Result<bool> {
        self.step(is_false, |store| Box::pin(store.knows(id))).await
    }

    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()> {
        self.step(is_missing, |store| Box::pin(store.leave(session, leaving.clone()))).await
    }

    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.step(is_none, |store| Box::pin(store.extend(session))).await
    }

    async fn fate(&self, id: &SessionId) -> Result<Fate> {
        let is_unknown = |fate: &Result<Fate>| matches!(fate, Ok(Fate::Unknown));
        self.step(is_unknown, |store| Box::pin(store.fate(id))).await
    }

    async fn now(&self) -> Result<u64> {
        self.new.now().await
    }

    async fn stored(&self) -> Result<u64> {
        Ok(self.new.stored().await? + self.old.stored().await?)
    }
}

impl DrainingStore {
    /// Asks the new store, and then the old one if the new one has no such session.
    async fn step<'a, T>(
        &'a self,
        is_absent: fn(&Result<T>) -> bool,
        ask: impl Fn(&'a dyn Store) -> PendingCall<'a, Result<T>>,
    ) -> Result<T> {
        let first = ask(&*self.new).await;
        if !is_absent(&first) {
            return first;
        }
        match ask(&*self.old).await {
            Err(Error::Refused(Refusal::Missing)) => first,
            second => second,
        }
    }
}
