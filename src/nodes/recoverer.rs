//! The task that takes over the sessions of dead nodes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::background::reaper::LONGEST_PAUSE;
use crate::background::shutdown::{Shutdown, ShutdownSignal, jittered, stop};
use crate::model::{BATCH, Claim, Error, RecoveredSession, Refusal, Result, check_count, check_duration};
use crate::nodes::lease::{Lease, LeaseState, Standing};
use crate::store::session_store::SessionStore;

/// Takes each session that a recoverer took over, with the name of the node that had it. It runs in the recoverer's
/// task, so it should hand on and return.
pub type OnRecovered = Box<dyn FnMut(&str, RecoveredSession) + Send>;

/// A task that watches the leases of all nodes, and takes over the sessions of those whose lease ran out, for the node
/// of a lease. It ends with [`stop`](Self::stop), when this handle is dropped, or when that lease is lost. What is left
/// is found again by any other: nothing of its progress is kept but in the store.
#[must_use = "the recoverer ends when its handle is dropped"]
pub struct Recoverer {
    stop: Shutdown,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    sweeps: AtomicU64,
    nodes: AtomicU64,
    recovered: AtomicU64,
    left: AtomicU64,
    errors: AtomicU64,
}

/// What a recoverer did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecovererStats {
    /// How often it looked for dead nodes and went through all that it found.
    pub sweeps: u64,
    /// How often it went through all sessions of one.
    pub nodes: u64,
    /// How many sessions it took over.
    pub recovered: u64,
    /// How often it met a session that stays for now: corrupt, being migrated, or changing all the time.
    pub left: u64,
    /// How many calls failed. The next sweep tries again.
    pub errors: u64,
}

impl fmt::Debug for Recoverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recoverer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Recoverer {
    /// `store` makes its calls as the holder of the lease.
    pub(crate) fn spawn(
        store: Arc<dyn SessionStore>,
        lease: &Lease,
        every: Duration,
        batch: usize,
        on_recovered: OnRecovered,
    ) -> Result<Self> {
        check_duration("every", every, Duration::from_millis(1), LONGEST_PAUSE)?;
        check_count("batch", batch, BATCH)?;
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = stop();
        let watcher = Watcher {
            store,
            to: lease.holder().node().to_owned(),
            batch,
            on_recovered,
            counters: counters.clone(),
            stopped,
            standing: lease.standing(),
        };
        tokio::spawn(watcher.run(every));
        Ok(Self { stop, counters })
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> RecovererStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecovererStats {
            sweeps: read(&self.counters.sweeps),
            nodes: read(&self.counters.nodes),
            recovered: read(&self.counters.recovered),
            left: read(&self.counters.left),
            errors: read(&self.counters.errors),
        }
    }

    /// Lets it finish the batch it is at, hand out what that took over, and end.
    pub async fn stop(self) -> RecovererStats {
        self.stop.finish().await;
        self.stats()
    }
}

/// The task's own side.
struct Watcher {
    store: Arc<dyn SessionStore>,
    to: String,
    batch: usize,
    on_recovered: OnRecovered,
    counters: Arc<Counters>,
    stopped: ShutdownSignal,
    standing: Standing,
}

impl Watcher {
    async fn run(mut self, every: Duration) {
        while !self.is_over() {
            match self.sweep().await {
                Ok(()) => self.count(|counters| &counters.sweeps, 1),
                Err(Error::Refused(Refusal::Fenced)) => break,
                Err(error) => {
                    tracing::warn!(%error, "recovering failed; the next sweep tries again");
                    self.count(|counters| &counters.errors, 1);
                }
            }
            tokio::select! {
                () = self.stopped.pause(jittered(every)) => {}
                () = self.standing.lost() => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stopped.is_set() || self.standing.state() == LeaseState::Lost
    }

    fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64, by: usize) {
        counter(&self.counters).fetch_add(by as u64, Ordering::Relaxed);
    }

    /// One dead node after the other.
    async fn sweep(&mut self) -> Result<()> {
        for node in self.store.lapsed_nodes().await? {
            if self.is_over() {
                break;
            }
            match self.take_over(&node).await {
                // It came back, and keeps what it still has.
                Err(Error::Refused(Refusal::Leased { .. })) => {}
                // Its keys are not ours to mend, and the others' are sound.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, node, "the sessions of a node cannot be recovered");
                    self.count(|counters| &counters.errors, 1);
                }
                taken => taken?,
            }
        }
        Ok(())
    }

    /// A batch after the other, until there are no more.
    async fn take_over(&mut self, node: &str) -> Result<()> {
        if node == self.to {
            return Err(Error::Refused(Refusal::Fenced));
        }
        let mut claim = Claim::new(node, &self.to).batch(self.batch);
        loop {
            let claimed = self.store.recover(claim.clone()).await?;
            self.count(|counters| &counters.recovered, claimed.sessions.len());
            let left = claimed.frozen.len() + claimed.corrupt.len() + claimed.stale.len();
            self.count(|counters| &counters.left, left);
            for session in claimed.sessions {
                (self.on_recovered)(node, session);
            }
            let Some(next) = claimed.next else {
                self.count(|counters| &counters.nodes, 1);
                return Ok(());
            };
            if self.is_over() {
                return Ok(());
            }
            claim = claim.after(next);
        }
    }
}
