//! Sessions that have expired, and the result of a reap.

use std::time::SystemTime;

use crate::model::clock::system_time;
use crate::model::session::Session;
use crate::model::session_id::SessionId;

/// The result of a reap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// The sessions that this call removed. No other call returns them. They take 2 MiB at most, except that a single
    /// one may be larger.
    pub sessions: Vec<Session>,
    /// How many entries of the expiry index led to no session. The call dropped them.
    pub dropped: u64,
    /// How many more sessions were removed, or are corrupt, that cannot be returned: an id or another field is not
    /// valid text.
    pub unreadable: u64,
    /// Expired sessions that could not be removed, because something under their keys is corrupt. The call
    /// set them aside: for a week the record is under `{ns:p}:aside:<id>` (`ns` is the namespace, `p` the
    /// partition), so that you can look at it, and no later call meets it.
    pub corrupt: Vec<SessionId>,
    /// Whether there may be more: the batch was full, or the sessions were so large that some are left for the next
    /// call.
    pub more: bool,
}

impl Reaped {
    /// Whether the reap met anything that no later call meets.
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

    /// Merges the first entries of several partitions into a page, oldest first.
    pub(crate) fn merged(mut all: Vec<Self>, skip: usize, limit: usize) -> Vec<Self> {
        all.sort_by(|one, other| (one.expired_at_ms, &one.id).cmp(&(other.expired_at_ms, &other.id)));
        all.into_iter().skip(skip).take(limit).collect()
    }

    /// The most that one call reads.
    pub(crate) const LARGEST_PAGE: usize = 1000;
}
