//! The tracing span of a call, and its measurements.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::Result;
#[cfg(feature = "redis")]
use crate::model::SessionId;
use crate::store::meter::{Beginning, CALL, ERROR_TYPE, OPERATION, OUTCOME, SYSTEM};
use crate::store::outcome::{self, Outcome};

/// The kind of store that is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum System {
    #[cfg(feature = "redis")]
    Redis,
    Memory,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis => "redis",
            Self::Memory => "memory",
        }
    }
}

fn span_of(name: &'static str) -> tracing::Span {
    tracing::debug_span!(
        "cloakroom",
        operation = name,
        session = tracing::field::Empty,
        outcome = tracing::field::Empty,
        "error.type" = tracing::field::Empty,
        round_trips = tracing::field::Empty,
        attempts = tracing::field::Empty
    )
}

/// A call with its span and its measurements.
#[derive(Debug)]
pub(crate) struct CallSpan {
    pub(crate) span: tracing::Span,
    pub(crate) name: &'static str,
    system: System,
    began: Beginning,
    has_ended: AtomicBool,
}

impl CallSpan {
    /// Begins the span of a call with this name. Its last fields are filled in at the end.
    pub(crate) fn begin(system: System, name: &'static str) -> Self {
        let span = span_of(name);
        Self { span, name, system, began: Beginning::now(), has_ended: AtomicBool::new(false) }
    }

    /// Records how the call went.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.has_ended.store(true, Ordering::Relaxed);
        note(&self.span, outcome);
        let [system, operation, word] =
            [(SYSTEM, self.system.name()), (OPERATION, self.name), (OUTCOME, outcome.word)];
        match outcome.error_type {
            None => CALL.record(&self.began, &[system, operation, word]),
            Some(error_type) => {
                CALL.record(&self.began, &[system, operation, word, (ERROR_TYPE, error_type)]);
            }
        }
    }
}

/// The caller dropped the call before its end.
impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.has_ended.load(Ordering::Relaxed) {
            self.end(Outcome::CANCELLED);
        }
    }
}

fn note(span: &tracing::Span, outcome: Outcome) {
    span.record("outcome", outcome.word);
    outcome.error_type.map(|error_type| span.record("error.type", error_type));
}

/// A call about a session that was answered from memory. It is not measured with the calls that took a server's
/// time.
#[cfg(feature = "redis")]
pub(crate) fn answered(name: &'static str, id: &SessionId) {
    let span = span_of(name);
    if !span.is_disabled() {
        span.record("session", id.short_hash());
        span.record("round_trips", 0);
        span.record("attempts", 0);
        note(&span, outcome::of(&Ok(())));
    }
}

/// Runs a call that does not await, within its span.
pub(crate) fn observe<T>(
    name: &'static str,
    call: impl FnOnce() -> Result<T>,
    outcome_of: impl FnOnce(&Result<T>) -> Outcome,
) -> Result<T> {
    let observed = CallSpan::begin(System::Memory, name);
    let result = observed.span.in_scope(call);
    observed.end(outcome_of(&result));
    result
}
