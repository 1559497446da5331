//! recover: gives a batch of a node's sessions to another node.

use crate::memory::call::Call;
use crate::memory::halt::Halt;
use crate::memory::halt::fenced;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::{Kind, Record};
use crate::model::{
    Claim, Claimed, Cursor, EventKind, IndexEntry, RecoveredSession, Refusal, Result, Selector, SessionId,
    Version, ms, some,
};

pub(crate) fn run(call: Call<'_>, claim: &Claim) -> Result<Claimed> {
    claim.check()?;
    call.reaching([claim.node.as_str(), &claim.to]).settle(|call, locked| attempt(call, locked, claim))
}

fn attempt(call: &Call<'_>, locked: &mut LockedShards<'_>, claim: &Claim) -> Result<Claimed, Halt> {
    let is_held = match locked.lease(&claim.node).filter(|lease| lease.is_live(call.now)) {
        Some(lease) if !claim.always => {
            return Err(Halt::Refused(Refusal::Leased { until_ms: lease.deadline }));
        }
        lease => lease.is_some(),
    };
    let lease = locked.lease(&claim.to).filter(|lease| lease.is_live(call.now)).ok_or_else(fenced)?;
    if claim.identity.as_ref().is_some_and(|identity| lease.identity != *identity) {
        return Err(fenced());
    }
    let (ids, next) = match &claim.only {
        Some(ids) => (ids.iter().cloned().collect(), None),
        None => page(locked, claim),
    };
    locked.need(ids.iter().map(SessionId::as_str))?;
    let mut claimed = Claimed { next, ..Claimed::default() };
    let mut taken = Vec::new();
    for id in ids {
        let is_of_node = |record: &&Record| record.kind == Kind::Live && record.node.as_str() == claim.node;
        let record = locked.record(&id, call.now).filter(is_of_node);
        let record = record.filter(|record| record.expires_at > call.now);
        match record {
            Some(record) if record.is_frozen(call.now) => claimed.frozen.push(id),
            Some(record) => {
                locked.need_session(&id, record)?;
                taken.push(id);
            }
            // It is not the node's, or it has expired and is left to a reaper.
            None => {}
        }
    }

    claimed.sessions = taken.into_iter().map(|id| take(call, locked, claim, id)).collect();
    if !is_held && locked.index(&Selector::node(&claim.node)).is_none() {
        locked.forget_lease(&claim.node);
    }
    Ok(claimed)
}

/// The node's sessions to look at, and where the next page begins.
fn page(locked: &LockedShards<'_>, claim: &Claim) -> (Vec<SessionId>, Option<Cursor>) {
    let after = claim.after.as_ref().map(|cursor| (cursor.created_at, cursor.id.clone()));
    let index = locked.index(&Selector::node(&claim.node)).map(|index| index.after(after.as_ref()));
    let entry = |(created_at, id): &(u64, SessionId)| IndexEntry { id: id.clone(), created_at: *created_at };
    let entries: Vec<IndexEntry> = index.into_iter().flatten().take(claim.batch).map(entry).collect();
    let next = Cursor::behind(&entries, claim.batch, claim.after.as_ref());
    (entries.into_iter().map(|entry| entry.id).collect(), next)
}

/// Gives the other node a session that is locked with all it has.
fn take(call: &Call<'_>, locked: &mut LockedShards<'_>, claim: &Claim, id: SessionId) -> RecoveredSession {
    let mut record = locked.take(&id);
    let connection = some(record.connection.as_str()).map(Into::into);
    record.hand_over(&claim.to, call.operation, call.now);
    record.prolong(call.now + ms(claim.reconnect), call.rules);
    let version = Version::new(record.version);
    call.tell_from(EventKind::Recovered, &id, &record, record.version, &claim.node);
    let user = some(record.user.as_str()).map(Into::into);
    locked.put(id.clone(), record);
    RecoveredSession { id, from: claim.node.clone(), version, user, connection }
}
