//! refresh: records a use of a live session, and extends it when enough of its idle time has passed.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Record;
use crate::model::{Error, Refreshed, Refusal, Result, Session, SessionId, SessionRef, Status, Version};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
    let answer = settle(call, session, |_, record, changed| {
        (record.version, record.last_active, record.expires_at, changed)
    })?;
    Ok(answer.map(|(id, (version, last_active_ms, expires_at_ms, changed))| Refreshed {
        id,
        version: Version::new(version),
        last_active_ms,
        expires_at_ms,
        changed,
    }))
}

pub(crate) fn run_and_get(call: Call<'_>, session: &dyn SessionRef) -> Result<Option<Session>> {
    let now = call.now;
    let answer = settle(call, session, |id, record, _| record.copy(id, now))?;
    Ok(answer.map(|(_, copy)| copy.read()))
}

fn settle<T>(
    call: Call<'_>,
    session: &dyn SessionRef,
    answer: impl Fn(&SessionId, &Record, bool) -> T,
) -> Result<Option<(SessionId, T)>> {
    let mut call = call.reaching([session.id().as_str()]);
    match call.settle_at(session, |call, locked, id| attempt(call, locked, id, &answer)) {
        Err(Error::Refused(Refusal::Missing)) => Ok(None),
        settled => settled.map(Some),
    }
}

fn attempt<T>(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    answer: &impl Fn(&SessionId, &Record, bool) -> T,
) -> Result<T, Halt> {
    let (now, rules) = (call.now, call.rules);
    let record = locked.live(id, now)?;
    fence(call, locked, record.node.as_str())?;
    if record.is_frozen(now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    let left = record.expires_at - now;
    if !rules.is_touch_due(record.last_active, record.expires_at, now) {
        return Ok(answer(id, record, false));
    }
    let record = locked.edit(id, |record| {
        // A clock that was set back leaves last uses in the future and expiries that are too far off. But a session
        // that waits for its client may expire later than its idle time, by the time it was given for that.
        let is_ahead = record.last_active > now;
        record.last_active = now;
        let expires_at = record.extended(now, rules);
        let is_too_far = record.expires_at > now + record.ttl;
        if is_too_far && (is_ahead || record.status == Status::Active) {
            record.expires_at = expires_at;
            record.reschedule(rules);
        } else if left * 1000 < record.ttl * rules.threshold_thousandths() && expires_at > record.expires_at {
            record.expires_at = expires_at;
            record.keep(rules);
        }
    });
    Ok(answer(id, record, true))
}

/// Extends a session by its full idle time.
pub(crate) fn extend(call: Call<'_>, session: &dyn SessionRef) -> Result<Option<Session>> {
    let mut call = call.reaching([session.id().as_str()]);
    let settled = call.settle_at(session, |call, locked, id| {
        let record = locked.live(id, call.now)?;
        fence(call, locked, record.node.as_str())?;
        if record.is_frozen(call.now) {
            return Err(Halt::Refused(Refusal::Frozen));
        }
        let record = locked.edit(id, |record| {
            record.last_active = call.now;
            record.expires_at = record.extended(call.now, call.rules).max(record.expires_at);
            record.keep(call.rules);
        });
        Ok(record.copy(id, call.now))
    });
    match settled {
        Err(Error::Refused(Refusal::Missing)) => Ok(None),
        settled => settled.map(|(_, copy)| Some(copy.read())),
    }
}
