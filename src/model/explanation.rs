//! What became of an id: for support staff, and for the user.

use std::time::SystemTime;

use crate::model::clock::system_time;

/// What became of an id, as far as the store remembers. It reveals no other id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// It has a live session.
    Live,
    /// Its session expired, and was not reaped yet.
    Expired {
        /// When it expired, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Its session was deleted a moment ago.
    Deleted,
    /// Its session has a newer id, by a rotation a moment ago.
    Rotated {
        /// Whether the rotation changed the user: a login, or a logout that kept the session.
        by_login: bool,
    },
    /// Its session has gone to another store by a migration.
    Departed {
        /// The migration's name for that store.
        place: String,
    },
    /// The store knows nothing of it: it never existed, or it ended too long ago.
    Unknown,
}

impl Explanation {
    /// A word for it that never changes: for logs, and for pages that a user reads.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired { .. } => "expired",
            Self::Deleted => "deleted",
            Self::Rotated { .. } => "rotated",
            Self::Departed { .. } => "departed",
            Self::Unknown => "unknown",
        }
    }

    /// When its session expired, if it did.
    #[must_use]
    pub fn expired_at(&self) -> Option<SystemTime> {
        match self {
            Self::Expired { at_ms } => Some(system_time(*at_ms)),
            _ => None,
        }
    }
}
