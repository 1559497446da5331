//! rotate: gives a live session a new id, and a user in the same step.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::limit::{self, limit_entries};
use crate::memory::locked_shards::LockedShards;
use crate::memory::ops::get;
use crate::memory::record::{Kind, Record};
use crate::model::{
    Error, EventKind, IdScheme, NewId, Refusal, Removed, Result, Rotated, Rotation, SessionId, SessionRef,
    UserThen, changed_entries, ms,
};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
    let changes = rotation.check(call.rules)?;
    let NewId { id: new_id, token } = rotation.new_id.clone().unwrap_or_else(|| call.new_id());
    let id = session.id();
    let mut call = call.reaching([id.as_str(), new_id.as_str(), rotation.named_user()]);
    match call.settle(|call, locked| attempt(call, locked, id, &new_id, &rotation, &changes)) {
        Ok((record, mut evicted)) => {
            call.removed.append(&mut evicted);
            Ok(Rotated {
                session: record.session(&new_id, call.now),
                token,
                evicted: call.removed,
                by_another: false,
                own_changes: 1,
            })
        }
        // Its client must hold a token, which only the other rotation knows.
        Err(Error::Refused(Refusal::Rotated { to: Some(_) })) if call.rules.id_scheme == IdScheme::Token => {
            Err(Error::Refused(Refusal::Rotated { to: None }))
        }
        Err(Error::Refused(Refusal::Rotated { to: Some(to) })) => {
            let session = get::run(&call, &to)?.ok_or(Error::Refused(Refusal::Missing))?;
            Ok(Rotated::by_another(session))
        }
        Err(error) => Err(error),
    }
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    new_id: &SessionId,
    rotation: &Rotation,
    changes: &[u8],
) -> Result<(Record, Vec<Removed>), Halt> {
    if let Some(record) = again(call, locked, id, new_id)? {
        return Ok((record, Vec::new()));
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, record.node.as_str())?;
    if record.is_frozen(call.now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    if locked.record(new_id, call.now).is_some() {
        return Err(Halt::Refused(Refusal::Exists));
    }
    locked.need_session(id, record)?;
    let body = (!changes.is_empty()).then(|| changed_entries(&record.body, changes));
    if let Some(body) = &body {
        limit_entries(call, record, body)?;
    }
    let new_user = rotation.named_user();
    let is_login = !new_user.is_empty() && new_user != record.user.as_str();
    let is_logout = rotation.user == UserThen::Nobody && !record.user.as_str().is_empty();
    let victims = if is_login { limit::admit(call, locked, new_user)? } else { Vec::new() };

    let old = locked.take(id);
    let mut record = old.clone();
    if is_login || is_logout {
        record.user.set(new_user);
    }
    if let Some(body) = body {
        record.body = body.into();
    }
    record.change(call.operation, call.now);
    let (ttl, lifetime) = (rotation.patch.ttl.map(ms), rotation.lifetime_ms(call.rules));
    record.begin(ttl, lifetime, call.now, call.rules);
    let kind = match (is_login, is_logout) {
        (true, _) => EventKind::LoggedIn,
        (_, true) => EventKind::LoggedOut,
        _ => EventKind::Rotated,
    };
    call.tell(kind(new_id.clone()), id, &record, record.version);
    // Copies that may wait elsewhere have the old id.
    record.copies_until = 0;
    locked.put(new_id.clone(), record.clone());
    // An attacker who planted the id before a login must not follow it, nor anyone who has the id of a user who logged
    // out.
    let kind = if is_login || is_logout {
        Kind::Deleted(Some(new_id.clone()))
    } else {
        Kind::Rotated(new_id.clone())
    };
    let until = call.now + ms(call.rules.rotation_grace);
    let leftover = old.into_leftover(kind, call.operation, until, call.now);
    locked.leave(id.clone(), leftover);
    Ok((record, limit::evict(call, locked, victims)))
}

/// The session that this call made the first time, if it is repeated.
fn again(
    call: &Call<'_>,
    locked: &LockedShards<'_>,
    id: &SessionId,
    new_id: &SessionId,
) -> Result<Option<Record>, Halt> {
    let Some(record) = locked.record(id, call.now).filter(|record| !record.is_session()) else {
        return Ok(None);
    };
    let Some((operation, version)) = call.operation.zip(record.version_of(call.operation)) else {
        return Ok(None);
    };
    match &record.kind {
        // The answer is the session of that time, if nobody has changed it since.
        Kind::Rotated(to) | Kind::Deleted(Some(to)) if to == new_id => {
            let session = locked.live(new_id, call.now).map_err(|halt| match halt {
                Halt::Need(more) => Halt::Need(more),
                _ => Halt::Unsure(operation),
            })?;
            if session.version == version { Ok(Some(session.clone())) } else { Err(Halt::Unsure(operation)) }
        }
        _ => Ok(None),
    }
}
