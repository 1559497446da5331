//! depart: a frozen session is let go of, for its copy is at the other place.

use crate::memory::call::{Call, Halt};
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Kind;
use crate::model::{Departed, Direction, Error, Refusal, Result, SessionId, SessionRef, TaskId, Version};

pub(crate) fn run(call: Call<'_>, target: &dyn SessionRef, task: TaskId, until: u64) -> Result<Departed> {
    let id = target.id();
    let mut call = call.reaching([id.as_str()]);
    match call.settle(|call, locked| attempt(call, locked, id, task, until)) {
        Ok(()) => Ok(Departed::Departed),
        Err(Error::Refused(Refusal::Missing)) => Ok(Departed::Missing),
        Err(error) => Err(error),
    }
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

    let departed = locked.take(id).into_departed();
    locked.leave(id.clone(), departed, call.now);
    Ok(())
}
