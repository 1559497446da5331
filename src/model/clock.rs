//! The time that calls pass to the scripts: normally none, because the scripts ask the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock that stands still until it is moved, for tests of an application that uses sessions.
///
/// All stores that share a namespace must share it. It decides which sessions are live and which have expired, how long
/// the id of a deleted session stays closed, and how long the old id of a rotated session leads to it. The TTLs of the
/// keys in Redis still run by the server's clock, as a safety net. Background tasks such as a
/// [`Reaper`](crate::background::Reaper) pause by real time: give them a short pause in a test, or call `reap`
/// yourself. The module's page has an example.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// The time that it shows, in milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(any(test, feature = "test-util"))]
impl TestClock {
    /// A clock that shows the present time of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(machine_ms())))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(crate::model::duration::ms(by), Ordering::SeqCst);
    }

    /// Sets it, also to an earlier time.
    pub fn set_ms(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

/// A point in time that does not move when the machine's clock is changed. Only a test's clock moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Instant {
    Machine(std::time::Instant),
    Test(u64),
}

impl Instant {
    pub(crate) fn now(clock: Option<&TestClock>) -> Self {
        clock.map_or_else(|| Self::Machine(std::time::Instant::now()), |clock| Self::Test(clock.now_ms()))
    }

    /// How long ago it is, by the clock that it was taken from.
    pub(crate) fn age(self, clock: Option<&TestClock>) -> Duration {
        match (self, Self::now(clock)) {
            (Self::Machine(then), Self::Machine(now)) => now.duration_since(then),
            (Self::Test(then), Self::Test(now)) => Duration::from_millis(now.saturating_sub(then)),
            // A store has one kind of clock.
            (Self::Machine(_), Self::Test(_)) | (Self::Test(_), Self::Machine(_)) => Duration::MAX,
        }
    }
}

/// The time of this machine, for a store without a server, unless a test set another.
pub(crate) fn now_ms(clock: Option<&TestClock>) -> u64 {
    clock.map_or_else(machine_ms, TestClock::now_ms)
}

fn machine_ms() -> u64 {
    crate::model::duration::ms(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

#[cfg(any(test, feature = "test-util"))]
impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Milliseconds since the epoch as a time of the standard library.
pub(crate) fn system_time(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}
