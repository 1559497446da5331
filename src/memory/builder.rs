//! The configuration of a store in memory.

use std::sync::atomic::AtomicBool;

use crate::memory::call::Memory;
use crate::memory::events::Events;
use crate::memory::reach::MOST_SHARDS;
use crate::memory::shards::Shards;
use crate::memory::store::MemoryStore;
use crate::model::{Error, Result, Rules, TestClock};

/// How many sessions a store keeps by default: a million of the usual size take about a gigabyte.
const SESSIONS: usize = 1_000_000;

/// Configures a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryStoreBuilder {
    rules: Rules,
    max_sessions: usize,
    clock: Option<TestClock>,
}

impl MemoryStoreBuilder {
    /// How long sessions live, how large they may be, how many a user may have. Defaults to [`Rules::default`].
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How many sessions there may be, live or expired and not reaped, at least 1. At that number a new session
    /// replaces the oldest expired one, and `create` reports it. It never replaces a live one: if all are live,
    /// `create` is refused with [`Full`](crate::Refusal::Full). Defaults to 1,000,000.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// A clock that replaces the machine's, for tests of an application, with the feature `test-util`. Defaults to
    /// none.
    #[must_use]
    #[cfg(any(test, feature = "test-util"))]
    pub fn clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The clock of the store that this one replaces during an outage, if it has one.
    pub(crate) fn clock_of(mut self, clock: Option<TestClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration.
    pub fn build(self) -> Result<MemoryStore> {
        self.rules.validate()?;
        if self.max_sessions == 0 {
            return Err(Error::invalid("max_sessions", "is 0, must be at least 1"));
        }
        let memory = Memory {
            shards: Shards::new(MOST_SHARDS),
            capacity: self.max_sessions,
            clock: self.clock,
            events: Events::default(),
            closed: AtomicBool::new(false),
        };
        Ok(MemoryStore::new(memory, self.rules))
    }
}

impl MemoryStore {
    /// Configures a store.
    #[must_use]
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { rules: Rules::default(), max_sessions: SESSIONS, clock: None }
    }
}
