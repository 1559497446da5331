//! A new session whose fields are checked.

use std::time::Duration;

use crate::entries::Entries;
use crate::id::{SessionId, Version};
use crate::routing::Routing;
use crate::session::{Origin, Session, Status, Times};

/// A new session whose fields are checked, with its entries as they are stored.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: SessionId,
    pub(crate) routing: Routing,
    pub(crate) status: Status,
    pub(crate) ttl: Duration,
    pub(crate) entries: Vec<u8>,
    pub(crate) attributes: Entries,
    pub(crate) extensions: Entries,
}

impl Draft {
    /// The session as it was made.
    pub(crate) fn into_session(self, version: Version, times: Times) -> Session {
        Session {
            id: self.id,
            status: self.status,
            version,
            ttl: self.ttl,
            times,
            stored: None,
            routing: self.routing,
            attributes: self.attributes,
            extensions: self.extensions,
            origin: Origin::Store,
        }
    }
}
