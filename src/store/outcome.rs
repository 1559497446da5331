//! The outcome of a call, in one word.

use crate::model::{Error, Result};

/// The outcome of a call, for its span and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) word: &'static str,
    /// Why the call got no answer. A refusal is an answer.
    pub(crate) error_type: Option<&'static str>,
}

impl Outcome {
    /// The caller dropped the call.
    pub(crate) const CANCELLED: Self = Self { word: "cancelled", error_type: Some("cancelled") };
}

/// The outcome of any call.
pub(crate) fn of<T>(result: &Result<T>) -> Outcome {
    let word = result.as_ref().map_or_else(Error::code, |_| "ok");
    let error_type = match result {
        Ok(_) | Err(Error::Refused(_)) => None,
        Err(Error::NotExecuted { reason, .. }) => Some(reason.code()),
        Err(error) => Some(error.code()),
    };
    Outcome { word, error_type }
}

/// The outcome of a call that looks for a session.
pub(crate) fn of_search<T>(result: &Result<Option<T>>) -> Outcome {
    match result {
        Ok(None) => MISSING,
        result => of(result),
    }
}

/// The outcome of a call that ends something, and returns whether there was anything to end.
pub(crate) fn of_ending(result: &Result<bool>) -> Outcome {
    match result {
        Ok(false) => MISSING,
        result => of(result),
    }
}

/// The same word as the refusal's.
const MISSING: Outcome = Outcome { word: "missing", error_type: None };
