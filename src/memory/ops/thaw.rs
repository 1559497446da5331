//! thaw: the freeze of a session ends, at its source or at its target.

use crate::memory::call::{Call, Halt};
use crate::model::{Direction, Error, Refusal, Result, SessionId, TaskId, Thawed};

pub(crate) fn run(call: Call<'_>, id: &SessionId, task: TaskId, direction: Direction) -> Result<Thawed> {
    let settled = call.reaching([id.as_str()]).settle(|call, locked| {
        let record = locked.live(id, call.now)?;
        let is_frozen = record.is_frozen(call.now);
        // One that is over is taken off by its own task only.
        if !is_frozen && !record.is_frozen_by(task, Direction::Outgoing) {
            return Ok(Thawed::Unchanged);
        }
        if is_frozen && !record.is_frozen_by(task, direction) {
            return Err(Halt::Refused(Refusal::Frozen));
        }
        locked.edit(id, |record| record.freeze = None);
        Ok(Thawed::Thawed)
    });
    match settled {
        Err(Error::Refused(Refusal::Missing)) => Ok(Thawed::Missing),
        settled => settled,
    }
}
