//! Why the store refused an operation.

use std::fmt;

use crate::model::id_scheme::IdScheme;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// Why the store refused an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no live session with this id.
    Missing,
    /// A live session has this id already.
    Exists,
    /// The session with this id was deleted a moment ago, or a login gave it another id. No session can be
    /// created or imported under this id yet.
    Gone,
    /// The session is at another version than the one that the change was made from.
    Conflict {
        /// The session's version.
        current: Version,
    },
    /// The session has a newer id, and its client has that id or will have it in a moment: answer without touching the
    /// cookie. This is not a logout.
    Rotated {
        /// The newer id, where the store may reveal it. After a login it does not, because an attacker who planted the
        /// old id would be logged in too. Nor does it where clients hold a [`Token`](crate::Token): only the rotation
        /// itself knows the new token.
        to: Option<SessionId>,
    },
    /// A migration moved the session to another store. It is there, or will be as soon as the migration is
    /// finished.
    Departed {
        /// The migration's name for that store.
        place: String,
    },
    /// The user has as many sessions as allowed.
    Limit {
        /// How many live sessions the user has, counted up to 1,000.
        live: u64,
    },
    /// The session's attributes and extensions would take more bytes than allowed, or would be too many.
    TooLarge {
        /// How many bytes they would take.
        bytes: u64,
        /// How many they would be.
        entries: u64,
    },
    /// A migration has frozen the session.
    Frozen,
    /// The connection belongs to another live session.
    Taken,
    /// The node holds its lease: another process uses its name, or the node is not dead.
    Leased {
        /// Until when, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// The node that makes the call no longer holds its lease, or the session is another node's. It must stop
    /// writing to the session.
    Fenced,
    /// The clients in this namespace work by a contract that this store does not accept, so it does not
    /// start. A contract is a number for what the scripts take, answer and store.
    Contract {
        /// The contract that the namespace has recorded.
        found: u64,
        /// The contract of this store.
        known: u64,
    },
    /// The namespace was made with another number of partitions. The store would look for sessions in the wrong
    /// places, so it does not start.
    Partitions {
        /// The number that the namespace has recorded.
        found: u16,
        /// The number that the store was configured with.
        wanted: u16,
    },
    /// The namespace was made with another scheme of ids. The store would give its clients ids of the wrong scheme, so
    /// it does not start.
    IdScheme {
        /// The scheme that the namespace has recorded.
        found: IdScheme,
        /// The scheme that the store was configured with.
        wanted: IdScheme,
    },
    /// The namespace was made with events and the store has none, or the other way round. Only some changes would then
    /// write events, so the store does not start.
    Events {
        /// How many events per stream the namespace has recorded, 0 for none.
        found: u32,
    },
    /// There is no such namespace, and the store must only open an
    /// [existing](crate::RedisStoreBuilder::existing) one.
    NoNamespace,
    /// The server is older than Redis 6.2, so the store does not start.
    ServerTooOld {
        /// The version that the server reports.
        found: String,
    },
    /// The server's ACL forbids the store's user something that the store needs, so the store does not start.
    /// docs/production.md has the ACL line that allows all of it.
    Forbidden {
        /// The missing permissions, in the words of an ACL: `+del`, or `~{shop:0}:*`.
        lacking: Vec<String>,
    },
    /// The store has as many sessions as it may, all of them live.
    Full {
        /// How many.
        sessions: u64,
    },
}

impl Refusal {
    /// A word for it that never changes: for metrics and logs.
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
            Self::Conflict { current } => write!(f, "the session was changed and is at version {current}"),
            Self::Rotated { .. } => f.write_str("the session has a newer id"),
            Self::Departed { place } => write!(f, "the session has departed to {place:?}"),
            Self::Limit { live } => write!(f, "the user has {live} sessions already"),
            Self::TooLarge { bytes, entries } => {
                write!(f, "the session's {entries} entries would take {bytes} bytes")
            }
            Self::Frozen => f.write_str("the session is being migrated"),
            Self::Taken => f.write_str("the connection belongs to another session"),
            Self::Leased { .. } => f.write_str("the node holds its lease"),
            Self::Fenced => {
                f.write_str("the node no longer holds its lease, or the session is another node's")
            }
            Self::Contract { found, known } => {
                write!(f, "the namespace is at contract {found}, this client knows contract {known}")
            }
            Self::Partitions { found, wanted } => {
                write!(f, "the namespace has {found} partitions, not {wanted}")
            }
            Self::IdScheme { found, wanted } => {
                write!(f, "the namespace has ids of the scheme {}, not {}", found.word(), wanted.word())
            }
            Self::Events { found: 0 } => {
                f.write_str("the namespace has no events, but the store is set to write them")
            }
            Self::Events { .. } => {
                f.write_str("the namespace has events, but the store is set to write none")
            }
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
