//! Gives one session to another node of its store. One script does it, so there is nothing to resume.

use crate::migration::retry::Retry;
use crate::migration::transfer::Outcome;
use crate::model::{Claim, Error, Obstacle, Refusal, Result, SessionId};
use crate::store::Store;

/// How often a session that keeps changing is read again.
const READS: u32 = 4;

/// Gives a session to a node, and returns its current id. It takes the session from the node `from`, or from the one
/// that has it. If the client binds the session to a third node meanwhile, it stays there, so that no connection is
/// lost.
pub(crate) async fn reassign(
    store: &dyn Store,
    retry: &Retry,
    id: &SessionId,
    mut from: Option<String>,
    to: &str,
) -> Result<(SessionId, Outcome)> {
    for _ in 0..READS {
        let Some(session) = retry.with(|| store.get_fresh(id)).await? else {
            return Ok((id.clone(), Outcome::Missing));
        };
        let id = session.id().clone();
        let from = match (&mut from, session.node()) {
            (_, Some(node)) if node == to => return Ok((id, Outcome::Arrived)),
            (None, None) => return Err(Error::invalid("session", "has no node, must have one")),
            (from @ None, Some(node)) => from.insert(node.to_owned()),
            (Some(from), Some(node)) if node == from => from,
            (Some(_), _) => return Ok((id, Outcome::Elsewhere)),
        };
        let claim = Claim::new(from.as_str(), to).even_if_leased().only([id.clone()]);
        let claimed = retry.with(|| store.recover(claim.clone())).await?;
        if !claimed.sessions.is_empty() {
            return Ok((id, Outcome::Arrived));
        }
        if !claimed.frozen.is_empty() {
            return Err(Error::Refused(Refusal::Frozen));
        }
        if !claimed.corrupt.is_empty() {
            return Err(Error::corrupt("session"));
        }
        // The session changed, or an earlier attempt took it and the answer was lost: a read will show.
    }
    Err(Error::obstacle(Obstacle::Contended, None))
}
