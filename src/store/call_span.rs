//! The span of a call.

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
