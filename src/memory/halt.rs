//! Why an attempt of a call ends before it writes anything.

use crate::memory::reach::Reach;
use crate::memory::record::Departure;
use crate::model::{OperationId, Refusal, SessionId};

/// Why an attempt ended before it wrote anything.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It has to hold these shards too.
    Need(Reach),
    /// The session has this id now.
    Rotated(SessionId),
    /// This expired session is in the way.
    Reap(SessionId),
    /// The user has far too many sessions: these go first.
    Remove(String, Vec<SessionId>),
    /// The store has as many sessions as it may, and none is known that could make way.
    Full,
    /// What is stored cannot tell whether the call under this id has happened.
    Unsure(OperationId),
    /// The caller's to know.
    Refused(Refusal),
}

/// There is no live session.
pub(crate) fn missing() -> Halt {
    Halt::Refused(Refusal::Missing)
}

/// A login left the id for one that is not told.
pub(crate) fn left() -> Halt {
    Halt::Refused(Refusal::Rotated { to: None })
}

/// The session has gone to another store.
pub(crate) fn departed(departure: &Departure) -> Halt {
    Halt::Refused(Refusal::Departed { place: departure.place.clone() })
}

/// That a node does not hold its lease, or not the session.
pub(crate) fn fenced() -> Halt {
    Halt::Refused(Refusal::Fenced)
}
