//! expired: lists the sessions that expired before a time.

use crate::model::{Expired, Result, check_count};
use crate::redis::bulk;
use crate::redis::call::Call;
use crate::redis::stored_id::told;

/// `before` is in milliseconds since the epoch, `None` for now. Entries that are not session ids are left out; a reaper
/// removes them.
pub(crate) async fn run(call: &Call, before: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
    check_count("page size", limit, Expired::LARGEST_PAGE)?;
    let page = bulk::expired(call, before, skip, limit).await?.into_iter();
    Ok(page.filter_map(|(id, expired_at_ms)| Some(Expired { id: told(&id)?, expired_at_ms })).collect())
}
