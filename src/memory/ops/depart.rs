//! depart: removes a frozen session whose copy is at the other place.

use crate::memory::call::{Call, was_there};
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Kind;
use crate::model::{Direction, EventKind, Refusal, Result, SessionId, SessionRef, TaskId, Version};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, task: TaskId, until: u64) -> Result<bool> {
    let id = session.id();
    let mut call = call.reaching([id.as_str()]);
    was_there(call.settle(|call, locked| attempt(call, locked, id, task, until)))
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    task: TaskId,
    until: u64,
) -> Result<(), Halt> {
    if let Some(record) = locked.record(id, call.now)
        && let Kind::Departed(departure) = &record.kind
        && departure.task == Some(task)
    {
        return Ok(());
    }
    let record = locked.live(id, call.now)?;
    let is_so = record.is_frozen(call.now) && record.is_frozen_by(task, Direction::Outgoing);
    if !is_so || record.on_its_way() != Some(until) {
        return Err(Halt::Refused(Refusal::Conflict { current: Version::new(record.version) }));
    }
    locked.need_session(id, record)?;

    let old = locked.take(id);
    call.tell(EventKind::Departed, id, &old, old.version);
    let departed = old.into_departed();
    locked.leave(id.clone(), departed);
    Ok(())
}
