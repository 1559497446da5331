//! The state that all handles of a fallback store share: it sends calls to their places and learns from the
//! results.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::background::callback::Callback;
use crate::fallback::breaker::{Access, Breaker};
use crate::fallback::local_sessions::LocalSessions;
use crate::fallback::place::{Adopt, Place, open};
use crate::fallback::policy::FallbackStats;
use crate::fallback::reconciliation::Reconciled;
use crate::fallback::stale_cache::StaleCache;
use crate::model::{Error, Obstacle, Result, Session, SessionId, require_runtime};
use crate::store::{Store, meter};

/// The state that all handles of a fallback store share.
pub(crate) struct Coordinator {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) breaker: Arc<Breaker>,
    /// `None` if the policy does not answer from them.
    pub(crate) stale_cache: Option<Arc<StaleCache>>,
    /// `None` if the policy keeps nothing here.
    pub(crate) local: Option<LocalSessions>,
    pub(crate) counters: Counters,
    pub(crate) options: ReconcilerOptions,
    pub(crate) closed: AtomicBool,
    /// Whether there is a task that works on the breaker and on the sessions kept here.
    kept: Mutex<bool>,
}

/// How kept sessions are written back to the store.
pub(crate) struct ReconcilerOptions {
    /// How long the breaker stays open between two probes.
    pub(crate) cool_down: Duration,
    pub(crate) probe_timeout: Duration,
    pub(crate) on_reconciled: Callback<Reconciled>,
    /// Starts the task that does it. The task works on the coordinator, which knows it only by this
    /// function.
    pub(crate) reconcile: fn(&Arc<Coordinator>),
}

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) rejected: Tally,
    pub(crate) probes: Tally,
    pub(crate) stale: Tally,
    pub(crate) revoked: Tally,
    pub(crate) imported: Tally,
    pub(crate) dropped: Tally,
    pub(crate) conflicts: Tally,
}

impl Default for Counters {
    fn default() -> Self {
        let [rejected, probes, stale, revoked, imported, dropped, conflicts] =
            ["rejected", "probe", "stale", "revoked", "imported", "dropped", "conflict"]
                .map(|what| Tally { count: AtomicU64::new(0), what });
        Self { rejected, probes, stale, revoked, imported, dropped, conflicts }
    }
}

/// A count, with its name among the metrics.
#[derive(Debug)]
pub(crate) struct Tally {
    count: AtomicU64,
    what: &'static str,
}

impl Tally {
    pub(crate) fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        meter::FALLBACK.add(1, &[(meter::RESULT, self.what)]);
    }
}

fn closed() -> Error {
    Error::obstacle(Obstacle::Closed, None)
}

/// Whether an error means that the store is away; `None` if it does not show that.
fn is_outage(error: &Error) -> Option<bool> {
    match error {
        Error::Ambiguous { .. } => Some(true),
        Error::NotExecuted { reason, .. } => match reason {
            Obstacle::Connect
            | Obstacle::Deadline
            | Obstacle::ConnectionLost
            | Obstacle::Auth
            | Obstacle::Config
            | Obstacle::OutOfMemory
            | Obstacle::Unavailable
            | Obstacle::Server => Some(true),
            Obstacle::Contended => Some(false),
            Obstacle::Closed | Obstacle::CircuitOpen | Obstacle::Reconciling | Obstacle::QueueFull => None,
        },
        Error::Refused(_) | Error::Corrupt { .. } => Some(false),
        Error::Invalid(_) | Error::Value { .. } => None,
    }
}

/// The same for the result of a call.
fn outage_of<T>(result: &Result<T>) -> Option<bool> {
    result.as_ref().map_or_else(is_outage, |_| Some(false))
}

