//! The configuration of a fallback store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::background::callback::Callback;
use crate::fallback::breaker::Breaker;
use crate::fallback::coordinator::Coordinator;
use crate::fallback::coordinator::ReconcilerOptions;
use crate::fallback::local_sessions::LocalSessions;
use crate::fallback::policy::FallbackPolicy;
use crate::fallback::reconciler;
use crate::fallback::reconciliation::Reconciled;
use crate::fallback::stale_cache::StaleCache;
use crate::fallback::store::FallbackStore;
use crate::memory::store::MemoryStore;
use crate::model::{Error, Result, Rules, TestClock, check_count, check_duration};
use crate::store::Store;

/// The longest cool-down and probe, the oldest stale answer, the longest local ttl.
const LONGEST_OUTAGE_TIME: Duration = Duration::from_secs(3600);

/// The largest number of each kind that this process may keep.
const MOST_KEPT: usize = 10_000_000;

/// Configures a [`FallbackStore`].
pub struct FallbackStoreBuilder {
    store: Arc<dyn Store>,
    policy: FallbackPolicy,
    failures: u32,
    cool_down: Duration,
    probe_timeout: Duration,
    max_copies: usize,
    max_local: usize,
    max_revocations: usize,
    on_reconciled: Callback<Reconciled>,
    clock: Option<TestClock>,
}

impl fmt::Debug for FallbackStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackStoreBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl FallbackStoreBuilder {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            policy: FallbackPolicy::default(),
            failures: 5,
            cool_down: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            max_copies: 10_000,
            max_local: 10_000,
            max_revocations: 100_000,
            on_reconciled: Callback::default(),
            clock: None,
        }
    }

    /// How to answer while the store is away. Defaults to [`FallbackPolicy::FailClosed`].
    #[must_use]
    pub fn policy(mut self, policy: FallbackPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How many failures in a row, of reads or of writes, open the breaker, at least 1. Defaults to 5.
    #[must_use]
    pub fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// How long the breaker stays open between two probes, 1 ms to 1 hour. Defaults to 1 second.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// How long a probe may take, 1 ms to 1 hour. Defaults to 500 ms.
    #[must_use]
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.probe_timeout = timeout;
        self
    }

    /// How many copies of recently seen sessions to keep, 1 to 10,000,000; the least used are dropped. Defaults to
    /// 10,000.
    #[must_use]
    pub fn max_copies(mut self, sessions: usize) -> Self {
        self.max_copies = sessions;
        self
    }

    /// How many created or changed sessions this process may keep for the store, 1 to 10,000,000. Beyond
    /// that, calls are refused with [`Full`](crate::Refusal::Full). Defaults to 10,000.
    #[must_use]
    pub fn max_local(mut self, sessions: usize) -> Self {
        self.max_local = sessions;
        self
    }

    /// How many logouts this process may remember for the store, 1 to 10,000,000. Beyond that, logouts fail.
    /// Defaults to 100,000.
    #[must_use]
    pub fn max_revocations(mut self, revocations: usize) -> Self {
        self.max_revocations = revocations;
        self
    }

    /// Called after an outage with what became of all sessions and logouts that this process kept. It runs in the task
    /// that wrote them back, so it should pass the result on and return. Defaults to nothing.
    #[must_use]
    pub fn on_reconciled(mut self, on_reconciled: impl Fn(&Reconciled) + Send + Sync + 'static) -> Self {
        self.on_reconciled = Callback::new(on_reconciled);
        self
    }

    /// A clock that stands in for the machine's, for tests of an application, with the feature `test-util`. Defaults to none.
    #[must_use]
    #[cfg(any(test, feature = "test-util"))]
    pub fn clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration.
    pub fn build(self) -> Result<FallbackStore> {
        let short =
            |field, duration| check_duration(field, duration, Duration::from_millis(1), LONGEST_OUTAGE_TIME);
        short("cool_down", self.cool_down)?;
        short("probe_timeout", self.probe_timeout)?;
        if self.failures == 0 {
            return Err(Error::invalid("failures", "is 0, must be at least 1"));
        }
        check_count("max_copies", self.max_copies, MOST_KEPT)?;
        check_count("max_local", self.max_local, MOST_KEPT)?;
        check_count("max_revocations", self.max_revocations, MOST_KEPT)?;
        let stale_cache = |max_age| Arc::new(StaleCache::new(self.max_copies, max_age, self.clock.clone()));
        let breaker = Arc::new(Breaker::new(self.failures));
        let (stale_cache, local) = match self.policy {
            FallbackPolicy::FailClosed => (None, None),
            FallbackPolicy::ServeStale { max_age } => {
                short("max_age", max_age)?;
                (Some(stale_cache(max_age)), None)
            }
            FallbackPolicy::LocalOnly { ttl } => {
                short("ttl", ttl)?;
                // Nobody reads events here.
                let rules = Rules { idle_cap: Some(ttl), events: 0, ..self.store.rules().clone() };
                let memory = MemoryStore::builder()
                    .rules(rules)
                    .max_sessions(self.max_local)
                    .clock_of(self.clock.clone());
                let (stale_cache, most) = (stale_cache(ttl), self.max_revocations);
                let local =
                    LocalSessions::new(memory.build()?, ttl, most, stale_cache.clone(), breaker.clone());
                (Some(stale_cache), Some(local))
            }
        };
        let Self { cool_down, probe_timeout, on_reconciled, .. } = self;
        let options =
            ReconcilerOptions { cool_down, probe_timeout, on_reconciled, reconcile: reconciler::spawn };
        let shared = Coordinator::new(self.store, breaker, stale_cache, local, options);
        Ok(FallbackStore::new(shared))
    }
}

impl FallbackStore {
    /// Configures a store that keeps working while the given one is away.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> FallbackStoreBuilder {
        FallbackStoreBuilder::new(store)
    }
}
