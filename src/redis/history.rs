//! The history of a call's attempts: when it began, by the server's clock, and whether an attempt may have happened.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Cause, OperationId, cause, ms};
use crate::redis::transport::target::ClockUse;

/// The earliest time after its beginning at which a call is retried. A script takes a call within 100 milliseconds of
/// its bound for a first attempt; the rest allows for clocks that differ.
const ALONE: Duration = Duration::from_millis(110);

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct History(Mutex<State>);

#[derive(Debug)]
struct State {
    /// No attempt was made before this instant. `None` if it is unknown.
    began: Option<Instant>,
    id: IdSource,
    began_by_test_clock: Option<u64>,
    /// A time of the server's from before the call began.
    bound: Option<u64>,
    /// Why it may have happened, if it may.
    doubt: Option<Cause>,
    clock: ClockUse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdSource {
    /// Its operation id was made for it: no other call used it.
    Own,
    /// The caller gave the operation id, and may have sent the call before.
    Given,
    /// The caller gave the operation id, under which a call may have happened.
    Repeated,
}

impl History {
    /// The history of a call that begins, with the caller's operation id if there is one.
    pub(crate) fn begin(id: Option<&OperationId>) -> Self {
        let doubt = || cause("an earlier call under the same operation id ended without a reply");
        let source = match id {
            None => IdSource::Own,
            Some(id) if id.is_of_a_repeat() => IdSource::Repeated,
            Some(_) => IdSource::Given,
        };
        let doubt = (source == IdSource::Repeated).then(doubt);
        Self(Mutex::new(State {
            began: id.map_or_else(|| Some(Instant::now()), OperationId::made),
            id: source,
            began_by_test_clock: None,
            bound: None,
            clock: if doubt.is_some() { ClockUse::Ask } else { ClockUse::Known },
            doubt,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the call may have happened already, if it may.
    pub(crate) fn doubt(&self) -> Option<Cause> {
        self.state().doubt.clone()
    }

    /// Whether no other call was sent under its operation id.
    pub(crate) fn is_of_own_id(&self) -> bool {
        self.state().id == IdSource::Own
    }

    /// Records an attempt that ended without a reply.
    pub(crate) fn lost(&self, reason: Cause) {
        let mut state = self.state();
        state.doubt = Some(reason);
        state.clock = ClockUse::Ask;
    }

    /// How the next attempt gets its bound.
    pub(crate) fn clock_use(&self) -> ClockUse {
        self.state().clock
    }

    /// Takes the server's time from before the call began, as `clock` gives it. The earliest one counts, because
    /// attempts may reach servers with different clocks.
    pub(crate) fn bound_by(&self, clock: impl FnOnce(Instant) -> Option<u64>) {
        let mut state = self.state();
        let found = state.began.and_then(clock);
        state.bound = state.bound.map_or(found, |bound| found.map(|found| found.min(bound)));
    }

    /// The same under a test's clock. The process's time is not the test's time, so a call counts as a first attempt
    /// unless it is known not to be.
    pub(crate) fn bound_by_test_clock(&self, now: u64) {
        let mut state = self.state();
        let began = state.began_by_test_clock.map_or(now, |began| began.min(now));
        state.began_by_test_clock = Some(began);
        state.bound = match state.doubt {
            None => Some(now),
            Some(_) if state.id == IdSource::Repeated => None,
            Some(_) => Some(began.saturating_sub(ms(ALONE))),
        };
    }

    pub(crate) fn bound(&self) -> Option<u64> {
        self.state().bound
    }

    /// When the call may be sent, if it may have been sent before.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        let state = self.state();
        state.doubt.as_ref().and(state.began).map(|began| began + ALONE)
    }

    /// Handles a script's answer that it cannot tell whether the call has happened. A call that was sent once and
    /// answered has not happened, so it starts over. Under a caller's operation id it does not start over, but asks for
    /// the server's clock, if it has not yet. Returns false if neither helps.
    pub(crate) fn begin_anew(&self) -> bool {
        let mut state = self.state();
        if state.doubt.is_some() || (state.id != IdSource::Own && state.clock == ClockUse::Ask) {
            return false;
        }
        if state.id == IdSource::Own {
            state.began = Some(Instant::now());
        }
        state.bound = None;
        state.clock = ClockUse::Ask;
        true
    }
}
