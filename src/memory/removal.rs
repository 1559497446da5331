//! Removes sessions during a call: those in its way, those above a limit, those whose time is over.

use crate::memory::call::Call;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::{Kind, Record};
use crate::model::{Ending, EventKind, Removed, Session, SessionId, ms};

impl Call<'_> {
    /// Removes one session if it has expired.
    pub(crate) fn reap_one(self, id: &SessionId) -> Option<Session> {
        let now = self.now;
        self.expire_if(id, |record, now| record.expires_at <= now).map(|record| record.session(id, now))
    }

    /// If nobody reaps, a session is removed when its grace is over, as its key would be in Redis. Each new session
    /// removes one of its shard.
    pub(crate) fn reap_lapsed_near(&self, made: &SessionId) {
        if let Some(id) = self.memory.shards.first_expired_near(made.as_str(), self.now) {
            self.another().expire_if(&id, |record, now| record.stored_until <= now);
        }
    }

    fn expire_if(self, id: &SessionId, is_due: impl Fn(&Record, u64) -> bool) -> Option<Record> {
        self.remove_if(id, is_due, make_way)
    }

    /// Removes one session, live or expired, if it meets the condition.
    pub(crate) fn forget_if(self, id: &SessionId, is_so: impl Fn(&Record) -> bool) -> Option<Record> {
        self.remove_if(id, |record, _| is_so(record), |_, locked, id| locked.discard(id))
    }

    fn remove_if(
        self,
        id: &SessionId,
        is_due: impl Fn(&Record, u64) -> bool,
        remove: impl Fn(&Call<'_>, &mut LockedShards<'_>, &SessionId) -> Record,
    ) -> Option<Record> {
        let removed = self.reaching([id.as_str()]).settle(|call, locked| {
            let record =
                locked.record(id, call.now).filter(|record| record.is_session() && is_due(record, call.now));
            let Some(record) = record else {
                return Ok(None);
            };
            locked.need_session(id, record)?;
            Ok(Some(remove(call, locked, id)))
        });
        // This is never refused.
        removed.ok().flatten()
    }

    /// Removes those of the given sessions that are still the user's, live or expired.
    pub(crate) fn remove(mut self, user: &str, ids: Vec<SessionId>) -> Vec<Removed> {
        let removed = self.settle(|call, locked| {
            locked.need(ids.iter().map(SessionId::as_str).chain([user]))?;
            let found =
                |id: &&SessionId| locked.record(id, call.now).is_some_and(|it| it.user.as_str() == user);
            let found: Vec<SessionId> = ids.iter().filter(found).cloned().collect();
            for id in &found {
                locked.record(id, call.now).map_or(Ok(()), |record| locked.need_session(id, record))?;
            }
            Ok(found.into_iter().map(|id| remove_one(call, locked, id, Ending::Deleted)).collect())
        });
        removed.unwrap_or_default()
    }
}

/// Removes an expired session that is locked with all its entries.
pub(crate) fn make_way(call: &Call<'_>, locked: &mut LockedShards<'_>, id: &SessionId) -> Record {
    let record = locked.discard(id);
    call.tell(EventKind::Ended(Ending::Expired), id, &record, record.version);
    record
}

/// Removes a session that is locked with all its entries, and leaves a tombstone.
pub(crate) fn remove_one(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: SessionId,
    ending: Ending,
) -> Removed {
    let record = locked.take(&id);
    call.tell(EventKind::Ended(ending), &id, &record, record.version + 1);
    let removed = Removed::of(id.clone(), &record.index_fields());
    let until = call.now + ms(call.rules.tombstone);
    locked.leave(id, record.into_leftover(Kind::Deleted(None), call.operation, until, call.now));
    removed
}
