//! What became of an id, for whoever is asked about it.

use std::time::SystemTime;

use crate::model::clock::system_time;

/// What became of an id, as far as a store remembers. It names no other id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// It has a live session.
    Live,
    /// Its session expired, and was not reaped yet.
    Expired {
        /// When, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Its session was deleted a moment ago.
    Deleted,
    /// Its session has a newer id, by a rotation a moment ago.
    Rotated {
        /// Whether the user changed with it: a login, or a logout that kept the session.
        by_login: bool,
    },
    /// Its session has gone to another store by a migration.
    Departed {
        /// What the migration calls that store.
        place: String,
    },
    /// Nothing is known of it: it never was, or is over for longer than the store remembers.
    Unknown,
}

impl Explanation {
    /// One word for it, which does not change: for logs and for pages that tell a user.
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

    /// When its session expired, if that is what became of it.
    #[must_use]
    pub fn expired_at(&self) -> Option<SystemTime> {
        match self {
            Self::Expired { at_ms } => Some(system_time(*at_ms)),
            _ => None,
        }
    }
}
