//! The expired sessions of both stores.

use crate::draining::store::DrainingStore;
use crate::model::{Error, Expired, Reaped, Result};
use crate::store::Store;

impl DrainingStore {
    /// A page of both, oldest first.
    pub(crate) async fn expired_in_both(
        &self,
        before_ms: Option<u64>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Expired>> {
        let wanted = skip.saturating_add(limit);
        let mut all = first_expired(&*self.new, before_ms, wanted, limit).await?;
        all.extend(first_expired(&*self.old, before_ms, wanted, limit).await?);
        Ok(Expired::merged(all, skip, limit))
    }

    /// Reaps a batch of one store, the old one first, because it empties. A lost reply loses the report of
    /// that batch.
    pub(crate) async fn reap_in_either(&self, batch: usize) -> Result<Reaped> {
        match self.old.reap(batch).await {
            Ok(reaped) if reaped == Reaped::default() => self.new.reap(batch).await,
            Ok(reaped) => Ok(Reaped { more: true, ..reaped }),
            Err(away @ Error::NotExecuted { .. }) => match self.new.reap(batch).await? {
                // The other store does not wait, and the caller gets the error.
                reaped if reaped == Reaped::default() => Err(away),
                reaped => Ok(reaped),
            },
            Err(error) => Err(error),
        }
    }
}

/// The first expired sessions of a store, read in pages of the limit. The store checks the limit.
async fn first_expired(
    store: &dyn Store,
    before_ms: Option<u64>,
    wanted: usize,
    limit: usize,
) -> Result<Vec<Expired>> {
    let mut all = Vec::new();
    loop {
        let page = store.expired(before_ms, all.len(), limit).await?;
        let is_last = page.len() < limit;
        all.extend(page);
        if is_last || all.len() >= wanted {
            return Ok(all);
        }
    }
}
