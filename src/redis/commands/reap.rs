//! reap: expired sessions removed with all their index entries, and handed out.

use crate::model::{Reaped, Result, SESSIONS_PER_SCRIPT, check_count};
use crate::redis::bulk as batch;
use crate::redis::call::Call;
use crate::redis::stored_id::told;

/// The oldest ones, as many as may be read at once.
pub(crate) async fn run(call: &Call, size: usize) -> Result<Reaped> {
    check_count("batch", size, SESSIONS_PER_SCRIPT)?;
    let mut reaped = Reaped::default();
    let mut stuck = 0;
    loop {
        // What cannot be removed stays the oldest, and must not keep the rest from being found.
        let page = batch::expired(call, None, stuck, size).await?;
        reaped.more = page.len() == size;
        if page.is_empty() {
            return Ok(reaped);
        }
        let ids: Vec<_> = page.into_iter().map(|(id, _)| id).collect();
        let outcome = batch::reap(call, &ids).await?;
        // What changed in between is found again by the next call.
        reaped.more |= outcome.left > 0 || !outcome.stale.is_empty();
        reaped.sessions = outcome.removed;
        (reaped.dropped, reaped.unreadable) = (outcome.dropped, reaped.unreadable + outcome.unreadable);
        stuck += outcome.corrupt.len();
        let is_stuck = outcome.corrupt.len() == size;
        for id in outcome.corrupt {
            match told(&id) {
                Some(id) => reaped.corrupt.push(id),
                None => reaped.unreadable += 1,
            }
        }
        if !is_stuck {
            return Ok(reaped);
        }
    }
}
