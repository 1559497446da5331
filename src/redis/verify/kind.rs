//! The kinds of violations.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ViolationKind {
    /// An entry is missing: a session is not in the index of its user or node, in the expiry index or in the list of
    /// migrations, its connection does not point to it, or a node with a lease is not listed.
    MissingEntry,
    /// An index or a connection leads to something that is not a session, or to a session that does not
    /// belong there.
    StrayEntry,
    /// An index has a session under another time than its record says.
    WrongScore,
    /// A connection points to a session that does not have it, or the old id of a rotation or a login leads nowhere.
    WrongPointer,
    /// Two sessions have one connection. This is the one to which the connection does not point.
    TwoHolders,
    /// A key has no TTL.
    NoTtl,
    /// A record expires before its session, or a key before a session to which it leads.
    ShortTtl,
    /// The stored value cannot be read.
    Corrupt,
    /// A key is of another type.
    ForeignType,
    /// A session is in another partition than its id or its user, or a key is in no partition.
    WrongPartition,
    /// A key is none of those that a namespace has.
    UnknownKey,
}

impl ViolationKind {
    /// A word for the kind that never changes: for logs and programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingEntry => "missing_entry",
            Self::StrayEntry => "stray_entry",
            Self::WrongScore => "wrong_score",
            Self::WrongPointer => "wrong_pointer",
            Self::TwoHolders => "two_holders",
            Self::NoTtl => "no_ttl",
            Self::ShortTtl => "short_ttl",
            Self::Corrupt => "corrupt",
            Self::ForeignType => "foreign_type",
            Self::WrongPartition => "wrong_partition",
            Self::UnknownKey => "unknown_key",
        }
    }
}
