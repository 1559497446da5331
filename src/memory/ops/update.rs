//! update: saves a whole session against the version that it was read at.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::shared_name::SharedName;
use crate::model::{EventKind, Refusal, Result, Session, SessionId, Version, ms};

pub(crate) fn run(call: Call<'_>, session: &mut Session) -> Result<()> {
    let entries = session.check(call.rules)?;
    let (old, new) = (session.stored(), &session.index_fields);
    let names = [&old.user, &old.connection, &old.node, &new.user, &new.connection, &new.node];
    let mut call = call.reaching(names.map(String::as_str)).reaching([session.id.as_str()]);
    let saved: &Session = session;
    let settled = call.settle_at(saved, |call, locked, id| attempt(call, locked, id, saved, &entries));
    let (id, (version, last_active, expires_at)) = settled?;
    session.note_saved(id, Version::new(version), last_active, expires_at);
    Ok(())
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    session: &Session,
    entries: &[u8],
) -> Result<(u64, u64, u64), Halt> {
    if let Some((first, record)) = call.noted(locked, id)? {
        return Ok((first, record.last_active, record.expires_at));
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    if record.is_frozen(call.now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    if record.version != session.version.get() {
        return Err(Halt::Refused(Refusal::Conflict { current: Version::new(record.version) }));
    }
    let new = &session.index_fields;
    locked.need_session(id, record)?;
    locked.need([new.user.as_str(), &new.connection, &new.node])?;
    let is_new = !new.connection.is_empty() && new.connection != record.connection.as_str();
    if is_new && locked.holder(&new.connection, id, call.now)?.is_some() {
        return Err(Halt::Refused(Refusal::Taken));
    }

    let mut record = locked.take(id);
    let was = [record.user.clone(), record.connection.clone(), record.node.clone()];
    let is_told = was.each_ref().map(SharedName::as_str) != [&*new.user, &*new.connection, &*new.node]
        || record.status != session.status;
    record.user.set(&new.user);
    record.connection.set(&new.connection);
    record.node.set(&new.node);
    record.body = entries.into();
    record.status = session.status;
    record.change(call.operation, call.now);
    if ms(session.ttl) != record.ttl {
        record.begin(Some(ms(session.ttl)), None, call.now, call.rules);
    } else {
        record.note_use(call.now, call.rules);
    }
    if is_told {
        call.tell_from(EventKind::Updated, id, &record, record.version, was[2].as_str());
    }
    let answer = (record.version, record.last_active, record.expires_at);
    locked.put(id.clone(), record);
    Ok(answer)
}
