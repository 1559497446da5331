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
    /// Nowhere: a login here gave up the id.
    Left,
}

/// Whether a call may take in a session that was seen lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopt {
    Yes,
    No,
}

/// The error when the store is away and nothing else can answer.
pub(crate) fn open() -> Error {
    Error::obstacle(Obstacle::CircuitOpen, None)
}
