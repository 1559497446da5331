//! A node's lease, and the task that renews it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::background::callback::Callback;
use crate::background::shutdown::{Shutdown, ShutdownSignal, shutdown};
use crate::model::{
    Error, Heartbeat, HeartbeatReply, LeaseGap, NodeIdentity, Refusal, Result, SessionId, require_runtime,
};
use crate::store::meter;
use crate::store::node_registry::NodeRegistry;

/// How many times per length of the lease a failed renewal is retried.
const RETRIES: u32 = 20;

/// How long a lease is held without a renewal, and how long its node stays listed afterwards.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    length: Duration,
    keep: Duration,
    on_gap: Callback<LeaseGap>,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        let Heartbeat { lease: length, keep, .. } = Heartbeat::register();
        Self { length, keep, on_gap: Callback::default() }
    }
}

impl LeaseOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the lease is held without a renewal, 1 ms to a day. The sessions of a dead node wait this long to be
    /// recovered. The task renews the lease three times per length, in each partition of the namespace; a length that
    /// needs more than 10,000 renewals per second is refused. Defaults to 15 seconds.
    #[must_use]
    pub fn length(mut self, length: Duration) -> Self {
        self.length = length;
        self
    }

    /// How long the node stays listed after its lease has run out, so that its sessions can be recovered: 1 second to
    /// ten years. Defaults to a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// The task calls this when the lease is lost for some sessions while it is held for others. That can happen in a
    /// namespace of several [partitions](crate::RedisStoreBuilder::partitions), if some of the servers were away for
    /// longer than the lease. The task registers the lease again for those sessions. Another node may have had them
    /// meanwhile, so close their connections or check them. The function runs in the lease's task, so it should pass
    /// the gap on and return. Defaults to nothing.
    #[must_use]
    pub fn on_gap(mut self, on_gap: impl Fn(&LeaseGap) + Send + Sync + 'static) -> Self {
        self.on_gap = Callback::new(on_gap);
        self
    }

    fn beat(&self, beat: Heartbeat) -> Heartbeat {
        beat.lease(self.length).keep(self.keep)
    }
}

/// Whether a process holds its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// It holds the lease.
    Held,
    /// It has lost the lease for good: it must stop writing, and register again.
    Lost,
}

/// The lease of a node, held by this process. A task renews it until you release it or drop this handle.
///
/// ```
/// # use std::sync::Arc;
/// # use cloakroom::nodes::{Lease, LeaseOptions};
/// # use cloakroom::{Binding, MemoryStore, NewSession, SessionStore};
/// # #[tokio::main]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// # let store = Arc::new(MemoryStore::builder().build()?);
/// # let session = store.create(NewSession::new()).await?.session;
/// let lease = Lease::acquire(store.clone(), "gateway-1", LeaseOptions::new()).await?;
/// let owner = store.as_node(lease.identity());
/// owner.bind(&session, Binding::new("socket-7").node("gateway-1")).await?;
/// assert!(lease.is_held());
/// lease.release().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "the lease is released when its handle is dropped"]
pub struct Lease {
    standing: Standing,
    shutdown: Shutdown,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("node", &self.identity().node())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// Registers a node under a lease, and renews the lease in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the node's name does not have 1 to 256 bytes, the lease is not 1 ms to a day, or
    /// there is no Tokio runtime here. Refused with [`Leased`](crate::Refusal::Leased) when another process holds
    /// a lease of this node.
    pub async fn acquire(store: Arc<dyn NodeRegistry>, node: &str, options: LeaseOptions) -> Result<Self> {
        require_runtime()?;
        let identity = NodeIdentity::new(node)?;
        let sent = Instant::now();
        let gap = match store.heartbeat(&identity, options.beat(Heartbeat::register())).await? {
            HeartbeatReply::Held { .. } => None,
            HeartbeatReply::HeldInPart { gap, .. } => Some(gap),
            HeartbeatReply::HeldByAnother { until_ms } => {
                return Err(Error::Refused(Refusal::Leased { until_ms }));
            }
            HeartbeatReply::Lost => return Err(Error::Refused(Refusal::Fenced)),
        };
        let (shutdown, signal) = shutdown();
        let (report, state) = watch::channel(LeaseState::Held);
        let until = sent + options.length;
        let held = Arc::new(Held { identity, until: Mutex::new(Until::new(until)) });
        let first_gap = held.renewed(until, gap).unwrap_or_default();
        let renewal = Renewal { store, held: held.clone(), options, report, signal };
        tokio::spawn(renewal.run(first_gap));
        Ok(Self { standing: Standing { held, state }, shutdown })
    }

