//! The span of a call.

#[cfg(feature = "redis")]
use crate::model::SessionId;
use crate::model::{Error, Result};

/// A span for a call of this name, with the fields that are known at its end.
pub(crate) fn of(name: &'static str) -> tracing::Span {
    tracing::debug_span!(
        "cloakroom",
        operation = name,
        session = tracing::field::Empty,
        outcome = tracing::field::Empty,
        round_trips = tracing::field::Empty
    )
}

/// A call about a session that was answered without asking.
#[cfg(feature = "redis")]
pub(crate) fn answered(name: &'static str, id: &SessionId) {
    let span = of(name);
    if !span.is_disabled() {
        span.record("session", id.short_hash());
        span.record("round_trips", 0);
        note(&span, &Ok(()));
    }
}

/// Notes how a call went.
pub(crate) fn note<T>(span: &tracing::Span, result: &Result<T>) {
    let outcome = match result {
        Ok(_) => "ok",
        Err(Error::Refused(_)) => "refused",
        Err(Error::Ambiguous { .. }) => "ambiguous",
        Err(Error::NotExecuted { .. }) => "not executed",
        Err(_) => "error",
    };
    span.record("outcome", outcome);
}

/// Runs a call that waits for nothing in its span.
pub(crate) fn observe<T>(name: &'static str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    let span = of(name);
    let result = span.in_scope(call);
    note(&span, &result);
    result
}
