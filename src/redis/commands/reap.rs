//! reap: removes expired sessions with all their index entries, and returns them.

use crate::model::{Reaped, Result, SESSIONS_PER_SCRIPT, check_count};
use crate::redis::bulk as batch;
use crate::redis::call::Call;
use crate::redis::stored_id::told;
use crate::store::meter;

/// Reaps the oldest expired sessions, as many as one read may take.
pub(crate) async fn run(call: &Call, size: usize) -> Result<Reaped> {
    check_count("batch", size, SESSIONS_PER_SCRIPT)?;
    call.changes();
    let page = batch::expired(call, None, 0, size).await?;
    let is_full = page.len() == size;
    if page.is_empty() {
        return Ok(Reaped::default());
    }
    let ids: Vec<_> = page.into_iter().map(|(id, _)| id).collect();
    let outcome = batch::reap(call, &ids).await?;
    let corrupt: Vec<_> = outcome.corrupt.iter().filter_map(|id| told(id)).collect();
    let reaped = Reaped {
        sessions: outcome.removed,
        dropped: outcome.dropped,
        unreadable: outcome.unreadable + (outcome.corrupt.len() - corrupt.len()) as u64,
        corrupt,
        // The next call finds again what changed in between.
        more: is_full || outcome.left > 0 || !outcome.stale.is_empty(),
    };
    meter::reaped(&reaped, call.known_time());
    Ok(reaped)
}
