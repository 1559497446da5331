//! create: makes a session with all its index entries, or nothing.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::{Halt, departed};
use crate::memory::locked_shards::LockedShards;
use crate::memory::noted_changes::NotedChanges;
use crate::memory::record::{Kind, Record};
use crate::memory::shared_name::SharedName;
use crate::memory::{capacity, limit, removal};
use crate::model::{
    Created, EventKind, NewSession, NodeIdentity, Refusal, Removed, Result, Session, SessionId, Times,
    ValidatedSession, Version, ms,
};

pub(crate) fn run(call: Call<'_>, new: NewSession) -> Result<Created> {
    let mut validated = new.check(call.rules, |_| call.new_id())?;
    NodeIdentity::name_node(call.identity, &mut validated.index_fields.node)?;
    let id = validated.id.clone();
    let index_fields = &validated.index_fields;
    let mut call =
        call.reaching([id.as_str(), &index_fields.user, &index_fields.connection, &index_fields.node]);
    let mut made = call.settle(|call, locked| attempt(call, locked, &id, &validated))?;
    call.removed.append(&mut made.evicted);
    call.reaped.extend(made.way_of);
    call.reap_lapsed_near(&id);
    let token = validated.token.take();
    let session = validated.into_session(Version::new(made.version), made.times);
    Ok(Created { session, token, evicted: call.removed, reaped: call.reaped })
}

struct Made {
    version: u64,
    times: Times,
    evicted: Vec<Removed>,
    /// An expired session that was replaced because the store was full.
    way_of: Option<Session>,
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    validated: &ValidatedSession,
) -> Result<Made, Halt> {
    if let Some((version, noted)) = call.noted(locked, id)? {
        let times = record(call, validated, noted.created_at).times();
        return Ok(Made { version, times, evicted: Vec::new(), way_of: None });
    }
    if locked.record(id, call.now).is_none()
        && let Some(operation) = call.stale()
    {
        return Err(Halt::Unsure(operation));
    }
    let expired = expired(call, locked, id)?;
    let expired = expired.or(expired_holder(call, locked, id, &validated.index_fields.connection)?);
    fence(call, locked, &validated.index_fields.node)?;
    let victims = limit::admit(call, locked, &validated.index_fields.user)?;
    // Reaped sessions are reported with the new session: a refused create reaps nothing.
    if let Some(expired) = expired {
        return Err(Halt::Reap(expired));
    }
    let oldest = if victims.is_empty() { capacity::find(call, locked)? } else { None };

    let record = record(call, validated, call.now);
    call.tell(EventKind::Created, id, &record, record.version);
    let evicted = limit::evict(call, locked, victims);
    let way_of = oldest.map(|oldest| removal::make_way(call, locked, &oldest).session(&oldest, call.now));
    let times = record.times();
    locked.put(id.clone(), record);
    Ok(Made { version: 1, times, evicted, way_of })
}

/// The expired session that has the id, if there is one. Anything else under the id is a reason to refuse.
fn expired(call: &Call<'_>, locked: &LockedShards<'_>, id: &SessionId) -> Result<Option<SessionId>, Halt> {
    let Some(record) = locked.record(id, call.now) else {
        return Ok(None);
    };
    match &record.kind {
        Kind::Live if record.expires_at > call.now => Err(Halt::Refused(Refusal::Exists)),
        Kind::Live => Ok(Some(id.clone())),
        Kind::Rotated(to) => Err(Halt::Refused(Refusal::Rotated { to: Some(to.clone()) })),
        Kind::Departed(departure) => Err(departed(departure)),
        Kind::Deleted(_) => Err(Halt::Refused(Refusal::Gone)),
    }
}

/// The expired session that still has the connection, if there is one. A live one is a reason to refuse.
fn expired_holder(
    call: &Call<'_>,
    locked: &LockedShards<'_>,
    id: &SessionId,
    connection: &str,
) -> Result<Option<SessionId>, Halt> {
    if connection.is_empty() {
        return Ok(None);
    }
    match locked.holder(connection, id, call.now) {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Err(Halt::Refused(Refusal::Taken)),
        Err(Halt::Reap(holder)) => Ok(Some(holder)),
        Err(halt) => Err(halt),
    }
}

/// The record of the session if it is made at a given time.
fn record(call: &Call<'_>, validated: &ValidatedSession, now: u64) -> Record {
    let mut record = Record {
        kind: Kind::Live,
        status: validated.status,
        freeze: None,
        changes: NotedChanges::none(now),
        version: 0,
        created_at: now,
        ttl: ms(validated.ttl),
        deadline: validated.deadline(now),
        last_active: now,
        expires_at: 0,
        stored_until: 0,
        copies_until: 0,
        speaks_until: 0,
        user: SharedName::new(&validated.index_fields.user),
        connection: SharedName::new(&validated.index_fields.connection),
        node: SharedName::new(&validated.index_fields.node),
        body: validated.entries.as_slice().into(),
    };
    record.change(call.operation, now);
    record.expires_at = record.extended(now, call.rules);
    record.keep(call.rules);
    record
}
