//! What can go wrong, told by what the caller may do about it.

use std::fmt;
use std::sync::Arc;

use crate::model::invalid::Invalid;
use crate::model::operation_id::OperationId;
use crate::model::refusal::Refusal;

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error: its words are in those of the error, and what lies behind them is the `source()`.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Anything that is an error, or a text, as a cause.
pub(crate) fn cause(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Cause {
    Cause::from(error.into())
}

/// Why an operation did not succeed.
///
/// `Display` tells what happened, in plain words and with the server: `not executed: wrong password, or no such user
/// (127.0.0.1:6379)`. What lies behind those words is the `source()`. The messages of `NotExecuted` and `Ambiguous`, and those of
/// their sources, have no session id in them, no password and no name of the store's user. Two errors are equal if they are of the same kind, whatever their
/// causes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Bad input or configuration. Nothing was sent.
    Invalid(Invalid),
    /// An attribute is not of the type that was asked for, or cannot be told in JSON.
    Value {
        /// The attribute's key.
        key: String,
        /// What serde_json said.
        source: Arc<serde_json::Error>,
    },
    /// The operation was not executed. Whether a retry may help, [`is_transient`](Self::is_transient) tells.
    NotExecuted {
        /// What kept it from being executed.
        reason: Obstacle,
        /// Why, where there is more to say.
        source: Option<Cause>,
    },
    /// The operation was sent, and no reply came, or an error out of a script that may have written before: it may have
    /// happened, the latter in part. To retry without its happening twice, use
    /// the operation id with [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
    Ambiguous {
        /// The id to retry with.
        operation_id: OperationId,
        /// How the reply was lost, or which command of the script was refused.
        source: Cause,
    },
    /// The engine refused the operation. Nothing was changed, but for evictions by a login into another partition
    /// (docs/partitions.md).
    Refused(Refusal),
    /// What is stored under one of our keys is not ours, or broken. Nothing was changed.
    Corrupt {
        /// The key's part in the operation: record, expiry, user, connection, node and the like.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Value { key, .. } => write!(f, "attribute {key:?} does not fit the type"),
            Self::NotExecuted { source: Some(cause), .. } => write!(f, "not executed: {cause}"),
            Self::NotExecuted { reason, source: None } => write!(f, "not executed: {reason}"),
            Self::Ambiguous { source, .. } => write!(f, "it may have happened: {source}"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Corrupt { what } => write!(f, "corrupt {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Value { source, .. } => Some(&**source),
            // The cause itself is in the words already.
            Self::NotExecuted { source, .. } => source.as_deref()?.source(),
            Self::Ambiguous { source, .. } => source.source(),
            Self::Invalid(_) | Self::Refused(_) | Self::Corrupt { .. } => None,
        }
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(one), Self::Invalid(other)) => one == other,
            (Self::Value { key: one, .. }, Self::Value { key: other, .. }) => one == other,
            (Self::NotExecuted { reason: one, .. }, Self::NotExecuted { reason: other, .. }) => one == other,
            (Self::Ambiguous { operation_id: one, .. }, Self::Ambiguous { operation_id: other, .. }) => {
                one == other
            }
            (Self::Refused(one), Self::Refused(other)) => one == other,
            (Self::Corrupt { what: one }, Self::Corrupt { what: other }) => one == other,
            _ => false,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// The cause of an error, and the server that it came from.
#[derive(Debug)]
struct AtServer {
    cause: Cause,
    server: Arc<str>,
}

impl fmt::Display for AtServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause, self.server)
    }
}

impl std::error::Error for AtServer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// What kept an operation from being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// No connection to the master could be made, or no existing connection answered before the deadline. Nothing was sent.
    Connect,
    /// The deadline passed before the operation was sent, or it only reads.
    Deadline,
    /// The connection broke under an operation that only reads.
    ConnectionLost,
    /// The server does not take the store's user: a wrong password, or no permission for what was asked. Until somebody
    /// changes that, trying again is in vain.
    Auth,
    /// What is configured does not fit the server: its certificate is not trusted, it has no such database. Until somebody
    /// changes that, trying again is in vain.
    Config,
    /// The server's memory is full: it takes no more data. Reads and logouts still work.
    OutOfMemory,
    /// The server is there and does not serve now: it loads its data, or is a replica.
    Unavailable,
    /// The server answered with another error.
    Server,
    /// What the operation works on kept changing under it.
    Contended,
    /// The store, or the migration manager, was closed.
    Closed,
    /// A [`MigrationManager`](crate::migration::MigrationManager) has as many tasks waiting as it takes.
    QueueFull,
    /// The circuit breaker of a [`FallbackStore`](crate::fallback::FallbackStore) is open: its store is away, and the policy has no
    /// answer of its own.
    CircuitOpen,
    /// Sessions that were kept while the store was away are being brought in, which takes a moment.
    Reconciling,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection to the server",
            Self::Deadline => "the deadline passed",
            Self::ConnectionLost => "the connection was lost",
            Self::Auth => "the server does not take the user",
            Self::Config => "the configuration does not fit the server",
            Self::OutOfMemory => "memory full",
            Self::Unavailable => "the server does not serve now",
            Self::Server => "the server answered with an error",
            Self::Contended => "what it works on kept changing",
            Self::Closed => "the store is closed",
            Self::QueueFull => "too many migrations are waiting",
            Self::CircuitOpen => "the circuit breaker is open",
            Self::Reconciling => "sessions that were kept meanwhile are being brought in",
        })
    }
}

