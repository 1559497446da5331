//! The sessions that a node's lease does not cover.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::session_id::SessionId;

/// The sessions of some partitions, in which a node lost its lease while it holds the lease in others. Other nodes may
/// have taken these sessions meanwhile. Once the lease is registered there again, the node writes to those that it
/// still has.
#[derive(Clone)]
pub struct LeaseGap {
    /// Finds the partition of an id, given the number of partitions.
    pub(crate) place: fn(&SessionId, u16) -> u16,
    pub(crate) count: u16,
    /// The partitions in which the lease was lost.
    pub(crate) lost: BTreeSet<u16>,
    /// The partitions that did not answer: there the lease lasts until the end of its last renewal.
    pub(crate) silent: BTreeSet<u16>,
}

impl LeaseGap {
    /// Whether a session is among them.
    #[must_use]
    pub fn covers(&self, id: &SessionId) -> bool {
        self.lost.contains(&(self.place)(id, self.count))
    }
}

impl fmt::Debug for LeaseGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGap")
            .field("count", &self.count)
            .field("lost", &self.lost)
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}

/// Two gaps are equal if they cover the same partitions.
impl PartialEq for LeaseGap {
    fn eq(&self, other: &Self) -> bool {
        (self.count, &self.lost, &self.silent) == (other.count, &other.lost, &other.silent)
    }
}

impl Eq for LeaseGap {}
