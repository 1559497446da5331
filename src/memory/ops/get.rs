//! get: reads one live session, by its id or by its connection.

use crate::memory::call::Call;
use crate::memory::record::{Kind, Record, SessionCopy};
use crate::model::{Error, Explanation, Fate, Refusal, Result, Session, SessionId, require_name};

pub(crate) fn run(call: &Call<'_>, id: &SessionId) -> Result<Option<Session>> {
    Ok(find(call, id, |id, record| record.copy(id, call.now))?.map(SessionCopy::read))
}

/// Looks at the live session under an id, or under the id that it was rotated to. An id that was rotated twice leads
/// nowhere.
pub(crate) fn find<T>(
    call: &Call<'_>,
    id: &SessionId,
    answer: impl Fn(&SessionId, &Record) -> T,
) -> Result<Option<T>> {
    let look = |id: &SessionId| {
        call.memory.shards.read(id, |record| match &record.kind {
            Kind::Live if record.expires_at > call.now => Some(Found::Live(answer(id, record))),
            Kind::Rotated(to) if !record.is_silent(call.now) => Some(Found::Moved(to.clone())),
            Kind::Departed(departure) if !record.is_silent(call.now) => {
                Some(Found::Departed(departure.place.clone()))
            }
            Kind::Deleted(Some(_)) if !record.is_silent(call.now) => Some(Found::Left),
            _ => None,
        })
    };
    let found = match look(id).flatten() {
        Some(Found::Moved(to)) => look(&to).flatten(),
        found => found,
    };
    match found {
        Some(Found::Live(answer)) => Ok(Some(answer)),
        Some(Found::Departed(place)) => Err(Error::Refused(Refusal::Departed { place })),
        Some(Found::Left) => Err(Error::Refused(Refusal::Rotated { to: None })),
        Some(Found::Moved(_)) | None => Ok(None),
    }
}

enum Found<T> {
    Live(T),
    Moved(SessionId),
    /// A login gave it an id that is not revealed.
    Left,
    Departed(String),
}

/// Where an id leads, also through logins, whether or not there is a live session.
pub(crate) fn led_to(call: &Call<'_>, id: &SessionId) -> SessionId {
    let mut id = id.clone();
    loop {
        let next = call.memory.shards.read(&id, |record| match &record.kind {
            Kind::Rotated(to) | Kind::Deleted(Some(to)) if !record.is_silent(call.now) => Some(to.clone()),
            _ => None,
        });
        match next.flatten() {
            Some(to) => id = to,
            None => return id,
        }
    }
}

pub(crate) fn by_connection(call: Call<'_>, connection: &str) -> Result<Option<Session>> {
    require_name("connection id", connection)?;
    let now = call.now;
    let found = call.reaching([connection]).settle(|_, locked| {
        let Some(id) = locked.pointer(connection) else {
            return Ok(None);
        };
        locked.need([id.as_str()])?;
        let record = locked.record(id, now).filter(|record| record.expires_at > now);
        Ok(record.map(|record| record.copy(id, now)))
    })?;
    Ok(found.map(SessionCopy::read))
}

/// The same for support staff: it reports an expired session too.
pub(crate) fn explain(call: &Call<'_>, id: &SessionId) -> Explanation {
    let found = call.memory.shards.read(id, |record| match &record.kind {
        Kind::Live if record.expires_at > call.now => Explanation::Live,
        Kind::Live => Explanation::Expired { at_ms: record.expires_at },
        _ if record.is_silent(call.now) => Explanation::Unknown,
        Kind::Rotated(_) => Explanation::Rotated { by_login: false },
        Kind::Deleted(Some(_)) => Explanation::Rotated { by_login: true },
        Kind::Deleted(None) => Explanation::Deleted,
        Kind::Departed(departure) => Explanation::Departed { place: departure.place.clone() },
    });
    found.unwrap_or(Explanation::Unknown)
}

/// What became of an id.
pub(crate) fn fate(call: &Call<'_>, id: &SessionId) -> Fate {
    let found = call.memory.shards.read(id, |record| match &record.kind {
        Kind::Live if record.expires_at > call.now => Fate::Live,
        Kind::Live => Fate::Unknown,
        _ if record.is_silent(call.now) => Fate::Unknown,
        Kind::Rotated(to) => Fate::Rotated { to: to.clone() },
        Kind::Deleted(to) => Fate::Deleted { to: to.clone() },
        Kind::Departed(departure) => Fate::Departed { place: departure.place.clone() },
    });
    found.unwrap_or(Fate::Unknown)
}
