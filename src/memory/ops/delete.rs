//! delete: removes a live session with every index entry.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Kind;
use crate::memory::removal;
use crate::model::{
    Ending, Error, EventKind, IndexFields, Leaving, Refusal, Removed, Result, SessionId, SessionRef, Version,
    ms,
};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef) -> Result<Option<Removed>> {
    let hint = session.hint().index_fields();
    let mut call = call.reaching([session.id().as_str(), &hint.user, &hint.connection, &hint.node]);
    match call.settle_at(session, attempt) {
        Err(Error::Refused(Refusal::Missing)) => Ok(None),
        settled => settled.map(|(_, removed)| Some(removed)),
    }
}

fn attempt(call: &Call<'_>, locked: &mut LockedShards<'_>, id: &SessionId) -> Result<Removed, Halt> {
    locked.need([id.as_str()])?;
    if let Some(record) = locked.record(id, call.now)
        && let Kind::Deleted(led_to) = &record.kind
    {
        // Only the first call returns what the session had.
        if record.version_of(call.operation).is_some() {
            return Ok(Removed::of(id.clone(), &IndexFields::default()));
        }
        // A logout under the id from before the login counts too.
        if let Some(to) = led_to {
            return Err(Halt::Rotated(to.clone()));
        }
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    locked.need_session(id, record)?;
    Ok(removal::remove_one(call, locked, id.clone(), Ending::Deleted))
}

/// Gives up a session at a version, because it goes on under another id. Only a logout then follows it.
pub(crate) fn leave(call: Call<'_>, session: &dyn SessionRef, leaving: &Leaving) -> Result<()> {
    let (id, hint) = (session.id(), session.hint().index_fields());
    let mut call = call.reaching([id.as_str(), &hint.user, &hint.connection, &hint.node]);
    call.settle(|call, locked| attempt_to_leave(call, locked, id, leaving))
}

fn attempt_to_leave(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    leaving: &Leaving,
) -> Result<(), Halt> {
    locked.need([id.as_str()])?;
    let first = locked.record(id, call.now).filter(|record| matches!(record.kind, Kind::Deleted(_)));
    if first.is_some_and(|record| record.version_of(call.operation).is_some()) {
        return Ok(());
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    if record.version != leaving.version.get() {
        return Err(Halt::Refused(Refusal::Conflict { current: Version::new(record.version) }));
    }
    if record.is_frozen(call.now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    locked.need_session(id, record)?;
    let old = locked.take(id);
    let ending = Ending::Login(leaving.new_id.clone());
    call.tell(EventKind::Ended(ending), id, &old, old.version + 1);
    let kind = Kind::Deleted(Some(leaving.new_id.clone()));
    let until = call.now + ms(call.rules.rotation_grace);
    let leftover = old.into_leftover(kind, call.operation, until, call.now);
    locked.leave(id.clone(), leftover);
    Ok(())
}
