//! The circuit breaker: learns from the results of calls whether a store is there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::meter::{self, Held};

/// Whether calls go to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls go to the store.
    Closed,
    /// Calls do not go to the store: too many in a row failed.
    Open,
    /// One call, the probe, finds out whether the store is back. All other calls still do without the
    /// store.
    HalfOpen,
}

/// Whether a call reads or writes. A server that is full, or a replica, serves reads and refuses writes, so failures
/// of each are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Counts failures in a row, and opens at a number of them. Its owner closes it again.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    reads: u32,
    writes: u32,
    opened: u64,
    /// Counts it while it is not closed.
    counted: Option<Held>,
}

impl Inner {
    fn enter(&mut self, state: BreakerState) {
        if self.state != state {
            meter::TRANSITIONS.add(1, &[(meter::STATE, state.name())]);
        }
        self.state = state;
        if state == BreakerState::Closed {
            self.counted = None;
        } else {
            self.counted.get_or_insert_with(|| meter::OPEN.hold());
        }
    }
}

impl BreakerState {
    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    pub(crate) fn new(threshold: u32) -> Self {
        let inner = Inner { state: BreakerState::Closed, reads: 0, writes: 0, opened: 0, counted: None };
        Self { threshold, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.inner().state
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state() == BreakerState::Closed
    }

    /// How often it opened.
    pub(crate) fn opened(&self) -> u64 {
        self.inner().opened
    }

    /// Records a call that was answered. A write that works shows that reads work too.
    pub(crate) fn succeeded(&self, access: Access) {
        let mut inner = self.inner();
        inner.reads = 0;
        if access == Access::Write {
            inner.writes = 0;
        }
    }

    /// Records a call that failed, and returns whether that opened the breaker. A call that was on its way
    /// when the breaker opened does not count.
    pub(crate) fn failed(&self, access: Access) -> bool {
        let mut inner = self.inner();
        if inner.state != BreakerState::Closed {
            return false;
        }
        let row = match access {
            Access::Read => &mut inner.reads,
            Access::Write => &mut inner.writes,
        };
        *row += 1;
        if *row < self.threshold {
            return false;
        }
        inner.enter(BreakerState::Open);
        inner.opened += 1;
        true
    }

    pub(crate) fn set(&self, state: BreakerState) {
        let mut inner = self.inner();
        inner.enter(state);
        (inner.reads, inner.writes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_failures_in_a_row_and_not_before() {
        let breaker = Breaker::new(3);
        assert!(!breaker.failed(Access::Read) && !breaker.failed(Access::Read));
        breaker.succeeded(Access::Read);
        assert!(!breaker.failed(Access::Read) && !breaker.failed(Access::Read));
        assert!(breaker.is_closed());
        assert!(breaker.failed(Access::Read));
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 1));
        assert!(!breaker.failed(Access::Read), "it is open already");
    }

    #[test]
    fn reads_that_work_do_not_hide_writes_that_fail() {
        let breaker = Breaker::new(2);
        assert!(!breaker.failed(Access::Write));
        breaker.succeeded(Access::Read);
        assert!(breaker.failed(Access::Write));
        breaker.set(BreakerState::Closed);
        assert!(!breaker.failed(Access::Write));
        breaker.succeeded(Access::Write);
        assert!(!breaker.failed(Access::Write));
    }
}
