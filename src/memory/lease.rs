//! The lease of a node in memory.

use crate::model::{NodeIdentity, is_held};

/// The lease of a node, which may have run out.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) identity: NodeIdentity,
    pub(crate) deadline: u64,
    /// Until when the node is listed.
    pub(crate) kept_until: u64,
    /// Its length when it was renewed.
    pub(crate) length: u64,
}

impl Lease {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        is_held(self.deadline, self.length, now)
    }
}
