//! What became of the sessions that were kept during an outage.

use crate::model::{Refusal, SessionId};

/// What became of all sessions and logouts that were kept during an outage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// How many logouts and deletions were applied. Logging a user out everywhere counts as one.
    pub revoked: u64,
    /// Sessions that the store now has as they were here.
    pub imported: Vec<SessionId>,
    /// Sessions that have ended: deleted or expired in the store meanwhile, or expired here.
    pub dropped: Vec<SessionId>,
    /// Sessions in whose place the store kept another version or session, with its refusal.
    pub conflicts: Vec<(SessionId, Refusal)>,
}

/// What became of one session.
#[derive(Debug)]
pub(crate) enum Fate {
    Imported,
    /// The store has it no longer.
    Dropped,
    /// It is no longer here.
    Expired,
    Conflict(Refusal),
}

impl Reconciled {
    pub(crate) fn note(&mut self, id: SessionId, fate: Fate) {
        match fate {
            Fate::Imported => self.imported.push(id),
            Fate::Dropped | Fate::Expired => self.dropped.push(id),
            Fate::Conflict(refusal) => self.conflicts.push((id, refusal)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.revoked == 0 && self.imported.is_empty() && self.dropped.is_empty() && self.conflicts.is_empty()
    }
}
