//! What a call knows of its own earlier attempts: when it began, by the server's clock, and whether one may have happened.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Cause, OperationId, cause, ms};
use crate::redis::transport::target::ClockUse;

/// How long after its beginning a call is sent a second time, at the earliest. A script takes a call that comes within
/// 100 milliseconds of its bound for the first of its kind; the rest is for clocks that run apart.
const ALONE: Duration = Duration::from_millis(110);

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct History(Mutex<State>);

#[derive(Debug)]
struct State {
    /// No attempt was made before. `None` where nobody knows.
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
    /// Its operation id was made for it: nobody else sent it.
    Own,
    /// The caller gave it one, and may have sent the call before.
    Given,
    /// The caller gave it one, under which a call may have happened.
    Repeated,
}

impl History {
    /// Of a call that begins, under an id if the caller gave one.
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

    /// Whether nobody else sent a call under its operation id.
    pub(crate) fn is_of_own_id(&self) -> bool {
        self.state().id == IdSource::Own
    }

    /// An attempt ended without a reply.
    pub(crate) fn lost(&self, reason: Cause) {
        let mut state = self.state();
        state.doubt = Some(reason);
        state.clock = ClockUse::Ask;
    }

    /// How the next attempt comes to its bound.
    pub(crate) fn clock_use(&self) -> ClockUse {
        self.state().clock
    }

    /// Takes a time of the server's from before the call began, as `clock` has it: the earliest that was found counts, for
    /// attempts may come to servers whose clocks differ.
    pub(crate) fn bound_by(&self, clock: impl FnOnce(Instant) -> Option<u64>) {
        let mut state = self.state();
        let found = state.began.and_then(clock);
        state.bound = state.bound.map_or(found, |bound| found.map(|found| found.min(bound)));
    }

    /// The same under a clock that a test moves. The time that passes for the process is not its time: a call is taken for
    /// the first of its kind, unless it is known not to be.
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

    /// When the call may be sent, if it may have been before.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        let state = self.state();
        state.doubt.as_ref().and(state.began).map(|began| began + ALONE)
    }

    /// The server could not tell whether the call has happened. One that was sent once, and answered, has not: it begins
    /// anew. Under an id that the caller gave it does not, but it asks for the server's clock, if it did not before. False
    /// where neither helps.
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
