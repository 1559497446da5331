//! A node's lease, and the task that renews it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::background::shutdown::{Shutdown, ShutdownSignal, shutdown};
use crate::model::{Error, Heartbeat, HeartbeatReply, NodeIdentity, Refusal, Result, require_runtime};
use crate::store::node_registry::NodeRegistry;

/// How many times a lease is renewed in its length, so that some may fail.
const RENEWALS: u32 = 3;

/// How many times in its length a renewal is tried that failed.
const RETRIES: u32 = 20;

/// How long a lease is held without being renewed, and how long its node is known afterwards.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    length: Duration,
    keep: Duration,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        let Heartbeat { lease: length, keep, .. } = Heartbeat::register();
        Self { length, keep }
    }
}

impl LeaseOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the lease is held without being renewed, 1 ms to a day: as long the sessions of a node that died wait to
    /// be recovered. It is renewed three times in it. Defaults to 15 seconds.
    #[must_use]
    pub fn length(mut self, length: Duration) -> Self {
        self.length = length;
        self
    }

    /// How long the node is listed when its lease has run out, for its sessions to be recovered: 1 second to ten years.
    /// Defaults to a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
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
    /// It does.
    Held,
    /// It does no longer, and never will again: it must stop writing, and register anew.
    Lost,
}

/// The lease of a node, held by this process: a task renews it until it is released, or this handle is dropped.
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
    /// Registers a node under a lease, and renews that in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the node's name is not 1 to 256 bytes or the lease not 1 ms to a day. Refused with
    /// [`Leased`](crate::Refusal::Leased) when another lease of this node is held. Outside of a Tokio runtime
    /// [`Error::Invalid`].
    pub async fn acquire(store: Arc<dyn NodeRegistry>, node: &str, options: LeaseOptions) -> Result<Self> {
        require_runtime()?;
        let identity = NodeIdentity::new(node)?;
        let sent = Instant::now();
        match store.heartbeat(&identity, options.beat(Heartbeat::register())).await? {
            HeartbeatReply::Held { .. } => {}
            HeartbeatReply::HeldByAnother { until_ms } => {
                return Err(Error::Refused(Refusal::Leased { until_ms }));
            }
            HeartbeatReply::Lost => return Err(Error::Refused(Refusal::Fenced)),
        }
        let (shutdown, signal) = shutdown();
        let (report, state) = watch::channel(LeaseState::Held);
        let held = Arc::new(Held { identity, until: Mutex::new(Some(sent + options.length)) });
        let renewal = Renewal { store, held: held.clone(), options, report, signal };
        tokio::spawn(renewal.run());
        Ok(Self { standing: Standing { held, state }, shutdown })
    }

    /// Who this process is while it holds the lease, for [`SessionStore::as_node`](crate::SessionStore::as_node).
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.standing.held.identity
    }

    /// Whether this process may still write in the name of the node, as far as it can know without asking.
    ///
    /// It counts by this process's own clock from before the last renewal was sent that succeeded, which is never later
    /// than the server does. So a process that was paused knows at once when it goes on. (A machine that slept may not
    /// have counted: there the server's refusal tells.)
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state() == LeaseState::Held
    }

    /// The same, as a word.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.standing.state()
    }

    /// Waits until the lease is lost; for ever, if it is released before.
    pub async fn lost(&self) {
        self.standing.clone().lost().await;
    }

    /// For another task that works while the lease is held.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Ends the lease, so that the sessions of the node may be recovered at once. If the server cannot be reached, the
    /// lease runs out by itself.
    pub async fn release(self) {
        self.shutdown.finish().await;
    }
}

/// How a lease stands, for whoever wants to know.
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

    /// Waits until the lease is lost; for ever, if it is released before.
    pub(crate) async fn lost(&mut self) {
        if self.state.wait_for(|state| *state == LeaseState::Lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What handle and task share.
#[derive(Debug)]
struct Held {
    identity: NodeIdentity,
    /// Until when the lease is certainly held; `None`: somebody looked when that was over, and it is never held again.
    until: Mutex<Option<Instant>>,
}

impl Held {
    /// Until when it is held, if it is.
    fn until(&self) -> Option<Instant> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = until.filter(|until| Instant::now() < *until);
        *until
    }

    /// Notes a renewal, and tells whether the lease is held.
    fn renewed(&self, until: Instant) -> bool {
        let mut held = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *held = held.filter(|old| now < *old && now < until).map(|_| until);
        held.is_some()
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
    async fn run(mut self) {
        let length = self.options.length;
        let mut pause = length / RENEWALS;
        while let Some(until) = self.held.until() {
            self.signal.pause(pause.min(until.saturating_duration_since(Instant::now()))).await;
            if self.signal.is_set() {
                return self.release().await;
            }
            // Not until the deadline of the call, which may be later than the end of the lease.
            match tokio::time::timeout_at(until.into(), self.renew()).await {
                Ok(Ok(true)) => pause = length / RENEWALS,
                Ok(Ok(false)) | Err(_) => break,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lease was not renewed; it is tried again while it lasts");
                    pause = (length / RETRIES).max(Duration::from_millis(1));
                }
            }
        }
        self.lose();
    }

    /// Whether the lease goes on.
    async fn renew(&self) -> Result<bool> {
        let sent = Instant::now();
        let beat = self.options.beat(Heartbeat::renew());
        let status = self.store.heartbeat(&self.held.identity, beat).await?;
        let is_renewed = matches!(status, HeartbeatReply::Held { .. });
        Ok(is_renewed && self.held.renewed(sent + self.options.length))
    }

    fn lose(self) {
        tracing::warn!(node = self.held.identity.node(), "the lease is lost");
        self.report.send_replace(LeaseState::Lost);
    }

    async fn release(self) {
        let beat = self.options.beat(Heartbeat::release());
        if let Err(error) = self.store.heartbeat(&self.held.identity, beat).await {
            tracing::warn!(%error, "the lease was not released; it runs out by itself");
        }
    }
}
