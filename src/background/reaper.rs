//! The task that clears expired sessions away.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::background::shutdown::{Shutdown, ShutdownSignal, jittered, stop};
use crate::model::{BATCH, Result, Session, check_count, check_duration};
use crate::store::session_store::SessionStore;

/// The longest time between two sweeps: a week.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Takes each session that a reaper removed. It runs in the reaper's task, so it should hand on and return.
pub type OnRemoved = Box<dyn FnMut(Session) + Send>;

/// A task that reaps. It ends with [`stop`](Self::stop), or when this handle is dropped.
#[must_use = "the reaper ends when its handle is dropped"]
pub struct Reaper {
    stop: Shutdown,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    sweeps: AtomicU64,
    removed: AtomicU64,
    dropped: AtomicU64,
    corrupt: AtomicU64,
    errors: AtomicU64,
}

/// What a reaper did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaperStats {
    /// How often it looked until nothing was left.
    pub sweeps: u64,
    /// How many expired sessions it removed.
    pub removed: u64,
    /// How many entries of the expiry index led to no session.
    pub dropped: u64,
    /// How often it met a session that is corrupt and stays.
    pub corrupt: u64,
    /// How many calls failed. The next sweep tries again.
    pub errors: u64,
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Reaper {
    pub(crate) fn spawn(
        store: Arc<dyn SessionStore>,
        every: Duration,
        batch: usize,
        on_removed: OnRemoved,
    ) -> Result<Self> {
        check_count("batch", batch, BATCH)?;
        check_duration("every", every, Duration::from_millis(1), LONGEST_PAUSE)?;
        let (stop, stopped) = stop();
        let counters = Arc::new(Counters::default());
        let sweeper = Sweeper { store, batch, on_removed, counters: counters.clone(), stopped };
        tokio::spawn(sweeper.run(every));
        Ok(Self { stop, counters })
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> ReaperStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReaperStats {
            sweeps: read(&self.counters.sweeps),
            removed: read(&self.counters.removed),
            dropped: read(&self.counters.dropped),
            corrupt: read(&self.counters.corrupt),
            errors: read(&self.counters.errors),
        }
    }

    /// Lets it finish the batch it is at, hand out what that removed, and end.
    pub async fn stop(self) -> ReaperStats {
        self.stop.finish().await;
        self.stats()
    }
}

/// The task's own side.
struct Sweeper {
    store: Arc<dyn SessionStore>,
    batch: usize,
    on_removed: OnRemoved,
    counters: Arc<Counters>,
    stopped: ShutdownSignal,
}

impl Sweeper {
    async fn run(mut self, every: Duration) {
        while !self.stopped.is_set() {
            self.sweep().await;
            self.stopped.pause(jittered(every)).await;
        }
    }

    /// A batch after the other, until there are no more.
    async fn sweep(&mut self) {
        let count = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        loop {
            let reaped = match self.store.reap(self.batch).await {
                Ok(reaped) => reaped,
                Err(error) => {
                    tracing::warn!(%error, "reaping failed; the next sweep tries again");
                    count(&self.counters.errors, 1);
                    return;
                }
            };
            count(&self.counters.removed, reaped.sessions.len());
            self.counters.dropped.fetch_add(reaped.dropped, Ordering::Relaxed);
            count(&self.counters.corrupt, reaped.corrupt.len());
            let progress = !reaped.sessions.is_empty() || reaped.dropped > 0;
            for session in reaped.sessions {
                (self.on_removed)(session);
            }
            if !reaped.more || !progress {
                count(&self.counters.sweeps, 1);
                return;
            }
            if self.stopped.is_set() {
                return;
            }
        }
    }
}
