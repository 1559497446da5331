//! Who holds a node's name, and until when; `lua/lib/lease.lua` in memory.

use crate::memory::call::{Call, Halt};
use crate::memory::locked_shards::LockedShards;
use crate::model::{NodeIdentity, Refusal};

/// The lease of a node, which may have run out.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) holder: NodeIdentity,
    pub(crate) deadline: u64,
}

impl Lease {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        self.deadline > now
    }
}

/// That a node does not hold its lease, or not the session.
pub(crate) fn fenced() -> Halt {
    Halt::Refused(Refusal::Fenced)
}

/// Whether the node that makes a call may write as the owner of a session that is at `node` or comes there.
pub(crate) fn fence(call: &Call<'_>, locked: &LockedShards<'_>, node: &str) -> Result<(), Halt> {
    let Some(holder) = call.holder else {
        return Ok(());
    };
    locked.need([holder.node()])?;
    let lease = locked.lease(holder.node()).filter(|lease| lease.is_live(call.now));
    let is_held = lease.is_some_and(|lease| lease.holder == *holder);
    if is_held && node == holder.node() { Ok(()) } else { Err(fenced()) }
}