    /// The identity of this process while it holds the lease, for
    /// [`SessionStore::as_node`](crate::SessionStore::as_node).
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.standing.held.identity
    }

    /// Whether this process may still write as the node, as far as it knows without asking the server.
    ///
    /// It counts by this process's own clock, from before it sent the last successful renewal, so it never counts
    /// longer than the server does. A process that was paused knows at once when it continues. (The clock of a machine
    /// that slept may have stopped: there the server refuses the write.)
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state() == LeaseState::Held
    }

    /// The same for one session. Among several [partitions](crate::RedisStoreBuilder::partitions), the lease may be
    /// lost in the session's partition and held in others.
    #[must_use]
    pub fn is_held_for(&self, id: &SessionId) -> bool {
        self.is_held() && self.standing.held.covers(id)
    }

    /// Whether the lease is held, as an enum. In a namespace of several partitions it is lost when it is held in none
    /// of them.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.standing.state()
    }

    /// Waits until the lease is lost. If it is released first, waits for ever.
    pub async fn lost(&self) {
        self.standing.clone().lost().await;
    }

    /// The state of the lease, for another task that works while it is held.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Ends the lease, so that other nodes can recover the sessions of this node at once. If the server cannot be
    /// reached, the lease runs out by itself.
    pub async fn release(self) {
        self.shutdown.finish().await;
    }
}

/// The state of a lease, for other tasks.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    held: Arc<Held>,
    state: watch::Receiver<LeaseState>,
}

impl Standing {
    pub(crate) fn state(&self) -> LeaseState {
        // The task is gone when the lease was released.
        let is_kept = self.state.has_changed().is_ok() && *self.state.borrow() == LeaseState::Held;
        if is_kept && self.held.until().is_some() { LeaseState::Held } else { LeaseState::Lost }
    }

