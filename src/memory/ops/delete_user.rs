//! delete_user: all sessions of a user, or all but one, in bounded batches.

use crate::memory::call::Call;
use crate::memory::index::Index;
use crate::memory::locked_shards::LockedShards;
use crate::memory::ops::get;
use crate::memory::record::Kind;
use crate::model::{BATCH, Removed, Result, Selector, SessionId, UserDeleted, ms, require_name, some};

pub(crate) fn run(call: &Call<'_>, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
    require_name("user id", user)?;
    // The one to keep, under the id it was named by and the one that it was rotated to.
    let renamed = keep.and_then(|keep| get::find(call, keep, |id, _| id.clone()).ok().flatten());
    let kept: Vec<&SessionId> = keep.into_iter().chain(&renamed).collect();
    let mut done = UserDeleted::default();
    loop {
        let ids = batch(call, user, &kept)?;
        if ids.is_empty() {
            return Ok(done);
        }
        done.removed.extend(remove(call.another(), user, ids));
    }
}

/// A batch of those that there were when the call began: what is created meanwhile survives, so that it comes to an end.
fn batch(call: &Call<'_>, user: &str, kept: &[&SessionId]) -> Result<Vec<SessionId>> {
    call.another().reaching([user]).settle(|_, locked| {
        let index = locked.index(&Selector::user(user)).into_iter().flat_map(Index::iter);
        let old = index.take_while(|(created_at, _)| *created_at <= call.now).map(|(_, id)| id);
        Ok(old.filter(|id| !kept.contains(id)).take(BATCH).cloned().collect())
    })
}

/// Removes those among some sessions that are still the user's, live or expired.
pub(crate) fn remove(mut call: Call<'_>, user: &str, ids: Vec<SessionId>) -> Vec<Removed> {
    let removed = call.settle(|call, locked| {
        locked.need(ids.iter().map(SessionId::as_str).chain([user]))?;
        let found = |id: &&SessionId| locked.record(id, call.now).is_some_and(|it| it.user.as_str() == user);
        let found: Vec<SessionId> = ids.iter().filter(found).cloned().collect();
        for id in &found {
            locked.record(id, call.now).map_or(Ok(()), |record| locked.need_session(id, record))?;
        }
        Ok(found.into_iter().map(|id| remove_one(call, locked, id)).collect())
    });
    removed.unwrap_or_default()
}

/// Removes a session that is locked with all it has, and leaves a tombstone.
pub(crate) fn remove_one(call: &Call<'_>, locked: &mut LockedShards<'_>, id: SessionId) -> Removed {
    let record = locked.take(&id);
    let removed = Removed {
        id: id.clone(),
        connection: some(record.connection.as_str()).map(Into::into),
        node: some(record.node.as_str()).map(Into::into),
    };
    let until = call.now + ms(call.rules.tombstone);
    locked.leave(id, record.into_leftover(Kind::Deleted(None), call.operation, until), call.now);
    removed
}
