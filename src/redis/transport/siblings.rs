//! The state that the connections of a pool share, and the calls that wait for one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The state that the connections of a pool share.
#[derive(Debug)]
pub(crate) struct Siblings {
    /// How many of them broke or fell silent. If one did, the others may have too: a server that restarts ends them
    /// all, and a firewall that drops one silently drops the others. So each is checked before its next use.
    alarms: AtomicU64,
    /// Wakes calls that wait when a connection is available.
    woken: Notify,
    /// How long a connection may stay silent before it is given up.
    silence: Duration,
}

impl Siblings {
    pub(crate) fn new(silence: Duration) -> Self {
        Self { alarms: AtomicU64::new(0), woken: Notify::new(), silence }
    }

    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    pub(crate) fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::Relaxed)
    }

    pub(crate) fn alarm(&self) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wake(&self) {
        self.woken.notify_waiters();
    }

    /// A future that ends with the next wake after its creation.
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.woken.notified()
    }
}
