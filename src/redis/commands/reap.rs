//! reap: expired sessions removed with all their index entries, and handed out.

use crate::model::{Reaped, Result, SessionId};
use crate::redis::bulk as batch;
use crate::redis::call::Call;

/// `ids` have expired when they were read.
pub(crate) async fn run(call: &Call, ids: Vec<SessionId>) -> Result<Reaped> {
    let candidates = batch::candidates(call, ids).await?;
    if candidates.is_empty() {
        return Ok(Reaped::default());
    }
    let (outcome, dropped) = batch::reap(call, &candidates).await?;
    // What changed in between is found again by the next call.
    Ok(Reaped { sessions: outcome.removed, dropped, corrupt: outcome.corrupt, more: false })
}
