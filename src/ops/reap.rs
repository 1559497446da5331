//! reap: expired sessions removed with all their index entries, and handed out.

use crate::batch;
use crate::batch::BATCH;
use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::session::Session;

/// What a reap came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reaped {
    /// The sessions that were removed: by this call, and returned to no other.
    pub sessions: Vec<Session>,
    /// Entries of the expiry index that led to no session and were dropped.
    pub dropped: u64,
    /// What expired and cannot be removed, because something under its keys is corrupt. Nothing of it was changed.
    pub corrupt: Vec<SessionId>,
    /// Whether as many were found as asked for, so that there may be more.
    pub more: bool,
}

/// `ids` have expired when they were read.
pub(crate) async fn run(operation: &Operation<'_>, ids: Vec<SessionId>) -> Result<Reaped> {
    let candidates = batch::candidates(operation, ids).await?;
    if candidates.is_empty() {
        return Ok(Reaped::default());
    }
    let (outcome, dropped) = batch::reap(operation, &candidates).await?;
    // What changed in between is found again by the next call.
    Ok(Reaped { sessions: outcome.removed, dropped, corrupt: outcome.corrupt, more: false })
}

/// How many to look for at once.
pub(crate) fn check_batch(batch: usize) -> Result<()> {
    if batch == 0 || batch > BATCH {
        return Err(Error::invalid("batch", format!("is {batch}, must be 1 to {BATCH}")));
    }
    Ok(())
}
