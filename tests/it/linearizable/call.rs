//! The calls of a history and their answers, with small numbers in the place of names. Number 0 is none.

use std::collections::BTreeSet;

/// A session as a call shows it, without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) id: u8,
    pub(super) version: u32,
    /// Of its two attributes.
    pub(super) values: [u32; 2],
    pub(super) user: u8,
    pub(super) connection: u8,
    pub(super) node: u8,
    pub(super) suspended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    User(u8),
    Node(u8),
}

#[derive(Clone, Debug)]
pub(super) enum Call {
    Create {
        id: u8,
        user: u8,
        connection: u8,
        node: u8,
        value: u32,
    },
    Get {
        id: u8,
    },
    Refresh {
        id: u8,
    },
    RefreshAndGet {
        id: u8,
    },
    /// Saves a copy with another first value, and another user if one is named.
    Update {
        copy: View,
        user: u8,
        value: u32,
    },
    /// Sets one of the two attributes.
    Patch {
        id: u8,
        attribute: u8,
        value: u32,
        /// Only if it is at the version of this copy.
        expect: Option<View>,
    },
    Rotate {
        id: u8,
        to: u8,
        user: u8,
    },
    Bind {
        id: u8,
        connection: u8,
        node: u8,
        take_over: bool,
    },
    Unbind {
        id: u8,
        connection: u8,
    },
    Delete {
        id: u8,
    },
    DeleteUser {
        user: u8,
    },
    List {
        whose: Whose,
    },
    Count {
        whose: Whose,
    },
    ByConnection {
        connection: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Made(View),
    Found(Option<View>),
    Refreshed(Option<(u8, u32)>),
    Saved {
        id: u8,
        version: u32,
    },
    Patched {
        id: u8,
        version: u32,
        changed: bool,
    },
    Rotated {
        view: View,
        by_another: bool,
    },
    Bound {
        id: u8,
        version: u32,
        connection: u8,
        node: u8,
        taken_from: u8,
        changed: bool,
    },
    /// That of a caller who makes an ambiguous one again: what the session had before is told the first time only.
    BoundBefore {
        id: u8,
        version: u32,
    },
    Ended(bool),
    /// Of each: its id, connection and node.
    Removed(Vec<(u8, u8, u8)>),
    Listed(BTreeSet<View>),
    Counted(u64),
    Refused(Refused),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Missing,
    Exists,
    Gone,
    Rotated(u8),
    /// By a login, for an id that is not told.
    Left,
    Conflict(u32),
    Taken,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered(Answer),
    /// Ambiguous or dropped: it happened at any time since it began, or will, or never.
    Unknown,
    NotExecuted,
}

impl Call {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Get { .. } => "get",
            Self::Refresh { .. } => "refresh",
            Self::RefreshAndGet { .. } => "refresh_and_get",
            Self::Update { .. } => "update",
            Self::Patch { .. } => "patch",
            Self::Rotate { .. } => "rotate",
            Self::Bind { .. } => "bind",
            Self::Unbind { .. } => "unbind",
            Self::Delete { .. } => "delete",
            Self::DeleteUser { .. } => "delete_user",
            Self::List { .. } => "list",
            Self::Count { .. } => "count",
            Self::ByConnection { .. } => "session_by_connection",
        }
    }

    /// Whether it changes nothing that a call shows.
    pub(super) fn reads(&self) -> bool {
        matches!(
            self,
            Self::Get { .. }
                | Self::Refresh { .. }
                | Self::RefreshAndGet { .. }
                | Self::List { .. }
                | Self::Count { .. }
                | Self::ByConnection { .. }
        )
    }

    /// The ids that it names.
    pub(super) fn ids(&self) -> Vec<u8> {
        match *self {
            Self::Create { id, .. }
            | Self::Get { id }
            | Self::Refresh { id }
            | Self::RefreshAndGet { id }
            | Self::Patch { id, .. }
            | Self::Bind { id, .. }
            | Self::Unbind { id, .. }
            | Self::Delete { id } => vec![id],
            Self::Update { copy, .. } => vec![copy.id],
            Self::Rotate { id, to, .. } => vec![id, to],
            Self::DeleteUser { .. } | Self::List { .. } | Self::Count { .. } | Self::ByConnection { .. } => {
                Vec::new()
            }
        }
    }
}

impl Answer {
    /// Whether a call may be answered so where the model answers otherwise: a change that is sent again, and had happened,
    /// names an id that its session was rotated to since. `rotated_from` has for each id the one that it took the place of.
    pub(super) fn is_as(&self, model: &Self, rotated_from: &[Option<u8>]) -> bool {
        let since = |id: u8, then: u8| {
            let from = std::iter::successors(Some(id), |id| rotated_from[usize::from(*id)]);
            from.take(rotated_from.len()).any(|id| id == then)
        };
        let mut answer = self.clone();
        let (id, then) = match (&mut answer, model) {
            (Self::Saved { id, .. }, Self::Saved { id: then, .. })
            | (Self::Patched { id, .. }, Self::Patched { id: then, .. })
            | (Self::Bound { id, .. }, Self::Bound { id: then, .. }) => (id, *then),
            (Self::BoundBefore { id, version }, Self::Bound { id: then, version: made, .. }) => {
                return version == made && since(*id, *then);
            }
            _ => return self == model,
        };
        if !since(*id, then) {
            return false;
        }
        *id = then;
        answer == *model
    }
}
