//! The task that takes over the sessions of dead nodes.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::background::callback::{Callback, Panics};
use crate::background::shutdown::ShutdownSignal;
use crate::background::sweeper::{Sweep, Sweeper};
use crate::model::{
    Claim, Error, NodeIdentity, RecoveredSession, Refusal, Result, SESSIONS_PER_SCRIPT, check_count,
};
use crate::nodes::lease::{Lease, LeaseState, Standing};
use crate::store::meter;
use crate::store::node_registry::NodeRegistry;

/// A task that takes over the sessions of nodes whose leases have run out, for the node of its own lease. It works
/// batch by batch until none is left, and starts again after a pause. It ends with [`stop`](Self::stop), when this
/// handle is dropped, or when its own lease is lost. Any other recoverer then finds the rest, because all progress is
/// in the store. Any number of processes may have one.
#[must_use = "the recoverer ends when its handle is dropped"]
pub struct Recoverer {
    sweeper: Sweeper,
    counters: Arc<Counters>,
    panics: Panics,
}

#[derive(Debug, Default)]
struct Counters {
    nodes: AtomicU64,
    recovered: AtomicU64,
    left: AtomicU64,
    passed_over: AtomicU64,
}

/// The counts of a recoverer so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecovererStats {
    /// How many sweeps through all dead nodes it finished.
    pub sweeps: u64,
    /// How many nodes it went through to the end.
    pub nodes: u64,
    /// How many sessions it took over.
    pub recovered: u64,
    /// How often it met a session that stays for now: corrupt, frozen by a migration, or changing all the
    /// time.
    pub left: u64,
    /// How many sweeps failed or skipped a node with corrupt keys, or one of its partitions. The next sweep tries
    /// again.
    pub errors: u64,
    /// How often the callback panicked.
    pub callback_panics: u64,
}

impl fmt::Debug for Recoverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recoverer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Configures a [`Recoverer`].
#[derive(Debug)]
#[must_use]
pub struct RecovererBuilder {
    store: Arc<dyn NodeRegistry>,
    identity: NodeIdentity,
    standing: Standing,
    every: Duration,
    batch: usize,
    on_recovered: Callback<RecoveredSession>,
}

impl RecovererBuilder {
    /// How long it pauses when nothing is left: 1 ms to a week. Each pause varies by a tenth, so that processes do not
    /// sweep at the same moments. Defaults to a second.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// How many sessions it takes per call, 1 to 200. Defaults to 200.
    pub fn batch(mut self, sessions: usize) -> Self {
        self.batch = sessions;
        self
    }

    /// The task calls this once per session that it took over. It runs in the recoverer's task, so it should pass the
    /// session on and return. Defaults to nothing.
    pub fn on_recovered(mut self, on_recovered: impl Fn(&RecoveredSession) + Send + Sync + 'static) -> Self {
        self.on_recovered = Callback::new(on_recovered);
        self
    }

    /// Starts the task.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is out of bounds, or that there is no Tokio runtime here.
    pub fn spawn(self) -> Result<Recoverer> {
        let Self { store, identity, standing, every, batch, on_recovered } = self;
        check_count("batch", batch, SESSIONS_PER_SCRIPT)?;
        let (counters, panics) = (Arc::new(Counters::default()), on_recovered.panics());
        let recovering =
            Recovering { store, identity, standing, batch, on_recovered, counters: counters.clone() };
        Ok(Recoverer { sweeper: Sweeper::spawn(recovering, every)?, counters, panics })
    }
}

impl Recoverer {
    /// Configures a recoverer that takes sessions for the node of a lease.
    pub fn builder(store: Arc<dyn NodeRegistry>, lease: &Lease) -> RecovererBuilder {
        RecovererBuilder {
            store,
            identity: lease.identity().clone(),
            standing: lease.standing(),
            every: Duration::from_secs(1),
            batch: SESSIONS_PER_SCRIPT,
            on_recovered: Callback::default(),
        }
    }

    /// Its counts so far.
    #[must_use]
    pub fn stats(&self) -> RecovererStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecovererStats {
            sweeps: self.sweeper.sweeps(),
            nodes: read(&self.counters.nodes),
            recovered: read(&self.counters.recovered),
            left: read(&self.counters.left),
            errors: self.sweeper.errors() + read(&self.counters.passed_over),
            callback_panics: self.panics.get(),
        }
    }

    /// Lets it finish its current batch, report the sessions, and end.
    pub async fn stop(self) -> RecovererStats {
        self.sweeper.stop().await;
        self.stats()
    }
}

/// The task's own side.
struct Recovering {
    store: Arc<dyn NodeRegistry>,
    identity: NodeIdentity,
    standing: Standing,
    batch: usize,
    on_recovered: Callback<RecoveredSession>,
    counters: Arc<Counters>,
}

impl Sweep for Recovering {
    const NAME: &'static str = "recoverer";

    /// One dead node after the other.
    async fn sweep(&mut self, signal: &ShutdownSignal) -> Result<ControlFlow<()>> {
        if self.is_to_end(signal) {
            return Ok(ControlFlow::Break(()));
        }
        for node in self.store.lapsed_nodes().await? {
            if self.is_to_end(signal) {
                break;
            }
            // Its own lease is lost in some partitions and will be registered there again; or it is lost in all, as its
            // task will find out.
            if node == self.identity.node() {
                continue;
            }
            match self.take_over(&node, signal).await {
                // It came back, and keeps what it still has.
                Err(Error::Refused(Refusal::Leased { .. })) => {}
                // The lease is lost.
                Err(Error::Refused(Refusal::Fenced)) => return Ok(ControlFlow::Break(())),
                // This task does not repair keys, and the other nodes' keys are sound.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, node, "the sessions of a node cannot be recovered");
                    count(&self.counters.passed_over, 1);
                }
                taken => taken?,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn is_over(&mut self) {
        if self.standing.state() == LeaseState::Held {
            self.standing.lost().await;
        }
    }
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Recovering {
    fn is_to_end(&self, signal: &ShutdownSignal) -> bool {
        signal.is_set() || self.standing.state() == LeaseState::Lost
    }

    /// A batch after the other, until there are no more.
    async fn take_over(&mut self, node: &str, signal: &ShutdownSignal) -> Result<()> {
        let mut claim = Claim::new(node, self.identity.node()).as_node(&self.identity).batch(self.batch);
        loop {
            let claimed = self.store.recover(claim.clone()).await?;
            count(&self.counters.recovered, claimed.sessions.len());
            meter::RECOVERED.add(claimed.sessions.len() as u64, &[]);
            count(&self.counters.left, claimed.frozen.len() + claimed.corrupt.len() + claimed.stale.len());
            self.counters.passed_over.fetch_add(claimed.failed, Ordering::Relaxed);
            claimed.sessions.iter().for_each(|session| self.on_recovered.call(session));
            let Some(next) = claimed.next else {
                count(&self.counters.nodes, 1);
                return Ok(());
            };
            if self.is_to_end(signal) {
                return Ok(());
            }
            claim = claim.after(next);
        }
    }
}
