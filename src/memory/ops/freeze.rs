//! freeze: lets callers read and delete a live session, but not change it, while it moves to another store.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::SessionCopy;
use crate::model::{
    Direction, Export, Freeze, Freezing, Frozen, RecentChanges, Refusal, Result, SessionId, SessionRef,
    Status, ms,
};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, freezing: &Freezing) -> Result<Frozen> {
    freezing.check()?;
    let Freezing { task, place, node, span } = freezing;
    let freeze = Freeze {
        task: *task,
        until: call.now + ms(*span),
        span: ms(*span),
        status: Status::Active,
        direction: Direction::Outgoing,
        place: place.clone(),
        node: node.clone(),
    };
    let mut call = call.reaching([session.id().as_str()]);
    let (_, (until_ms, copy, changes)) =
        call.settle_at(session, |call, locked, id| attempt(call, locked, id, &freeze))?;
    Ok(Frozen { export: Export::new(copy.read(), changes), until_ms })
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    freeze: &Freeze,
) -> Result<(u64, SessionCopy, RecentChanges), Halt> {
    let record = locked.live(id, call.now)?;
    let is_frozen = record.is_frozen(call.now);
    if is_frozen && !record.is_frozen_by(freeze.task, Direction::Outgoing) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    // As it was before the freeze, and will be after it.
    let (copy, changes) = (record.copy(id, u64::MAX), record.changes.ids);
    let record = locked.edit(id, |record| {
        if !is_frozen {
            record.freeze = Some(Box::new(Freeze { status: record.status, ..freeze.clone() }));
        }
    });
    Ok((record.on_its_way().unwrap_or_default(), copy, changes))
}
