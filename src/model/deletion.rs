//! The sessions that a deletion removed.

use crate::model::index_fields::{IndexFields, some};
use crate::model::session_id::SessionId;

/// A session that an operation removed, and the connection to close.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The id that it had.
    pub id: SessionId,
    /// The user that it had.
    pub user: Option<String>,
    /// The connection that it had.
    pub connection: Option<String>,
    /// The node that held the connection.
    pub node: Option<String>,
}

impl Removed {
    /// A session with all that it had.
    pub(crate) fn of(id: SessionId, had: &IndexFields) -> Self {
        let told = |name: &str| some(name).map(Into::into);
        Self { id, user: told(&had.user), connection: told(&had.connection), node: told(&had.node) }
    }
}

/// The result of deleting a user's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserDeleted {
    /// The sessions that were removed. Close their connections.
    pub removed: Vec<Removed>,
    /// Sessions that cannot be removed, because something under their keys is corrupt. The call changed nothing
    /// of them.
    pub corrupt: Vec<SessionId>,
    /// How many more sessions were removed, or are corrupt, whose ids are not valid text.
    pub unreadable: u64,
}
