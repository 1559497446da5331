//! The session of the store that a local one was.

use crate::model::{OperationId, SessionId, Version};

/// The session of the store that a local one was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    /// Changes that this process sent when it was there and heard no more of: if these are all that it was changed by
    /// there, what is here is newer.
    pub(crate) unsure: Vec<OperationId>,
}
