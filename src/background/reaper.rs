//! The task that removes expired sessions.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::background::callback::{Callback, Panics};
use crate::background::shutdown::ShutdownSignal;
use crate::background::sweeper::{Sweep, Sweeper};
use crate::model::{Result, SESSIONS_PER_SCRIPT, Session, check_count};
use crate::store::session_store::SessionStore;

/// A task that removes expired sessions, batch by batch until none is left, and starts again after a pause. It ends
/// with [`stop`](Self::stop), or when this handle is dropped. Any number of processes may have one.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use cloakroom::{MemoryStore, Session};
/// # use cloakroom::background::Reaper;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// # let store = Arc::new(MemoryStore::builder().build()?);
/// let reaper = Reaper::builder(store)
///     .every(Duration::from_secs(5))
///     .on_removed(|session: &Session| println!("close {:?}", session.connection()))
///     .spawn()?;
/// let stats = reaper.stop().await;
/// assert_eq!(stats.removed, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "the reaper ends when its handle is dropped"]
pub struct Reaper {
    sweeper: Sweeper,
    counters: Arc<Counters>,
    panics: Panics,
}

#[derive(Debug, Default)]
struct Counters {
    removed: AtomicU64,
    dropped: AtomicU64,
    corrupt: AtomicU64,
}

/// The counts of a reaper so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaperStats {
    /// How many sweeps it finished: each ends when nothing is left.
    pub sweeps: u64,
    /// How many expired sessions it removed.
    pub removed: u64,
    /// How many entries of the expiry index led to no session.
    pub dropped: u64,
    /// How many expired sessions are corrupt and were set aside.
    pub corrupt: u64,
    /// How many sweeps failed. The next sweep tries again.
    pub errors: u64,
    /// How often the callback panicked.
    pub callback_panics: u64,
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Configures a [`Reaper`].
#[derive(Debug)]
#[must_use]
pub struct ReaperBuilder {
    store: Arc<dyn SessionStore>,
    every: Duration,
    batch: usize,
    on_removed: Callback<Session>,
}

impl ReaperBuilder {
    /// How long it pauses when nothing is left: 1 ms to a week. Each pause varies by a tenth, so that processes do not
    /// sweep at the same moments. Defaults to 10 seconds.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// How many sessions it removes per call, 1 to 200. Defaults to 200.
    pub fn batch(mut self, sessions: usize) -> Self {
        self.batch = sessions;
        self
    }

    /// The task calls this once per removed session. It runs in the reaper's task, so it should pass the session on and
    /// return. Defaults to nothing.
    pub fn on_removed(mut self, on_removed: impl Fn(&Session) + Send + Sync + 'static) -> Self {
        self.on_removed = Callback::new(on_removed);
        self
    }

    /// Starts the task.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names what is out of bounds, or that there is no Tokio runtime here.
    pub fn spawn(self) -> Result<Reaper> {
        let Self { store, every, batch, on_removed } = self;
        check_count("batch", batch, SESSIONS_PER_SCRIPT)?;
        let (counters, panics) = (Arc::new(Counters::default()), on_removed.panics());
        let reaping = Reaping { store, batch, on_removed, counters: counters.clone() };
        Ok(Reaper { sweeper: Sweeper::spawn(reaping, every)?, counters, panics })
    }
}

impl Reaper {
    /// Configures a reaper of a store.
    pub fn builder(store: Arc<dyn SessionStore>) -> ReaperBuilder {
        ReaperBuilder {
            store,
            every: Duration::from_secs(10),
            batch: SESSIONS_PER_SCRIPT,
            on_removed: Callback::default(),
        }
    }

    /// Its counts so far.
    #[must_use]
    pub fn stats(&self) -> ReaperStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReaperStats {
            sweeps: self.sweeper.sweeps(),
            removed: read(&self.counters.removed),
            dropped: read(&self.counters.dropped),
            corrupt: read(&self.counters.corrupt),
            errors: self.sweeper.errors(),
            callback_panics: self.panics.get(),
        }
    }

    /// Lets it finish its current batch, report the removed sessions, and end.
    pub async fn stop(self) -> ReaperStats {
        self.sweeper.stop().await;
        self.stats()
    }
}

/// The task's own side.
struct Reaping {
    store: Arc<dyn SessionStore>,
    batch: usize,
    on_removed: Callback<Session>,
    counters: Arc<Counters>,
}

impl Sweep for Reaping {
    const NAME: &'static str = "reaper";

    async fn sweep(&mut self, signal: &ShutdownSignal) -> Result<ControlFlow<()>> {
        let count = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        loop {
            let reaped = self.store.reap(self.batch).await?;
            count(&self.counters.removed, reaped.sessions.len());
            self.counters.dropped.fetch_add(reaped.dropped, Ordering::Relaxed);
            count(&self.counters.corrupt, reaped.corrupt.len());
            reaped.sessions.iter().for_each(|session| self.on_removed.call(session));
            if !reaped.more || !reaped.met_any() || signal.is_set() {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }
}