    /// Waits until the lease is lost. If it is released first, waits for ever.
    pub(crate) async fn lost(&mut self) {
        if self.state.wait_for(|state| *state == LeaseState::Lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The state that handle and task share.
#[derive(Debug)]
struct Held {
    identity: NodeIdentity,
    until: Mutex<Until>,
}

/// Until when a lease is certainly held.
#[derive(Debug)]
struct Until {
    /// `None`: a look found it over, and it is never held again.
    whole: Option<Instant>,
    /// The partitions where it does not hold, if there are any.
    gap: Option<LeaseGap>,
    /// Until when it is held in the partitions that have not answered since.
    silent: BTreeMap<u16, Instant>,
}

impl Until {
    fn new(until: Instant) -> Self {
        Self { whole: Some(until), gap: None, silent: BTreeMap::new() }
    }

    fn look(&mut self, now: Instant) -> Option<Instant> {
        self.whole = self.whole.filter(|until| now < *until);
        self.whole
    }

    /// Records a renewal, and returns the partitions in which it lost the lease; `None`: in all of them.
    fn renew(&mut self, now: Instant, until: Instant, gap: Option<LeaseGap>) -> Option<BTreeSet<u16>> {
        let before = self.look(now).filter(|_| now < until)?;
        let mut gap = gap;
        let lost_before = self.gap.take().map(|gap| gap.lost).unwrap_or_default();
        let silent_before = std::mem::take(&mut self.silent);
        if let Some(gap) = &mut gap {
            // Where the lease was lost and no server has answered since, it is still lost.
            gap.lost.extend(lost_before.intersection(&gap.silent).copied().collect::<Vec<_>>());
            for partition in gap.silent.difference(&gap.lost.clone()) {
                let lasts = silent_before.get(partition).copied().unwrap_or(before);
                if now < lasts {
                    self.silent.insert(*partition, lasts);
                } else {
                    gap.lost.insert(*partition);
                }
            }
        }
        self.whole = Some(until);
        let lost = gap.as_ref().map(|gap| &gap.lost - &lost_before).unwrap_or_default();
        self.gap = gap;
        Some(lost)
    }

    fn covers(&self, id: &SessionId, now: Instant) -> bool {
        self.gap.as_ref().is_none_or(|gap| {
            let lasts = self.silent.get(&(gap.place)(id, gap.count));
            !gap.covers(id) && lasts.is_none_or(|lasts| now < *lasts)
        })
    }
}

impl Held {
    /// Until when it is held, if it is.
    fn until(&self) -> Option<Instant> {
        self.lock().look(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Until> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn covers(&self, id: &SessionId) -> bool {
        self.lock().covers(id, Instant::now())
    }

    /// Records a renewal, and returns the sessions for which it lost the lease, if it is held at all.
    fn renewed(&self, until: Instant, gap: Option<LeaseGap>) -> Option<Option<LeaseGap>> {
        let mut held = self.lock();
        let Some(lost) = held.renew(Instant::now(), until, gap) else {
            held.whole = None;
            return None;
        };
        let gap = held.gap.clone().filter(|_| !lost.is_empty());
        Some(gap.map(|gap| LeaseGap { lost, ..gap }))
    }

    fn has_gap(&self) -> bool {
        self.lock().gap.is_some()
    }
}

/// The task's own side.
struct Renewal {
    store: Arc<dyn NodeRegistry>,
    held: Arc<Held>,
    options: LeaseOptions,
    report: watch::Sender<LeaseState>,
    signal: ShutdownSignal,
}

impl Renewal {
    async fn run(mut self, first_gap: Option<LeaseGap>) {
        let length = self.options.length;
        let mut pause = self.pause_after(first_gap);
        while let Some(until) = self.held.until() {
            self.signal.pause(pause.min(until.saturating_duration_since(Instant::now()))).await;
            if self.signal.is_set() {
                return self.release().await;
            }
            // Not until the call's deadline, because that may be later than the end of the lease.
            match tokio::time::timeout_at(until.into(), self.renew()).await {
                Ok(Ok(Some(gap))) => pause = self.pause_after(gap),
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lease was not renewed; the task retries while the lease lasts");
                    pause = (length / RETRIES).max(Duration::from_millis(1));
                }
            }
        }
        self.lose();
    }

    /// Reports the sessions for which the lease was lost, and returns the pause before the next renewal: none, so as to
    /// register it again for those.
    fn pause_after(&self, gap: Option<LeaseGap>) -> Duration {
        if let Some(gap) = gap {
            tracing::warn!(
                node = self.held.identity.node(),
                ?gap,
                "the lease is lost in a part of the partitions"
            );
            meter::LEASES_LOST.add(1, &[(meter::RESULT, "part")]);
            self.options.on_gap.call(&gap);
            return Duration::ZERO;
        }
        let times = if self.held.has_gap() { RETRIES } else { Heartbeat::RENEWALS };
        (self.options.length / times).max(Duration::from_millis(1))
    }

    /// For which sessions the lease is lost by now, if it goes on.
    async fn renew(&self) -> Result<Option<Option<LeaseGap>>> {
        let sent = Instant::now();
        let beat = self.options.beat(Heartbeat::renew());
        let until = sent + self.options.length;
        Ok(match self.store.heartbeat(&self.held.identity, beat).await? {
            HeartbeatReply::Held { .. } => self.held.renewed(until, None),
            HeartbeatReply::HeldInPart { gap, .. } => self.held.renewed(until, Some(gap)),
            HeartbeatReply::HeldByAnother { .. } | HeartbeatReply::Lost => None,
        })
    }

    fn lose(self) {
        tracing::warn!(node = self.held.identity.node(), "the lease is lost");
        meter::LEASES_LOST.add(1, &[(meter::RESULT, "whole")]);
        self.report.send_replace(LeaseState::Lost);
    }

    async fn release(self) {
        let beat = self.options.beat(Heartbeat::release());
        if let Err(error) = self.store.heartbeat(&self.held.identity, beat).await {
            tracing::warn!(%error, "the lease was not released; it runs out by itself");
        }
    }
}
