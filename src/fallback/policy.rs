//! What is answered while the store is away.

use std::time::Duration;

use crate::fallback::breaker::BreakerState;

/// What a [`FallbackStore`](crate::fallback::FallbackStore) does while its store is away, each with what it can lose.
///
/// Under every policy a session that cannot be asked for is an error, never "no such session".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FallbackPolicy {
    /// Every call fails, at once. Nobody is logged in meanwhile, and nothing is lost: after the outage everything is as it
    /// was.
    #[default]
    FailClosed,
    /// `get`, `refresh_and_get` and `session_by_connection` answer with what this process saw of a session no longer ago
    /// than `max_age`, marked [`Stale`](crate::fallback::Origin::Stale); everything else fails.
    ///
    /// Whoever was seen lately stays logged in, for `max_age` at most, **even if they were logged out elsewhere
    /// meanwhile**. A logout fails, and says so; this process then at least forgets what it saw. That a session is used
    /// is not noted: one whose ttl runs out during the outage has expired after it. Nothing is lost.
    ServeStale {
        /// How old an answer may be. 1 ms to 1 hour.
        max_age: Duration,
    },
    /// Sessions are made and changed in this process's memory, marked [`Local`](crate::fallback::Origin::Local), and brought to the
    /// store when it is back. Those that this process saw within `ttl` go on; of others nothing is known, and calls for
    /// them fail. Lists and counts fail.
    ///
    /// Each process is alone: a session made here is unknown to the others, one that is **logged out elsewhere stays
    /// logged in here until the outage is over**, and the limit of sessions a user does not see what others make. Logouts
    /// made here hold here at once, and for everybody as soon as the store is back: they are applied first. Then what the
    /// store has wins: a session that was deleted, changed, or expired there meanwhile is dropped here. **All of it is
    /// lost if this process ends** before the store is back, logouts included.
    LocalOnly {
        /// How long such a session lives without being used, if its own ttl is not shorter; and how long ago a session of
        /// the store may have been seen to go on here. 1 ms to 1 hour.
        ttl: Duration,
    },
}

/// What a [`FallbackStore`](crate::fallback::FallbackStore) did so far, and how it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackStats {
    /// Whether calls go to the store.
    pub breaker: BreakerState,
    /// How often the breaker opened.
    pub opened: u64,
    /// How many calls failed because it was open.
    pub rejected: u64,
    /// How often it was asked whether the store is back.
    pub probes: u64,
    /// How many sessions were answered from what was seen before.
    pub stale: u64,
    /// How many sessions are kept in this process, to be brought to the store.
    pub local: usize,
    /// How many logouts are remembered, to be applied to the store.
    pub pending_revocations: usize,
    /// How many of them were applied.
    pub revoked: u64,
    /// How many sessions were brought to the store.
    pub imported: u64,
    /// How many were dropped, because the store no longer has what they were made from, or they expired.
    pub dropped: u64,
    /// How many were dropped, because the store has something else in their place.
    pub conflicts: u64,
    /// How often a callback panicked.
    pub callback_panics: u64,
}
