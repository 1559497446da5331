//! How a call went, in one word.

use crate::model::{Error, Result};

/// How a call went: for its span, and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) word: &'static str,
    /// What kept it from being answered; a refusal is an answer.
    pub(crate) error_type: Option<&'static str>,
}

impl Outcome {
    /// Of one whose caller dropped it.
    pub(crate) const CANCELLED: Self = Self { word: "cancelled", error_type: Some("cancelled") };
}

/// Of any call.
pub(crate) fn of<T>(result: &Result<T>) -> Outcome {
    let word = result.as_ref().map_or_else(Error::code, |_| "ok");
    let error_type = match result {
        Ok(_) | Err(Error::Refused(_)) => None,
        Err(Error::NotExecuted { reason, .. }) => Some(reason.code()),
        Err(error) => Some(error.code()),
    };
    Outcome { word, error_type }
}

/// Of one that asks for a session.
pub(crate) fn of_search<T>(result: &Result<Option<T>>) -> Outcome {
    match result {
        Ok(None) => MISSING,
        result => of(result),
    }
}

/// Of one that ends something, and tells whether there was anything to end.
pub(crate) fn of_ending(result: &Result<bool>) -> Outcome {
    match result {
        Ok(false) => MISSING,
        result => of(result),
    }
}

/// As a refusal says it.
const MISSING: Outcome = Outcome { word: "missing", error_type: None };