impl Coordinator {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        breaker: Arc<Breaker>,
        stale_cache: Option<Arc<StaleCache>>,
        local: Option<LocalSessions>,
        options: ReconcilerOptions,
    ) -> Self {
        Self {
            store,
            breaker,
            stale_cache,
            local,
            counters: Counters::default(),
            options,
            closed: AtomicBool::new(false),
            kept: Mutex::new(false),
        }
    }

    /// Sends a call to the store, unless the store is away, and learns from the result.
    pub(crate) async fn through<T>(
        self: &Arc<Self>,
        access: Access,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.admit()?;
        let result = call.await;
        self.learn(access, outage_of(&result));
        result
    }

    /// The same for a call that answers for each of `count` sessions. It failed if one of its answers is a failure.
    pub(crate) async fn all_through<T>(
        self: &Arc<Self>,
        access: Access,
        count: usize,
        call: impl Future<Output = Vec<Result<T>>>,
    ) -> Vec<Result<T>> {
        if let Err(error) = self.admit() {
            return (0..count).map(|_| Err(error.clone())).collect();
        }
        let results = call.await;
        self.learn(access, results.iter().filter_map(outage_of).max());
        results
    }

    fn admit(self: &Arc<Self>) -> Result<()> {
        if self.breaker.is_closed() { Ok(()) } else { Err(self.reject()) }
    }

    /// Tells the breaker whether the store was away.
    fn learn(self: &Arc<Self>, access: Access, was_away: Option<bool>) {
        match was_away {
            Some(true) if self.breaker.failed(access) => {
                tracing::warn!("the store is away: the circuit breaker opens");
                self.awaken();
            }
            Some(false) => self.breaker.succeeded(access),
            Some(true) | None => {}
        }
    }

    fn reject(self: &Arc<Self>) -> Error {
        if self.is_closed() {
            return closed();
        }
        // The task that works on the breaker ends with its runtime.
        self.awaken();
        self.counters.rejected.add_one();
        open()
    }

    /// Whether the store was closed, for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Where a call on a session goes now.
    pub(crate) fn place(self: &Arc<Self>, id: &SessionId, adopt: Adopt) -> Result<Place> {
        if self.is_closed() {
            return Err(closed());
        }
        loop {
            let is_there = self.breaker.is_closed();
            if let Some(local) = self.local.as_ref().filter(|local| !is_there || !local.is_idle()) {
                if let Some(place) = local.place(id) {
                    return Ok(place);
                }
                if !is_there && adopt == Adopt::Yes && local.adopt(id)? {
                    return Ok(Place::Local);
                }
            }
            if is_there {
                return Ok(Place::Store);
            }
            if !self.breaker.is_closed() {
                return Err(self.reject());
            }
        }
    }

    /// A call on the store as a whole: not while some of its sessions are here.
    pub(crate) async fn whole<T>(
        self: &Arc<Self>,
        access: Access,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if self.breaker.is_closed() && self.local.as_ref().is_some_and(|local| !local.is_idle()) {
            return Err(self.apart());
        }
        self.through(access, call).await
    }

    /// The error for a call that needs sessions of the store that are here for now.
    pub(crate) fn apart(&self) -> Error {
        if self.breaker.is_closed() { Error::obstacle(Obstacle::Reconciling, None) } else { open() }
    }

    /// A copy to answer with if the store failed, or the error.
    pub(crate) fn or_stale(
        &self,
        error: Error,
        find: impl FnOnce(&StaleCache) -> Option<Session>,
    ) -> Result<Option<Session>> {
        let is_away = is_outage(&error) == Some(true)
            || matches!(&error, Error::NotExecuted { reason: Obstacle::CircuitOpen, .. });
        match self.stale_cache.as_deref().filter(|_| is_away).and_then(find) {
            Some(session) => {
                self.counters.stale.add_one();
                Ok(Some(session))
            }
            None => Err(error),
        }
    }

    /// Whether some calls are still answered while the store fails with this error.
    pub(crate) fn goes_on_without(&self, error: Option<&Error>) -> bool {
        let is_away = error.is_some_and(|error| {
            is_outage(error) == Some(true)
                || matches!(error, Error::NotExecuted { reason: Obstacle::CircuitOpen, .. })
        });
        is_away && (self.local.is_some() || self.stale_cache.is_some())
    }

    /// Makes sure that a task works on the breaker and on the sessions kept here.
    pub(crate) fn awaken(self: &Arc<Self>) {
        // Without a runtime there is no task. The next call within one starts it.
        if require_runtime().is_err() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !*kept {
            *kept = true;
            (self.options.reconcile)(self);
        }
    }

    /// Records that the task ended before it was done.
    pub(crate) fn abandon(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Whether the task has nothing left to do. Work that comes after this wakes another.
    pub(crate) fn may_rest(&self) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = self.breaker.is_closed() && self.local.as_ref().is_none_or(LocalSessions::is_idle);
        *kept = !rests;
        rests
    }

    pub(crate) fn stats(&self) -> FallbackStats {
        let read = |tally: &Tally| tally.count.load(Ordering::Relaxed);
        let Counters { rejected, probes, stale, revoked, imported, dropped, conflicts } = &self.counters;
        FallbackStats {
            breaker: self.breaker.state(),
            opened: self.breaker.opened(),
            rejected: read(rejected),
            probes: read(probes),
            stale: read(stale),
            local: self.local.as_ref().map_or(0, |local| local.memory.stored()),
            pending_revocations: self.local.as_ref().map_or(0, LocalSessions::pending_revocations),
            revoked: read(revoked),
            imported: read(imported),
            dropped: read(dropped),
            conflicts: read(conflicts),
            callback_panics: self.options.on_reconciled.panics().get(),
        }
    }
}
