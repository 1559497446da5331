//! Finds room for one more session.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::model::{Result, SessionId};

/// Finds room for one more session: free room, or that of the returned session, which has expired and is locked with
/// its entries. So the expired one is removed in the same step in which the other comes, or not at all.
pub(crate) fn find(call: &Call<'_>, locked: &mut LockedShards<'_>) -> Result<Option<SessionId>, Halt> {
    if locked.reserve(call.memory.capacity) {
        return Ok(None);
    }
    let oldest = call.oldest.as_ref().ok_or(Halt::Full)?;
    locked.need([oldest.as_str()])?;
    match locked.record(oldest, call.now) {
        Some(record) if record.is_session() && record.expires_at <= call.now => {
            locked.need_session(oldest, record)?;
            Ok(Some(oldest.clone()))
        }
        _ => Err(Halt::Full),
    }
}
