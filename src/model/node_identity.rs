//! Who holds the lease of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::error::{Error, Result};
use crate::model::index_fields::require_name;
use crate::model::random::random;

/// A process that goes by the name of a node, for as long as one lease: the name, and what tells this lease from those
/// that the node had before and will have.
///
/// [`Lease`](crate::nodes::Lease) has one, and with [`SessionStore::as_node`](crate::SessionStore::as_node) the writes of its
/// process carry it.
///
/// In a namespace of several partitions the lease is one in each. Where it was lost, and is held in others, it is registered
/// anew, and all clones write by that from then on.
#[derive(Clone)]
pub struct NodeIdentity {
    node: Arc<str>,
    lease: [u8; 8],
    terms: Arc<Terms>,
}

/// By the tags of partitions: where a lease was lost, which one it is by now.
type Terms = RwLock<BTreeMap<Box<str>, Term>>;

#[derive(Clone, Copy, Debug, Default)]
struct Term {
    number: u32,
    /// It is not registered yet.
    is_open: bool,
}

/// By the lease that they began with.
impl PartialEq for NodeIdentity {
    fn eq(&self, other: &Self) -> bool {
        (&self.node, &self.lease) == (&other.node, &other.lease)
    }
}

impl Eq for NodeIdentity {}

impl NodeIdentity {
    /// For a new lease of a node: 1 to 256 bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the limit.
    pub fn new(node: &str) -> Result<Self> {
        require_name("node id", node)?;
        Ok(Self { node: node.into(), lease: random(), terms: Arc::default() })
    }

    /// Of a lease that is the same each time.
    #[cfg(all(test, shuttle))]
    pub(crate) fn known(node: &str) -> Self {
        Self { node: node.into(), lease: [1; 8], terms: Arc::default() }
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

    /// As the scripts take it where there is one partition.
    pub(crate) fn lease(&self) -> &[u8; 8] {
        &self.lease
    }

    fn term(&self, tag: &str) -> Term {
        // Poisoned or not, what it holds is whole: nothing is done under the lock but this.
        self.terms.read().unwrap_or_else(PoisonError::into_inner).get(tag).copied().unwrap_or_default()
    }

    /// The same of one partition of several: another in each, and another each time that it was lost there.
    pub(crate) fn lease_in(&self, tag: &str) -> [u8; 8] {
        let mut sha1 = sha1_smol::Sha1::from(self.lease);
        sha1.update(&self.term(tag).number.to_be_bytes());
        sha1.update(tag.as_bytes());
        let mut lease = [0; 8];
        lease.copy_from_slice(&sha1.digest().bytes()[..8]);
        lease
    }

    /// Whether the lease of a partition was lost and is to be registered anew.
    pub(crate) fn is_open_in(&self, tag: &str) -> bool {
        self.term(tag).is_open
    }

    /// The lease of a partition is lost: what was sent under it is refused from now on, whatever comes after it.
    pub(crate) fn open_in(&self, tag: &str) {
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let term = terms.entry(tag.into()).or_default();
        *term = Term { number: term.number.wrapping_add(1), is_open: true };
    }

    /// The lease of a partition is held.
    pub(crate) fn close_in(&self, tag: &str) {
        if self.is_open_in(tag) {
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            terms.entry(tag.into()).or_default().is_open = false;
        }
    }
}

/// Without what tells the lease: who has that writes in the name of the node.
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("node", &self.node).finish_non_exhaustive()
    }
}
