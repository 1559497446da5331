//! Who holds the lease of a node.

use std::fmt;
use std::sync::Arc;

use crate::model::error::{Error, Result};
use crate::model::index_fields::require_name;
use crate::model::random::random;

/// A process that goes by the name of a node, for as long as one lease: the name, and what tells this lease from those
/// that the node had before and will have.
///
/// [`Lease`](crate::nodes::Lease) has one, and with [`SessionStore::as_node`](crate::SessionStore::as_node) the writes of its
/// process carry it.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    node: Arc<str>,
    lease: [u8; 8],
}

impl NodeIdentity {
    /// For a new lease of a node: 1 to 256 bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the limit.
    pub fn new(node: &str) -> Result<Self> {
        require_name("node id", node)?;
        Ok(Self { node: node.into(), lease: random() })
    }

    /// Of a lease that is the same each time.
    #[cfg(all(test, shuttle))]
    pub(crate) fn known(node: &str) -> Self {
        Self { node: node.into(), lease: [1; 8] }
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Lets a session that a node puts somewhere come to that node.
    pub(crate) fn name_node(identity: Option<&Self>, node: &mut String) -> Result<()> {
        match identity {
            Some(identity) if node.is_empty() => identity.node().clone_into(node),
            Some(identity) if node != identity.node() => {
                return Err(Error::invalid("node id", "is not that of the node that makes the call"));
            }
            _ => {}
        }
        Ok(())
    }

    /// As the scripts take it.
    pub(crate) fn lease(&self) -> &[u8; 8] {
        &self.lease
    }
}

/// Without what tells the lease: who has that writes in the name of the node.
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("node", &self.node).finish_non_exhaustive()
    }
}
