//! The outcome of one send.

use std::sync::Arc;

use redis::RedisError;

use crate::model::{Error, Obstacle, Result, cause};
use crate::redis::transport::failure;

/// The outcome of one send.
#[derive(Debug)]
pub(crate) enum Delivery<T> {
    /// The server answered.
    Answered(T),
    /// The server answered with an error: for the whole request, or from within a script.
    Refused(RedisError),
    /// The connection broke before the answer.
    Lost(RedisError),
    /// The deadline passed before the answer.
    Late,
    /// There was no connection to send it on.
    Unsent(Unavailable),
}

impl<T> Delivery<T> {
    /// The same outcome, with another answer.
    pub(crate) fn map<U>(self, answer: impl FnOnce(T) -> U) -> Delivery<U> {
        self.and_then(|answered| Delivery::Answered(answer(answered)))
    }

    /// The outcome that an answer leads to.
    pub(crate) fn and_then<U>(self, comes_to: impl FnOnce(T) -> Delivery<U>) -> Delivery<U> {
        match self {
            Self::Answered(answered) => comes_to(answered),
            Self::Refused(error) => Delivery::Refused(error),
            Self::Lost(error) => Delivery::Lost(error),
            Self::Late => Delivery::Late,
            Self::Unsent(unavailable) => Delivery::Unsent(unavailable),
        }
    }

    /// The result of a repeatable request: without an answer it counts as not executed.
    pub(crate) fn or_not_executed(self) -> Result<T> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::Refused(error) | Self::Lost(error) => Err(failure::not_executed(error)),
            Self::Late => Err(Error::obstacle(Obstacle::Deadline, cause("no reply before the deadline"))),
            Self::Unsent(unavailable) => Err(unavailable.into()),
        }
    }
}

/// The error when nothing came in time.
pub(crate) fn timed_out(told: impl Into<String>) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, told.into()).into()
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    cause: Arc<RedisError>,
    is_late: bool,
}

impl Unavailable {
    /// No connection could be made.
    pub(crate) fn connect(cause: Arc<RedisError>) -> Self {
        Self { cause, is_late: false }
    }

    /// No connection was there by the deadline.
    pub(crate) fn late(cause: Arc<RedisError>) -> Self {
        Self { cause, is_late: true }
    }

    pub(crate) fn cause(&self) -> &RedisError {
        &self.cause
    }

    /// Whether the only reason is the deadline.
    pub(crate) fn is_late(&self) -> bool {
        self.is_late
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        failure::not_executed((*unavailable.cause).clone())
    }
}
