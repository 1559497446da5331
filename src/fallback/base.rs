//! The store's version of a session that is kept here.

use crate::model::{OperationId, SessionId, Version};

/// The store's version of a session that is kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    /// Changes that this process sent to the store without getting an answer. If the store has no changes besides
    /// these, the session here is newer.
    pub(crate) unsure: Vec<OperationId>,
}
