//! thaw: ends the freeze of a session, at its source or at its target.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::record::Record;
use crate::model::{Direction, Refusal, Result, SessionId, TaskId};

pub(crate) fn run(call: Call<'_>, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
    call.reaching([id.as_str()]).settle(|call, locked| {
        let record = locked.live(id, call.now)?;
        let is_frozen = record.is_frozen(call.now);
        // Only its own task removes a freeze that is over.
        if !is_frozen && !record.is_frozen_by(task, Direction::Outgoing) {
            return Ok(false);
        }
        if is_frozen && !record.is_frozen_by(task, direction) {
            return Err(Halt::Refused(Refusal::Frozen));
        }
        locked.edit(id, Record::end_freeze);
        Ok(true)
    })
}
