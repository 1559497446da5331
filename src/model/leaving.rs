//! A session that a login moves to another store, and what became of an id.

use crate::model::node_identity::NodeIdentity;
use crate::model::operation_id::OperationId;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// How a store gives up a session that a login moved to another store.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub(crate) version: Version,
    pub(crate) new_id: SessionId,
    pub(crate) operation_id: Option<OperationId>,
    pub(crate) identity: Option<NodeIdentity>,
}

impl Leaving {
    /// `version` is the one that was copied, and `new_id` is the id of the copy.
    #[must_use]
    pub fn new(version: Version, new_id: SessionId) -> Self {
        Self { version, new_id, operation_id: None, identity: None }
    }

    /// Makes the call under this operation id: that of the login, so that a repeat is recognised. Defaults to a new
    /// one.
    #[must_use]
    pub fn operation_id(mut self, id: OperationId) -> Self {
        self.operation_id = Some(id);
        self
    }

    /// Makes the call as the node with this lease. It is refused once that lease is lost, or when the session is not
    /// the node's. Defaults to any session.
    #[must_use]
    pub fn as_node(mut self, identity: &NodeIdentity) -> Self {
        self.identity = Some(identity.clone());
        self
    }
}

/// What became of an id, as far as the store remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The store knows nothing of it, or its session has expired.
    Unknown,
    /// It has a live session.
    Live,
    /// Its session has this id now.
    Rotated {
        /// The new id.
        to: SessionId,
    },
    /// It was deleted a moment ago, or a login gave its session another id, which only a delete follows.
    Deleted {
        /// That id, which may be of a session in another store.
        to: Option<SessionId>,
    },
    /// Its session has gone to another store by a migration.
    Departed {
        /// The migration's name for that store.
        place: String,
    },
}
