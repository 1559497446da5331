//! delete: a live session gone with every index entry.

use crate::memory::call::{Call, was_there};
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Kind;
use crate::memory::removal;
use crate::model::{Result, SessionId, SessionRef};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef) -> Result<bool> {
    let hint = session.hint().index_fields();
    let mut call = call.reaching([session.id().as_str(), &hint.user, &hint.connection, &hint.node]);
    was_there(call.settle_at(session, attempt))
}

fn attempt(call: &Call<'_>, locked: &mut LockedShards<'_>, id: &SessionId) -> Result<(), Halt> {
    locked.need([id.as_str()])?;
    if let Some(record) = locked.record(id, call.now)
        && let Kind::Deleted(led_to) = &record.kind
    {
        if record.version_of(call.operation).is_some() {
            return Ok(());
        }
        // A logout that comes with the id from before the login is a logout all the same.
        if let Some(to) = led_to {
            return Err(Halt::Rotated(to.clone()));
        }
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    locked.need_session(id, record)?;
    removal::remove_one(call, locked, id.clone());
    Ok(())
}
