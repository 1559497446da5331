//! What is measured.

/// An operation on sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Get,
    Refresh,
    /// What a web request begins with: the session is noted as used, and returned. Each is used every second, and the use
    /// written once a minute.
    Request,
    Patch,
    ByConnection,
    List,
    Rotate,
    Delete,
    /// A hundred sessions, each created by a script of its own, all awaited together.
    HundredApart,
    /// A hundred sessions, each created by a call of its own, all awaited together, as the store sends them.
    HundredSingly,
    /// A hundred sessions by one call.
    HundredAtOnce,
}

/// How many sessions each of the last three makes.
pub(crate) const HUNDRED: u64 = 100;

impl Operation {
    /// Those of single sessions, in the order of the tables.
    pub(crate) const SINGLE: [Self; 9] = [
        Self::Create,
        Self::Get,
        Self::Refresh,
        Self::Request,
        Self::Patch,
        Self::ByConnection,
        Self::List,
        Self::Rotate,
        Self::Delete,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Refresh => "refresh",
            Self::Request => "request",
            Self::Patch => "patch",
            Self::ByConnection => "by-connection",
            Self::List => "list",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
            Self::HundredApart => "create-100-apart",
            Self::HundredSingly => "create-100-singly",
            Self::HundredAtOnce => "create-100-at-once",
        }
    }

    /// Whether it is done to sessions that are made for it, and not to the crowd that stays.
    pub(crate) fn is_of_a_life(self) -> bool {
        matches!(self, Self::Create | Self::Rotate | Self::Delete)
    }
}
