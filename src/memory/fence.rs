//! Whether a node may write to a session; `lua/lib/lease.lua` in memory.

use crate::memory::call::Call;
use crate::memory::halt::{Halt, fenced};
use crate::memory::locked_shards::LockedShards;

/// Whether the node that makes a call may write to a session that is at `node` or comes there.
pub(crate) fn fence(call: &Call<'_>, locked: &LockedShards<'_>, node: &str) -> Result<(), Halt> {
    let Some(identity) = call.identity else {
        return Ok(());
    };
    locked.need([identity.node()])?;
    let lease = locked.lease(identity.node()).filter(|lease| lease.is_live(call.now));
    let is_held = lease.is_some_and(|lease| lease.identity == *identity);
    if is_held && node == identity.node() { Ok(()) } else { Err(fenced()) }
}
