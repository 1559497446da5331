//! The identity of a process that holds the lease of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::error::{Error, Result};
use crate::model::index_fields::require_name;
use crate::model::random::random;

/// The identity of a process that acts as a node during one lease: the node's name, and a value that distinguishes
/// this lease from earlier and later ones of the node.
///
/// A [`Lease`](crate::nodes::Lease) has one. With [`SessionStore::as_node`](crate::SessionStore::as_node) the writes of
/// the process carry it.
///
/// In a namespace of several partitions there is one lease per partition. Where a lease was lost while others are held,
/// it is registered again, and all clones use the new lease from then on.
#[derive(Clone)]
pub struct NodeIdentity {
    node: Arc<str>,
    lease: [u8; 8],
    terms: Arc<Terms>,
}

/// For each partition where a lease was lost: the number of its current lease. Keyed by the tag of the
/// partition.
type Terms = RwLock<BTreeMap<Box<str>, Term>>;

#[derive(Clone, Copy, Debug, Default)]
struct Term {
    number: u32,
    /// It is not registered yet.
    is_open: bool,
}

/// Two identities are equal if they began with the same lease.
impl PartialEq for NodeIdentity {
    fn eq(&self, other: &Self) -> bool {
        (&self.node, &self.lease) == (&other.node, &other.lease)
    }
}

impl Eq for NodeIdentity {}

impl NodeIdentity {
    /// Makes an identity for a new lease of a node, whose name has 1 to 256 bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the limit.
    pub fn new(node: &str) -> Result<Self> {
        require_name("node id", node)?;
        Ok(Self { node: node.into(), lease: random(), terms: Arc::default() })
    }

    /// An identity whose lease is the same each time.
    #[cfg(all(test, shuttle))]
    pub(crate) fn known(node: &str) -> Self {
        Self { node: node.into(), lease: [1; 8], terms: Arc::default() }
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sets the node of a session to the node that makes the call.
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

    /// The lease as the scripts take it, with one partition.
    pub(crate) fn lease(&self) -> &[u8; 8] {
        &self.lease
    }

    fn term(&self, tag: &str) -> Term {
        // The map is whole even if the lock is poisoned: no code that panics runs under it.
        self.terms.read().unwrap_or_else(PoisonError::into_inner).get(tag).copied().unwrap_or_default()
    }

    /// The lease in one of several partitions: it differs per partition, and after each loss there.
    pub(crate) fn lease_in(&self, tag: &str) -> [u8; 8] {
        let mut sha1 = sha1_smol::Sha1::from(self.lease);
        sha1.update(&self.term(tag).number.to_be_bytes());
        sha1.update(tag.as_bytes());
        let mut lease = [0; 8];
        lease.copy_from_slice(&sha1.digest().bytes()[..8]);
        lease
    }

    /// Whether the lease of a partition was lost and must be registered again.
    pub(crate) fn is_open_in(&self, tag: &str) -> bool {
        self.term(tag).is_open
    }

    /// Records that the lease of a partition is lost. From now on the engine refuses what was sent under it.
    pub(crate) fn open_in(&self, tag: &str) {
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let term = terms.entry(tag.into()).or_default();
        *term = Term { number: term.number.wrapping_add(1), is_open: true };
    }

    /// Records that the lease of a partition is held.
    pub(crate) fn close_in(&self, tag: &str) {
        if self.is_open_in(tag) {
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            terms.entry(tag.into()).or_default().is_open = false;
        }
    }
}

/// Hides the lease: anyone who has it can write in the name of the node.
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("node", &self.node).finish_non_exhaustive()
    }
}
