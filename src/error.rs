//! What can go wrong, told by what the caller may do about it.

use std::fmt;

use crate::id::{OperationId, SessionId, Version};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error, kept as its `source()`.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation did not succeed.
///
/// `Display` tells this layer only; the cause is the `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad input or configuration. Nothing was sent.
    #[error("{field} {reason}")]
    Invalid {
        /// What is wrong.
        field: &'static str,
        /// How, with the limit.
        reason: String,
    },
    /// An attribute is not of the type that was asked for, or cannot be told in JSON.
    #[error("attribute {key:?} does not fit the type")]
    Value {
        /// The attribute's key.
        key: String,
        /// What serde_json said.
        source: serde_json::Error,
    },
    /// The operation was not executed. Retry freely.
    #[error("not executed: {reason}")]
    NotExecuted {
        /// What kept it from being executed.
        reason: Obstacle,
        /// The cause, where there is one.
        source: Option<Cause>,
    },
    /// The operation was sent, and no reply came: it may have happened. To retry without its happening twice, use
    /// the operation id with [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
    #[error("sent, but no reply: it may have happened")]
    Ambiguous {
        /// The id to retry with.
        operation_id: OperationId,
        /// How the reply was lost.
        source: Cause,
    },
    /// The engine refused the operation. Nothing was changed.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// What is stored under one of our keys is not ours, or broken. Nothing was changed.
    #[error("corrupt {what}")]
    Corrupt {
        /// The key's part in the operation: record, expiry, user, connection, node and the like.
        what: String,
    },
}

/// What kept an operation from being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// No connection to the server could be made.
    Connect,
    /// All connections were in use until the deadline.
    PoolExhausted,
    /// The deadline passed before the operation was sent, or it only reads.
    Deadline,
    /// The connection broke under an operation that only reads.
    ConnectionLost,
    /// The server answered with an error, such as OOM, READONLY or LOADING.
    Server,
    /// What the operation works on kept changing under it.
    Contended,
    /// The store was closed.
    Closed,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection to the server",
            Self::PoolExhausted => "all connections in use until the deadline",
            Self::Deadline => "the deadline passed",
            Self::ConnectionLost => "the connection was lost",
            Self::Server => "the server answered with an error",
            Self::Contended => "what it works on kept changing",
            Self::Closed => "the store is closed",
        })
    }
}

/// Why the engine refused an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no live session with this id.
    Missing,
    /// A live session has this id already.
    Exists,
    /// The session with this id was deleted a moment ago, so it cannot be created again yet.
    Gone,
    /// The session is at another version than the one that the change was made from.
    Conflict {
        /// The version it is at.
        current: Version,
    },
    /// The session has a new id.
    Moved {
        /// The new id.
        to: SessionId,
    },
    /// The user has as many sessions as allowed.
    Limit {
        /// How many are live, counted up to 1,000.
        live: u64,
    },
    /// The session's attributes and extensions would take more than allowed.
    TooLarge {
        /// How many bytes they would take.
        bytes: u64,
    },
    /// The session is being migrated.
    Frozen,
    /// The connection belongs to another live session.
    Taken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no live session with this id"),
            Self::Exists => f.write_str("a live session has this id already"),
            Self::Gone => f.write_str("the session with this id was deleted a moment ago"),
            Self::Conflict { current } => write!(f, "the session was changed, it is at version {current}"),
            Self::Moved { .. } => f.write_str("the session has a new id"),
            Self::Limit { live } => write!(f, "the user has {live} sessions already"),
            Self::TooLarge { bytes } => write!(f, "the session's entries would take {bytes} bytes"),
            Self::Frozen => f.write_str("the session is being migrated"),
            Self::Taken => f.write_str("the connection belongs to another session"),
        }
    }
}

impl Error {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn obstacle(reason: Obstacle, source: impl Into<Option<Cause>>) -> Self {
        Self::NotExecuted { reason, source: source.into() }
    }

    /// There is no live session with this id: log in again.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Missing))
    }

    /// The session changed meanwhile: read it again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Conflict { .. }))
    }

    /// The operation certainly did not happen, for a reason that may pass: retry freely.
    #[must_use]
    pub fn is_not_executed(&self) -> bool {
        matches!(self, Self::NotExecuted { .. })
    }

    /// The operation may have happened: retry with the same operation id.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous { .. })
    }

    /// The engine refused the operation.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}
