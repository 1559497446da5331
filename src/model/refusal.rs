//! Why the engine refused an operation.

use std::fmt;

use crate::model::id_scheme::IdScheme;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// Why the engine refused an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no live session with this id.
    Missing,
    /// A live session has this id already.
    Exists,
    /// The session with this id was deleted a moment ago, so it cannot be created or imported yet.
    Gone,
    /// The session is at another version than the one that the change was made from.
    Conflict {
        /// The version it is at.
        current: Version,
    },
    /// The session has a newer id, and its client has that, or will have it in a moment: answer without touching its cookie. It
    /// is no logout.
    Rotated {
        /// The newer id, where it may be told. Not by an id that a login left, for who planted that would be logged in
        /// too; nor where the client holds a [`Token`](crate::Token), which only the rotation itself knows.
        to: Option<SessionId>,
    },
    /// The session has gone to another store, by a migration. It is there, or will be as soon as that is finished.
    Departed {
        /// What the migration calls that store.
        place: String,
    },
    /// The user has as many sessions as allowed.
    Limit {
        /// How many are live, counted up to 1,000.
        live: u64,
    },
    /// The session's attributes and extensions would take more than allowed, or be more.
    TooLarge {
        /// How many bytes they would take.
        bytes: u64,
        /// How many they would be.
        entries: u64,
    },
    /// The session is being migrated.
    Frozen,
    /// The connection belongs to another live session.
    Taken,
    /// The node holds its lease: another process goes by its name, or it is not dead.
    Leased {
        /// Until when, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// The node that makes the call does not hold its lease, or not the session: it must not write to it any more.
    Fenced,
    /// Clients work in this namespace by a contract of the scripts that this store does not go with: it does not start.
    Contract {
        /// The contract that is noted in the namespace.
        found: u64,
        /// The contract of this store.
        known: u64,
    },
    /// The namespace was made with another number of partitions: a store that would look elsewhere does not start.
    Partitions {
        /// The number that is noted in the namespace.
        found: u16,
        /// The number that the store was to have.
        wanted: u16,
    },
    /// The namespace was made with another scheme of ids: a store that would give its clients something else does not start.
    IdScheme {
        /// The scheme that is noted in the namespace.
        found: IdScheme,
        /// The scheme that the store was to have.
        wanted: IdScheme,
    },
    /// The namespace was made with events and the store is without, or the other way round: what one of them changes would
    /// be told and what the other changes not, so the store does not start.
    Events {
        /// How many events the namespace is noted to keep in a stream, 0 for none.
        found: u32,
    },
    /// There is no such namespace, and the store was to make [none](crate::RedisStoreBuilder::existing).
    NoNamespace,
    /// The server is older than Redis 6.2, so the store does not start.
    ServerTooOld {
        /// What it says it is.
        found: String,
    },
    /// The server's ACL forbids the store's user something that the store needs, so the store does not start. README.md
    /// has the line that allows all of it.
    Forbidden {
        /// What the user lacks, in the words of an ACL: `+del`, or `~{shop:0}:*`.
        lacking: Vec<String>,
    },
    /// The store has as many sessions as it may, all of them live.
    Full {
        /// How many.
        sessions: u64,
    },
}

impl Refusal {
    /// One word for it, which does not change: for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Exists => "exists",
            Self::Gone => "gone",
            Self::Conflict { .. } => "conflict",
            Self::Rotated { .. } => "rotated",
            Self::Departed { .. } => "departed",
            Self::Limit { .. } => "limit",
            Self::TooLarge { .. } => "too_large",
            Self::Frozen => "frozen",
            Self::Taken => "taken",
            Self::Leased { .. } => "leased",
            Self::Fenced => "fenced",
            Self::Contract { .. } => "contract",
            Self::Partitions { .. } => "partitions",
            Self::IdScheme { .. } => "id_scheme",
            Self::Events { .. } => "events",
            Self::NoNamespace => "no_namespace",
            Self::ServerTooOld { .. } => "server_too_old",
            Self::Forbidden { .. } => "forbidden",
            Self::Full { .. } => "full",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no live session with this id"),
            Self::Exists => f.write_str("a live session has this id already"),
            Self::Gone => f.write_str("the session with this id was deleted a moment ago"),
            Self::Conflict { current } => write!(f, "the session was changed, it is at version {current}"),
            Self::Rotated { .. } => f.write_str("the session has a newer id"),
            Self::Departed { place } => write!(f, "the session has gone to {place:?}"),
            Self::Limit { live } => write!(f, "the user has {live} sessions already"),
            Self::TooLarge { bytes, entries } => {
                write!(f, "the session's {entries} entries would take {bytes} bytes")
            }
            Self::Frozen => f.write_str("the session is being migrated"),
            Self::Taken => f.write_str("the connection belongs to another session"),
            Self::Leased { .. } => f.write_str("the node holds its lease"),
            Self::Fenced => f.write_str("the node does not hold its lease, or not the session"),
            Self::Contract { found, known } => {
                write!(f, "the namespace is at contract {found}, this client knows contract {known}")
            }
            Self::Partitions { found, wanted } => {
                write!(f, "the namespace has {found} partitions, and not {wanted}")
            }
            Self::IdScheme { found, wanted } => {
                write!(f, "the namespace has ids of the scheme {}, and not {}", found.word(), wanted.word())
            }
            Self::Events { found: 0 } => f.write_str("the namespace has no events, and the store tells some"),
            Self::Events { .. } => f.write_str("the namespace has events, and the store tells none"),
            Self::NoNamespace => f.write_str("there is no such namespace at the server"),
            Self::ServerTooOld { found } => {
                write!(f, "the server is {found}, the store needs redis 6.2 or later, or valkey")
            }
            Self::Forbidden { lacking } => {
                write!(
                    f,
                    "the server's ACL forbids what the store needs: its user lacks {}",
                    lacking.join(" ")
                )
            }
            Self::Full { sessions } => write!(f, "the store is at its limit of {sessions} sessions"),
        }
    }
}
