//! reap: expired sessions removed with all their index entries, and handed out.

use crate::memory::call::Call;
use crate::memory::ops::expired;
use crate::memory::record::Record;
use crate::model::{BATCH, Reaped, Result, Session, SessionId, check_count};

pub(crate) fn run(call: Call<'_>, batch: usize) -> Result<Reaped> {
    check_count("batch", batch, BATCH)?;
    let now = call.now;
    let removed: Vec<(SessionId, Record)> = call.reaching_all().settle(|call, locked| {
        let ids: Vec<SessionId> =
            expired::oldest(locked, call.now).take(batch).map(|(_, id)| id.clone()).collect();
        let remove = |id: SessionId| {
            let record = locked.take(&id);
            (id, record)
        };
        Ok(ids.into_iter().map(remove).collect())
    })?;
    let more = removed.len() == batch;
    let sessions = removed.iter().map(|(id, record)| record.session(id, now)).collect();
    Ok(Reaped { sessions, more, ..Reaped::default() })
}

/// Removes one session if it has expired.
pub(crate) fn one(call: Call<'_>, id: &SessionId) -> Option<Session> {
    let now = call.now;
    remove_if(call, id, |record, now| record.expires_at <= now).map(|record| record.session(id, now))
}

/// Where nobody reaps, a session goes when its grace is over, as its key would in Redis: each that is made sees to one
/// of its shard.
pub(crate) fn lapsed(call: &Call<'_>, made: &SessionId) {
    if let Some(id) = call.memory.shards.first_expired_near(made.as_str(), call.now) {
        remove_if(call.another(), &id, |record, now| record.stored_until <= now);
    }
}

/// Removes one session, live or expired, if it is as asked for.
pub(crate) fn remove_if(
    call: Call<'_>,
    id: &SessionId,
    is_due: impl Fn(&Record, u64) -> bool,
) -> Option<Record> {
    let removed = call.reaching([id.as_str()]).settle(|call, locked| {
        let record =
            locked.record(id, call.now).filter(|record| record.is_session() && is_due(record, call.now));
        let Some(record) = record else {
            return Ok(None);
        };
        locked.need_session(id, record)?;
        Ok(Some(locked.take(id)))
    });
    // It is never refused.
    removed.ok().flatten()
}
