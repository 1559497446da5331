//! What can go wrong, told by what the caller may do about it.

use std::fmt;
use std::sync::Arc;

use crate::model::operation_id::OperationId;
use crate::model::refusal::Refusal;

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
    /// The store, or the migration manager, was closed.
    Closed,
    /// A [`MigrationManager`](crate::MigrationManager) has as many tasks waiting as it takes.
    QueueFull,
    /// The circuit breaker of a [`FallbackStore`](crate::FallbackStore) is open: its store is away, and the policy has no
    /// answer of its own.
    CircuitOpen,
    /// Sessions that were kept while the store was away are being brought in, which takes a moment.
    Recovering,
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
            Self::QueueFull => "too many migrations are waiting",
            Self::CircuitOpen => "the circuit breaker is open",
            Self::Recovering => "sessions that were kept meanwhile are being brought in",
        })
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

    /// The same for each of many sessions that were sent together, each under its own operation id.
    pub(crate) fn of_many(self, count: usize, operation_id: impl Fn(usize) -> OperationId) -> Vec<Self> {
        let shared = |cause: Cause| -> Arc<dyn std::error::Error + Send + Sync> { Arc::from(cause) };
        match self {
            Self::Ambiguous { source, .. } => {
                let source = shared(source);
                let of = |at| Self::Ambiguous {
                    operation_id: operation_id(at),
                    source: Cause::from(source.clone()),
                };
                (0..count).map(of).collect()
            }
            Self::NotExecuted { reason, source } => {
                let source = source.map(shared);
                (0..count).map(|_| Self::obstacle(reason, source.clone().map(Cause::from))).collect()
            }
            Self::Corrupt { what } => (0..count).map(|_| Self::corrupt(&*what)).collect(),
            Self::Refused(refusal) => (0..count).map(|_| Self::Refused(refusal.clone())).collect(),
            // Of the input of one session, and told before any is sent.
            bad_input @ (Self::Invalid { .. } | Self::Value { .. }) => vec![bad_input],
        }
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

    /// The node that made the call must stop writing to the session, and to all of them if it lost its lease.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Fenced))
    }

    /// The engine refused the operation.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl Error {
    /// Whether trying again is in vain.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::NotExecuted { reason: crate::model::error::Obstacle::Closed, .. })
    }
}
