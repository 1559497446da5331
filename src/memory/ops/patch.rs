//! patch: changes single attributes and extensions, status and ttl of a live session.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::limit::limit_entries;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Record;
use crate::model::{
    EventKind, Patch, Patched, Refusal, Result, SessionId, SessionRef, Version, changed_entries, ms,
};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
    let changes = patch.check(call.rules)?;
    let mut call = call.reaching([session.id().as_str()]);
    let (id, (version, [last_active_ms, expires_at_ms], changed)) =
        call.settle_at(session, |call, locked, id| attempt(call, locked, id, &patch, &changes))?;
    Ok(Patched { id, version: Version::new(version), last_active_ms, expires_at_ms, changed, patch })
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    patch: &Patch,
    changes: &[u8],
) -> Result<(u64, [u64; 2], bool), Halt> {
    if let Some((first, record)) = call.noted(locked, id)? {
        return Ok((first, [record.last_active, record.expires_at], true));
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    if record.is_frozen(call.now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    if patch.expected.is_some_and(|expected| expected.get() != record.version) {
        return Err(Halt::Refused(Refusal::Conflict { current: Version::new(record.version) }));
    }
    let ttl = patch.ttl.map(ms).filter(|ttl| *ttl != record.ttl);
    let status = patch.status.unwrap_or(record.status);
    let lifetime = patch.lifetime.map(ms);
    if changes.is_empty() && status == record.status && ttl.is_none() && lifetime.is_none() {
        return Ok((record.version, [record.last_active, record.expires_at], false));
    }
    let body = changed_entries(&record.body, changes);
    limit_entries(call, record, &body)?;

    let is_told = status != record.status;
    let record = locked.edit(id, |record: &mut Record| {
        record.body = body.into();
        record.status = status;
        record.change(call.operation, call.now);
        if ttl.is_some() || lifetime.is_some() {
            record.begin(ttl, lifetime, call.now, call.rules);
        } else {
            record.note_use(call.now, call.rules);
        }
    });
    if is_told {
        call.tell(EventKind::Updated, id, record, record.version);
    }
    Ok((record.version, [record.last_active, record.expires_at], true))
}
