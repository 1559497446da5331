//! Where a call on a session goes.

use crate::model::{Error, Obstacle};

/// Where a call on a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To the store.
    Store,
    /// To the memory of this process.
    Local,
    /// Nowhere: the session was logged out here.
    Nowhere,
    /// Nowhere that is told: a login here left the id.
    Left,
}

/// Whether a call takes in a session that was seen lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopt {
    Yes,
    No,
}

/// That the store is away, and nothing else can answer.
pub(crate) fn open() -> Error {
    Error::obstacle(Obstacle::CircuitOpen, None)
}
