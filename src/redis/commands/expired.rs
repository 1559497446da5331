//! expired: the sessions that expired before a time.

use crate::model::{Expired, Result, check_count};
use crate::redis::bulk;
use crate::redis::call::Call;
use crate::redis::stored_id::told;

/// `before` in milliseconds since the epoch, `None` for now. What is no session id is left out, for the reaper to remove.
pub(crate) async fn run(call: &Call, before: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
    check_count("page size", limit, Expired::LARGEST_PAGE)?;
    let page = bulk::expired(call, before, skip, limit).await?.into_iter();
    Ok(page.filter_map(|(id, expired_at_ms)| Some(Expired { id: told(&id)?, expired_at_ms })).collect())
}
