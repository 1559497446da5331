//! What has expired in both stores.

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

    /// A batch of one store, the old one first: it has an end. A reply that is lost loses the report of one.
    pub(crate) async fn reap_in_either(&self, batch: usize) -> Result<Reaped> {
        match self.old.reap(batch).await {
            Ok(reaped) if reaped == Reaped::default() => self.new.reap(batch).await,
            Ok(reaped) => Ok(Reaped { more: true, ..reaped }),
            Err(away @ Error::NotExecuted { .. }) => match self.new.reap(batch).await? {
                // The other one is not kept waiting, and somebody is told.
                reaped if reaped == Reaped::default() => Err(away),
                reaped => Ok(reaped),
            },
            Err(error) => Err(error),
        }
    }
}

/// The first so many that have expired in a store, read by pages of the limit, which the store checks.
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
