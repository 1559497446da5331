//! clean: removes what a migration left that is not the session.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::{Kind, Record};
use crate::model::{Direction, Ending, EventKind, Leftover, Result, SessionId, SessionRef, TaskId, ms};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
    let id = session.id();
    call.reaching([id.as_str()]).settle(|call, locked| attempt(call, locked, id, task, what))
}

/// Whether a record is what this task left of that kind.
fn is_left(record: &Record, task: TaskId, what: Leftover) -> bool {
    let is_incoming = record.is_frozen_by(task, Direction::Incoming);
    match (&record.kind, what) {
        (Kind::Live, Leftover::Copy { until_ms }) => is_incoming && record.on_its_way() == Some(until_ms),
        (Kind::Deleted(_), Leftover::Deleted) => is_incoming,
        (Kind::Departed(departure), Leftover::Departed) => departure.task == Some(task),
        _ => false,
    }
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    task: TaskId,
    what: Leftover,
) -> Result<bool, Halt> {
    let Some(record) = locked.record(id, call.now).filter(|record| is_left(record, task, what)) else {
        return Ok(false);
    };
    if matches!(what, Leftover::Copy { .. }) {
        locked.need_session(id, record)?;
        let copy = locked.discard(id);
        call.tell(EventKind::Ended(Ending::Withdrawn), id, &copy, copy.version);
        return Ok(true);
    }
    let mut left = record.clone();
    left.freeze = None;
    left.speak(left.stored_until.min(call.now + ms(call.rules.tombstone)));
    if let Kind::Departed(departure) = &mut left.kind {
        departure.task = None;
    }
    locked.leave(id.clone(), left);
    Ok(true)
}
