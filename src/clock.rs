//! The time that the scripts are told: normally none, for they ask the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock that stands still until it is moved, for tests of an application that uses sessions.
///
/// All stores that share a namespace must share it. It decides what is live and what has expired; the TTLs of the keys
/// in Redis run by the server's clock all the same, as a safety net.
///
/// ```
/// use cloakroom::TestClock;
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let before = clock.now_ms();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now_ms(), before + 60_000);
/// ```
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// A clock that shows the present time of this machine.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(AtomicU64::new(crate::rules::ms(since_epoch))))
    }

    /// What it shows, in milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(crate::rules::ms(by), Ordering::SeqCst);
    }

    /// Sets it, to an earlier time too.
    pub fn set_ms(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}
