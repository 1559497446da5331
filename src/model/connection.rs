//! A connection attached to a session, and detached.

use crate::model::error::Result;
use crate::model::index_fields::{check_name, require_name};
use crate::model::node_identity::NodeIdentity;
use crate::model::session::Session;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// A connection to attach to a session.
///
/// ```
/// use cloakroom::Binding;
///
/// let binding = Binding::new("socket-17").node("gateway-3").take_over();
/// ```
#[derive(Clone, Debug)]
pub struct Binding {
    pub(crate) connection: String,
    pub(crate) node: String,
    pub(crate) takes_over: bool,
}

impl Binding {
    /// A connection id of 1 to 256 bytes.
    #[must_use]
    pub fn new(connection: impl Into<String>) -> Self {
        Self { connection: connection.into(), node: String::new(), takes_over: false }
    }

    /// The node that holds the connection. Defaults to none, and to the node that makes the call
    /// [as one](crate::SessionStore::as_node).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Takes the connection from another live session that has it, which is suspended then. Defaults to being refused.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.takes_over = true;
        self
    }

    /// The same, checked, as a node may make it that holds a lease.
    pub(crate) fn at(mut self, identity: Option<&NodeIdentity>) -> Result<Self> {
        self.check()?;
        NodeIdentity::name_node(identity, &mut self.node)?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        require_name("connection id", &self.connection)?;
        check_name("node id", &self.node)
    }
}

/// What a bind came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The session's id, a new one if it was rotated.
    pub id: SessionId,
    /// The version that it is at.
    pub version: Version,
    /// The connection that it had before. Close it, if it is another.
    pub previous_connection: Option<String>,
    /// The node that held it.
    pub previous_node: Option<String>,
    /// The session that lost the connection to this one.
    pub taken_from: Option<SessionId>,
    /// Expired sessions that were in the way, reaped by this call: no reaper will report them.
    pub reaped: Vec<Session>,
    /// False: it was so already, and nothing was written.
    pub changed: bool,
}