impl Obstacle {
    /// One word for it, which does not change: for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Deadline => "deadline",
            Self::ConnectionLost => "connection_lost",
            Self::Auth => "auth",
            Self::Config => "config",
            Self::OutOfMemory => "out_of_memory",
            Self::Unavailable => "unavailable",
            Self::Server => "server",
            Self::Contended => "contended",
            Self::Closed => "closed",
            Self::QueueFull => "queue_full",
            Self::CircuitOpen => "circuit_open",
            Self::Reconciling => "reconciling",
        }
    }

    /// Whether it is of a server or of the way to it.
    fn is_of_server(self) -> bool {
        match self {
            Self::Connect
            | Self::Deadline
            | Self::ConnectionLost
            | Self::Auth
            | Self::Config
            | Self::OutOfMemory
            | Self::Unavailable
            | Self::Server => true,
            Self::Contended | Self::Closed | Self::QueueFull | Self::CircuitOpen | Self::Reconciling => false,
        }
    }
}

impl Error {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid(Invalid::new(field, reason))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn obstacle(reason: Obstacle, source: impl Into<Option<Cause>>) -> Self {
        Self::NotExecuted { reason, source: source.into() }
    }

    /// A call that may have happened, and the id to repeat it under.
    pub(crate) fn ambiguous(id: OperationId, source: Cause) -> Self {
        Self::Ambiguous { operation_id: id.of_a_repeat(), source }
    }

    /// The same for one that four other changes may have pushed out of what its session notes.
    pub(crate) fn unsure(id: OperationId) -> Self {
        Self::ambiguous(id, cause("the session has changed so often since that it does not tell"))
    }

    /// The same with the server that it came from, if it came from one and does not say so yet.
    pub(crate) fn at(self, server: &Arc<str>) -> Self {
        let at = |cause: Cause| -> Cause {
            if (&*cause as &(dyn std::error::Error + 'static)).is::<AtServer>() {
                return cause;
            }
            Arc::new(AtServer { cause, server: server.clone() })
        };
        match self {
            Self::NotExecuted { reason, source } if reason.is_of_server() => Self::NotExecuted {
                reason,
                source: Some(at(source.unwrap_or_else(|| cause(reason.to_string())))),
            },
            Self::Ambiguous { operation_id, source } => Self::Ambiguous { operation_id, source: at(source) },
            error => error,
        }
    }

    pub(crate) fn value(key: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Value { key: key.into(), source: Arc::new(source) }
    }

    /// The same for another of the calls that were sent together.
    pub(crate) fn under(mut self, id: OperationId) -> Self {
        if let Self::Ambiguous { operation_id, .. } = &mut self {
            *operation_id = id.of_a_repeat();
        }
        self
    }

    /// One word for what happened, which does not change: for metrics and logs. A refusal says [which](Refusal::code), and of
    /// what was not executed the [obstacle](Obstacle::code) says why.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Value { .. } => "value",
            Self::NotExecuted { .. } => "not_executed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Refused(refusal) => refusal.code(),
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// There is no live session with this id: log in again.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Missing))
    }

    /// The session has a newer id, which its client has, or will have in a moment: answer without touching its cookie.
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Rotated { .. }))
    }

    /// The session changed meanwhile: read it again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Conflict { .. }))
    }

    /// The operation certainly did not happen, and was not refused. A retry may help if that
    /// [may pass](Self::is_transient).
    #[must_use]
    pub fn is_not_executed(&self) -> bool {
        matches!(self, Self::NotExecuted { .. })
    }

    /// The operation certainly did not happen, for a reason that may pass by itself: retry freely. A wrong password does
    /// not, nor does a certificate that is not trusted.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotExecuted { reason, .. } => {
                !matches!(reason, Obstacle::Auth | Obstacle::Config | Obstacle::Closed)
            }
            _ => false,
        }
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

    /// The error of a call under an operation id, if it has one. Where a call under that may have happened before, a store
    /// that cannot be asked proves nothing.
    pub(crate) fn under_given(self, id: Option<OperationId>) -> Self {
        match (self, id) {
            (Self::NotExecuted { reason, source }, Some(id))
                if id.is_of_a_repeat() && reason != Obstacle::Closed =>
            {
                Self::ambiguous(id, source.unwrap_or_else(|| cause(reason.to_string())))
            }
            (error, _) => error,
        }
    }
}
