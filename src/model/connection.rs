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

    /// The node that holds the connection. Defaults to none, or to the node of a store that acts [as a
    /// node](crate::SessionStore::as_node).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Takes the connection from another live session that has it, and suspends that session. Defaults to a refusal.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.takes_over = true;
        self
    }

    /// Checks the binding, and that the node which makes the call may make it.
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

/// The result of a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The session's id: the new one if it was rotated.
    pub id: SessionId,
    /// The session's version.
    pub version: Version,
    /// The connection that the session had before. Close it if it differs from the new one.
    pub previous_connection: Option<String>,
    /// The node that held that connection.
    pub previous_node: Option<String>,
    /// The session that lost the connection to this one.
    pub taken_from: Option<SessionId>,
    /// Expired sessions that were in the way. This call reaped them, so no reaper will report them.
    pub reaped: Vec<Session>,
    /// False: the session had this connection already, and the store wrote nothing.
    pub changed: bool,
}
