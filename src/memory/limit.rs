//! The session limit per user; `lua/lib/limit.lua` in memory.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Record;
use crate::memory::removal;
use crate::model::{
    Ending, OnLimit, Refusal, Removed, SESSIONS_PER_SCRIPT, Selector, SessionId, count_entries,
};

/// Index entries looked at in one call.
const SCAN: usize = 1000;

/// The sessions to evict for one more session of a user, all of them locked with their entries. Expired sessions do
/// not count. If a user has more than [`SCAN`] entries, batches are removed first: of expired sessions if there are
/// any, otherwise of sessions that any count would evict.
pub(crate) fn admit(call: &Call<'_>, locked: &LockedShards<'_>, user: &str) -> Result<Vec<SessionId>, Halt> {
    let Some((limit, policy)) = call.rules.limit.filter(|_| !user.is_empty()) else {
        return Ok(Vec::new());
    };
    let limit = limit as usize;
    locked.need([user])?;
    let Some(index) = locked.index(&Selector::user(user)).filter(|index| index.len() >= limit) else {
        return Ok(Vec::new());
    };
    let ids: Vec<SessionId> = index.iter().take(SCAN).map(|(_, id)| id.clone()).collect();
    let is_whole = ids.len() == index.len();
    locked.need(ids.iter().map(SessionId::as_str))?;
    let is_live = |id: &SessionId| locked.record(id, call.now).is_some_and(|it| it.expires_at > call.now);
    let (mut live, mut expired): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_live);
    if live.len() >= limit && policy == OnLimit::Reject {
        return Err(Halt::Refused(Refusal::Limit { live: live.len() as u64 }));
    }
    let excess = (live.len() + 1).saturating_sub(limit);
    if !is_whole && !expired.is_empty() {
        expired.truncate(SESSIONS_PER_SCRIPT);
        return Err(Halt::Remove(user.to_owned(), expired));
    }
    if !is_whole || excess > SESSIONS_PER_SCRIPT {
        live.truncate(SESSIONS_PER_SCRIPT);
        return Err(Halt::Remove(user.to_owned(), live));
    }
    live.truncate(excess);
    for id in &live {
        locked.need_session(id, locked.live(id, call.now)?)?;
    }
    Ok(live)
}

/// Evicts the sessions that [`admit`] named.
pub(crate) fn evict(call: &Call<'_>, locked: &mut LockedShards<'_>, victims: Vec<SessionId>) -> Vec<Removed> {
    victims.into_iter().map(|id| removal::remove_one(call, locked, id, Ending::Evicted)).collect()
}

/// Refuses entries that are too many or too large. A session above a lowered limit may still shrink.
pub(crate) fn limit_entries(call: &Call<'_>, record: &Record, body: &[u8]) -> Result<(), Halt> {
    let (entries, before) = (count_entries(body), count_entries(&record.body));
    let is_large = body.len() > call.rules.session_bytes && body.len() > record.body.len();
    if is_large || (entries > call.rules.session_entries && entries > before) {
        let (bytes, entries) = (body.len() as u64, entries as u64);
        return Err(Halt::Refused(Refusal::TooLarge { bytes, entries }));
    }
    Ok(())
}
