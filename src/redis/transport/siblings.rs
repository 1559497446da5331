//! What the connections of a pool tell each other, and whoever waits for one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What the connections of a pool share.
#[derive(Debug)]
pub(crate) struct Siblings {
    /// How many of them broke or fell silent. Where one did, the others may have too: a server that restarts ends them
    /// all, and who drops one without a word drops the others. So each is asked before its next use.
    alarms: AtomicU64,
    /// Whoever waits for a connection is woken when one can be had.
    woken: Notify,
    /// How long a connection may answer nothing until it is given up.
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

    /// Ends with the next wake after it was made.
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.woken.notified()
    }
}
