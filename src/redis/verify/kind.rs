//! The kinds of what does not agree.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A session is not in the index of its user or node, the expiry index or the list of migrations, nothing points to it
    /// from its connection, or a node that has a lease is not listed.
    MissingEntry,
    /// An index or a connection leads to what is no session, or not one of its own.
    StrayEntry,
    /// An index has a session by another time than its record says.
    WrongScore,
    /// A connection points to a session that does not have it, or what a rotation or a login left behind leads nowhere.
    WrongPointer,
    /// Two sessions have one connection. This is not the one to which it points.
    TwoHolders,
    /// A key never goes by itself.
    NoTtl,
    /// A record goes before its session ends, or a key before a session to which it leads.
    ShortTtl,
    /// What is stored cannot be read.
    Corrupt,
    /// A key is of another type.
    ForeignType,
    /// A session is in another partition than its id or its user, or a key is in none.
    WrongPartition,
    /// A key is none of those that a namespace has.
    UnknownKey,
}

impl ViolationKind {
    /// The kind in a word, for logs and programs.
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
