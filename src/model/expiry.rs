//! Sessions that have expired, and what a reap removed.

use std::time::SystemTime;

use crate::model::clock::system_time;
use crate::model::session::Session;
use crate::model::session_id::SessionId;

/// What a reap came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// The sessions that were removed: by this call, and returned to no other. They take 2 MiB at most, but for one that is
    /// larger by itself.
    pub sessions: Vec<Session>,
    /// Entries of the expiry index that led to no session and were dropped.
    pub dropped: u64,
    /// How many more were removed, or are corrupt, that cannot be told: an id or something in the session is no text.
    pub unreadable: u64,
    /// What expired and cannot be removed, because it is corrupt, or something under its keys is. It was set aside: what was
    /// under its record's key is under `{ns:p}:aside:<id>` for a week, to be looked at, and no later call comes by it.
    pub corrupt: Vec<SessionId>,
    /// Whether there may be more: as many were found as asked for, or they were so large that some stay for the next call.
    pub more: bool,
}

impl Reaped {
    /// Whether it met anything that no later call meets.
    pub(crate) fn met_any(&self) -> bool {
        self.sessions.len() + self.corrupt.len() > 0 || self.dropped + self.unreadable > 0
    }
}

/// A session that has expired and was not reaped yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// The session's id.
    pub id: SessionId,
    /// When it expired, in milliseconds since the epoch.
    pub expired_at_ms: u64,
}

impl Expired {
    /// When it expired.
    #[must_use]
    pub fn expired_at(&self) -> SystemTime {
        system_time(self.expired_at_ms)
    }

    /// A page out of the first ones of several places, oldest first.
    pub(crate) fn merged(mut all: Vec<Self>, skip: usize, limit: usize) -> Vec<Self> {
        all.sort_by(|one, other| (one.expired_at_ms, &one.id).cmp(&(other.expired_at_ms, &other.id)));
        all.into_iter().skip(skip).take(limit).collect()
    }

    /// How many are read at once at most.
    pub(crate) const LARGEST_PAGE: usize = 1000;
}
