//! Reads one session by its id.
//!
//! Reading needs no script: TIME and GET in one pipeline take a third of a script's server time. `lua/get.lua`
//! is for other languages and for cluster clients.

use crate::model::{Error, Explanation, Export, Fate, RecentChanges, Refusal, Result, Session, SessionId};
use crate::redis::call::Call;
use crate::redis::transport::read_batcher::Part;
use crate::stored::record::{Record, Usage, changed_at as changed_at_of};

/// The live session under an id, or under the id that it was rotated to.
pub(crate) async fn session(call: &Call, id: &SessionId) -> Result<Option<Session>> {
    Ok(with_changes(call, id).await?.map(|(session, _)| session))
}

/// The same, and the near cache keeps it, if there is one.
pub(crate) async fn session_to_keep(call: &Call, id: &SessionId) -> Result<Option<Session>> {
    call.about(id);
    let found = match read_to_keep(call, id).await? {
        Some(Record::Rotated { to, .. }) => read_to_keep(call, &to).await?,
        found => found,
    };
    Ok(live(found)?.map(|(session, _)| session))
}

/// The same as `session`, with the operation ids of its last changes.
pub(crate) async fn with_changes(call: &Call, id: &SessionId) -> Result<Option<(Session, RecentChanges)>> {
    call.about(id);
    let found = match read(call, id).await? {
        Some(Record::Rotated { to, .. }) => read(call, &to).await?,
        found => found,
    };
    live(found)
}

fn live(found: Option<Record>) -> Result<Option<(Session, RecentChanges)>> {
    match found {
        Some(Record::Session { session, changes, .. }) => Ok(Some((*session, changes))),
        Some(Record::Departed { place, .. }) => Err(Error::Refused(Refusal::Departed { place })),
        Some(Record::Deleted { to: Some(_), .. }) => Err(Error::Refused(Refusal::Rotated { to: None })),
        // An id that was rotated twice leads nowhere.
        Some(Record::Rotated { .. } | Record::Deleted { to: None, .. }) | None => Ok(None),
    }
}

/// The record under an id, unless it is over: an expired session, a leftover whose time has passed, a freeze that
/// has ended.
pub(crate) async fn read(call: &Call, id: &SessionId) -> Result<Option<Record>> {
    unless_over(stored(call, id).await?)
}

/// The same, and the near cache keeps a session, if there is one.
async fn read_to_keep(call: &Call, id: &SessionId) -> Result<Option<Record>> {
    unless_over(stored_to_keep(call, id).await?)
}

/// The same, with the time.
pub(crate) async fn current(call: &Call, id: &SessionId) -> Result<Option<(u64, Record)>> {
    let stored = stored(call, id).await?;
    let now = stored.as_ref().map_or(0, |(now, _)| *now);
    Ok(unless_over(stored)?.map(|record| (now, record)))
}

fn unless_over(stored: Option<Stored>) -> Result<Option<Record>> {
    let Some((now, record)) = stored else {
        return Ok(None);
    };
    Ok(record.ok_or_else(|| Error::corrupt("record"))?.unless_over(now))
}

/// The time of the read, and the record: none if it is corrupt.
type Stored = (u64, Option<Record>);

/// What is stored under an id.
async fn stored(call: &Call, id: &SessionId) -> Result<Option<Stored>> {
    let key = call.keys().session(id.as_str());
    let read = call.read_record(&key, Part::WHOLE).await?;
    Ok(read.map(|(now, bytes, _)| (now, Record::decode(id, &bytes))))
}

/// The same, and the near cache keeps a session that is not frozen, if there is a cache: a freeze ends by the clock,
/// and no server reports that.
pub(crate) async fn stored_to_keep(call: &Call, id: &SessionId) -> Result<Option<Stored>> {
    let Some(near_cache) = call.near_cache() else {
        return stored(call, id).await;
    };
    let key = call.keys().session(id.as_str());
    let began = near_cache.begin();
    let Some((now, bytes, read_on)) = call.read_record(&key, Part::KEPT).await? else {
        near_cache.forget(id);
        return Ok(None);
    };
    let record = Record::decode(id, &bytes);
    match (&record, read_on) {
        (Some(Record::Session { session, freeze: None, .. }), Some(read_on)) => {
            near_cache.keep(began, session, bytes.len(), read_on);
        }
        _ => near_cache.forget(id),
    }
    Ok(Some((now, record)))
}

/// When the session with an id was changed last, other than by a refresh.
pub(crate) async fn changed_at(call: &Call, id: &SessionId) -> Result<Option<u64>> {
    call.about(id);
    let key = call.keys().session(id.as_str());
    let read = call.read_string(&key, Part::beginning(Usage::BYTES), "record").await?;
    Ok(read.and_then(|(_, bytes)| changed_at_of(&bytes)))
}

/// Whether anything is stored under an id.
pub(crate) async fn knows(call: &Call, id: &SessionId) -> Result<bool> {
    let Some((now, record)) = stored(call, id).await? else {
        return Ok(false);
    };
    Ok(record.ok_or_else(|| Error::corrupt("record"))?.is_stored(now))
}

/// The whole session, to import it into another store.
pub(crate) async fn export(call: &Call, id: &SessionId) -> Result<Option<Export>> {
    let found = with_changes(call, id).await?;
    Ok(found.map(|(session, changes)| Export::new(session, changes)))
}

/// What became of an id.
pub(crate) async fn fate(call: &Call, id: &SessionId) -> Result<Fate> {
    call.about(id);
    Ok(match read(call, id).await? {
        None => Fate::Unknown,
        Some(Record::Session { .. }) => Fate::Live,
        Some(Record::Rotated { to, .. }) => Fate::Rotated { to },
        Some(Record::Deleted { to, .. }) => Fate::Deleted { to },
        Some(Record::Departed { place, .. }) => Fate::Departed { place },
    })
}

/// The same for support staff: it reports an expired session too.
pub(crate) async fn explain(call: &Call, id: &SessionId) -> Result<Explanation> {
    call.about(id);
    let Some((now, record)) = stored(call, id).await? else {
        return Ok(Explanation::Unknown);
    };
    let record = record.ok_or_else(|| Error::corrupt("record"))?;
    if let Record::Session { session, .. } = &record
        && session.times.expires_at <= now
    {
        return Ok(Explanation::Expired { at_ms: session.times.expires_at });
    }
    Ok(match record.unless_over(now) {
        None => Explanation::Unknown,
        Some(Record::Session { .. }) => Explanation::Live,
        Some(Record::Rotated { .. }) => Explanation::Rotated { by_login: false },
        Some(Record::Deleted { to: Some(_), .. }) => Explanation::Rotated { by_login: true },
        Some(Record::Deleted { to: None, .. }) => Explanation::Deleted,
        Some(Record::Departed { place, .. }) => Explanation::Departed { place },
    })
}

/// The time of the server that has the call's partition.
pub(crate) async fn time(call: &Call) -> Result<u64> {
    let read = call.read_string(&call.keys().contract(), Part::beginning(1), "contract").await?;
    read.map(|(now, _)| now).ok_or_else(|| Error::corrupt("reply to GETRANGE"))
}
