//! Sessions for which a node that holds its lease does not hold it.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::session_id::SessionId;

/// Sessions for which a node that holds its lease does not hold it, or did not without a break: those of some partitions of
/// the namespace. Others may have taken them meanwhile. Once the lease is registered anew there, the node writes to those
/// that it still has.
#[derive(Clone)]
pub struct LeaseGap {
    /// In which partition an id is, of so many.
    pub(crate) place: fn(&SessionId, u16) -> u16,
    pub(crate) count: u16,
    /// Where the lease is not held.
    pub(crate) lost: BTreeSet<u16>,
    /// Which did not answer: there the lease lasts as long as it was renewed for before.
    pub(crate) silent: BTreeSet<u16>,
}

impl LeaseGap {
    /// Whether it is about a session.
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

/// Of the same partitions.
impl PartialEq for LeaseGap {
    fn eq(&self, other: &Self) -> bool {
        (self.count, &self.lost, &self.silent) == (other.count, &other.lost, &other.silent)
    }
}

impl Eq for LeaseGap {}
