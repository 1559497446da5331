//! One session given to another node of its store: by one script, so there is nothing to resume.

use crate::migration::retry::Retry;
use crate::migration::transfer::Outcome;
use crate::model::{Claim, Error, Obstacle, Refusal, Result, SessionId};
use crate::store::Store;

/// How often a session is read again that kept changing.
const READS: u32 = 4;

/// Gives a session to a node, and tells its id by now. It comes from the node `from`, or else from the one where it is
/// found: if its client takes it to a third one meanwhile, it stays there, for a connection would be lost.
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
            (None, None) => return Err(Error::invalid("session", "is at no node, must be at one")),
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
        // Changed, or an earlier attempt took it and its answer was lost: reading it tells.
    }
    Err(Error::obstacle(Obstacle::Contended, None))
}
