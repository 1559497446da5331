//! How to answer while the store is away.

use std::time::Duration;

use crate::fallback::breaker::BreakerState;

/// What a [`FallbackStore`](crate::fallback::FallbackStore) does while its store is away, and what each policy can
/// lose.
///
/// Under every policy, a session that cannot be read is an error, never "no such session".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FallbackPolicy {
    /// Every call fails at once. No request finds its session during the outage, and nothing is lost: afterwards
    /// everything is as it was.
    #[default]
    FailClosed,
    /// `get`, `refresh_and_get` and `session_by_connection` answer with what this process saw of a session at most
    /// `max_age` ago, marked [`Stale`](crate::fallback::Origin::Stale). Everything else fails.
    ///
    /// A user who was seen lately stays logged in for `max_age` at most, **even if they were logged out elsewhere
    /// meanwhile**. A logout fails with an error; this process then at least forgets the session. Uses are not
    /// recorded: a session whose ttl runs out during the outage is gone after it. Nothing else is lost.
    ServeStale {
        /// How old an answer may be. 1 ms to 1 hour.
        max_age: Duration,
    },
    /// This process creates and changes sessions in its memory, marked [`Local`](crate::fallback::Origin::Local), and
    /// writes them back when the store returns. Sessions that it saw within `ttl` go on; it knows nothing of others,
    /// and calls for them fail. Lists and counts fail.
    ///
    /// Each process is alone: other processes do not know a session that was created here, a session that was **logged
    /// out elsewhere stays logged in here until the outage is over**, and the session limit per user does not see other
    /// processes' sessions. A logout made here holds here at once. When the store returns, logouts are applied first
    /// and then hold for everybody. After that the store's version wins: a session that was deleted, changed or expired
    /// there meanwhile is dropped here. **All of it, including logouts, is lost if this process ends** before the store
    /// is back.
    LocalOnly {
        /// How long such a session lives unused, unless its own ttl is shorter. Also how long ago this process may have
        /// seen a session of the store for it to go on here. 1 ms to 1 hour.
        ttl: Duration,
    },
}

/// The counts and the present state of a [`FallbackStore`](crate::fallback::FallbackStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackStats {
    /// Whether calls go to the store.
    pub breaker: BreakerState,
    /// How often the breaker opened.
    pub opened: u64,
    /// How many calls failed because it was open.
    pub rejected: u64,
    /// How many probes asked whether the store is back.
    pub probes: u64,
    /// How many answers came from copies seen before.
    pub stale: u64,
    /// How many sessions this process keeps, to write back to the store.
    pub local: usize,
    /// How many logouts this process remembers, to apply to the store.
    pub pending_revocations: usize,
    /// How many logouts were applied to the store.
    pub revoked: u64,
    /// How many sessions were written back to the store.
    pub imported: u64,
    /// How many were dropped because the store no longer has their session, or because they expired.
    pub dropped: u64,
    /// How many were dropped because the store has another version or session in their place.
    pub conflicts: u64,
    /// How often a callback panicked.
    pub callback_panics: u64,
}
