//! The errors, sorted by what the caller can do about them.

use std::fmt;
use std::sync::Arc;

use crate::model::invalid::Invalid;
use crate::model::operation_id::OperationId;
use crate::model::refusal::Refusal;

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error. The error's message contains that of the cause; `source()` returns what lies
/// behind the cause.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Turns an error or a text into a cause.
pub(crate) fn cause(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Cause {
    Cause::from(error.into())
}

/// Why an operation did not succeed.
///
/// `Display` says what happened in plain words, and names the server: `not executed: wrong password, or no
/// such user (127.0.0.1:6379)`. The `source()` is the error behind that message. The messages of
/// `NotExecuted` and `Ambiguous`, and of their sources, contain no session id, no password and no name of the
/// store's user. `==` compares two errors without their causes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Bad input or configuration. The store sent nothing.
    Invalid(Invalid),
    /// An attribute does not have the requested type, or cannot be written as JSON.
    Value {
        /// The attribute's key.
        key: String,
        /// The error of serde_json.
        source: Arc<serde_json::Error>,
    },
    /// The operation was not executed. [`is_transient`](Self::is_transient) says whether a retry may help.
    NotExecuted {
        /// Why it was not executed.
        reason: Obstacle,
        /// The error behind the reason, if there is one.
        source: Option<Cause>,
    },
    /// The operation may have happened. The store sent it and got no reply; or it got an error from a script that may
    /// have written before, perhaps in part. To retry it without making it happen twice, pass the operation id to
    /// [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
    Ambiguous {
        /// The id to retry with.
        operation_id: OperationId,
        /// How the reply was lost, or which command of the script the server refused.
        source: Cause,
    },
    /// The store refused the operation. It changed nothing, except that a login into another partition may
    /// have evicted sessions (docs/partitions.md).
    Refused(Refusal),
    /// The store did not write the value under one of its keys, or the value is broken. Nothing was changed.
    Corrupt {
        /// The role of the key in the operation: record, expiry, user, connection, node and the like. Or the
        /// reply that the store could not read.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Value { key, .. } => {
                write!(f, "attribute {key:?} cannot be read as the requested type, or not be written as JSON")
            }
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
            // The message contains the cause itself already.
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

/// The cause of an error, with the server that it came from.
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

/// Why an operation was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The store could not connect to the master, or no existing connection answered before the deadline. The store
    /// sent nothing.
    Connect,
    /// The deadline passed before the store sent the operation, or during an operation that only reads.
    Deadline,
    /// The connection broke during an operation that only reads.
    ConnectionLost,
    /// The server rejects the store's user: the password is wrong, or the user lacks a permission. A retry does not
    /// help until somebody changes that.
    Auth,
    /// The configuration does not fit the server: for example, its certificate is not trusted, or it has no such
    /// database. A retry does not help until somebody changes that.
    Config,
    /// The server's memory is full: it accepts no more data. Reads and logouts still work.
    OutOfMemory,
    /// The server answers but does not serve now: it is loading its data, or it is a replica.
    Unavailable,
    /// The server answered with another error.
    Server,
    /// The sessions or indexes of the operation kept changing during it.
    Contended,
    /// The store, or the migration manager, was closed.
    Closed,
    /// A [`MigrationManager`](crate::migration::MigrationManager) has a full queue of tasks.
    QueueFull,
    /// The circuit breaker of a [`FallbackStore`](crate::fallback::FallbackStore) is open: its store is away, and the
    /// policy cannot answer this call without it.
    CircuitOpen,
    /// The fallback store is writing the sessions that it kept during the outage back to its store. That
    /// takes a moment.
    Reconciling,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection to the server",
            Self::Deadline => "the deadline passed",
            Self::ConnectionLost => "the connection was lost",
            Self::Auth => "the server rejects the user",
            Self::Config => "the configuration does not fit the server",
            Self::OutOfMemory => "memory full",
            Self::Unavailable => "the server is not serving now",
            Self::Server => "the server answered with an error",
            Self::Contended => "the session or its indexes kept changing",
            Self::Closed => "the store is closed",
            Self::QueueFull => "too many migrations are waiting",
            Self::CircuitOpen => "the circuit breaker is open",
            Self::Reconciling => "the fallback store is writing its sessions back",
        })
    }
}

impl Obstacle {
    /// A word for it that never changes: for metrics and logs.
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

    /// Whether a server caused it, or the way to the server.
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

    /// The error of a call that may have happened, with the id to repeat it under.
    pub(crate) fn ambiguous(id: OperationId, source: Cause) -> Self {
        Self::Ambiguous { operation_id: id.of_a_repeat(), source }
    }

    /// The same, for a call whose operation id four other changes may have pushed out of its session.
    pub(crate) fn unsure(id: OperationId) -> Self {
        Self::ambiguous(id, cause("the session has changed too often since then to prove it"))
    }

    /// The same error with the server that it came from, unless the error names one already.
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

    /// The same error for another of the calls that were sent together.
    pub(crate) fn under(mut self, id: OperationId) -> Self {
        if let Self::Ambiguous { operation_id, .. } = &mut self {
            *operation_id = id.of_a_repeat();
        }
        self
    }

    /// A word for what happened that never changes: for metrics and logs. For a refusal it is [its
    /// code](Refusal::code), and for a call that was not executed the code of the [obstacle](Obstacle::code).
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

    /// The session has a newer id, and its client has that id or will have it in a moment: answer without touching the
    /// cookie.
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Rotated { .. }))
    }

    /// The session changed meanwhile: read it again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Conflict { .. }))
    }

    /// The operation certainly did not happen, and was not refused. A retry may help if the cause is
    /// [transient](Self::is_transient).
    #[must_use]
    pub fn is_not_executed(&self) -> bool {
        matches!(self, Self::NotExecuted { .. })
    }

    /// The operation certainly did not happen, for a reason that may pass by itself: retry freely. A wrong password or
    /// an untrusted certificate does not pass by itself.
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

    /// The node that made the call must stop writing to the session, and to all sessions if it lost its
    /// lease.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Fenced))
    }

    /// The store refused the operation.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The error of a call that may have an operation id. If an earlier call under that id may have happened, a store
    /// that cannot be reached proves nothing.
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
