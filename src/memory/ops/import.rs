//! import: stores a session as another store exported it.

use std::cmp::Ordering;

use crate::memory::call::Call;
use crate::memory::halt::{Halt, departed, missing};
use crate::memory::locked_shards::LockedShards;
use crate::memory::noted_changes::NotedChanges;
use crate::memory::ops::get;
use crate::memory::record::{Kind, Record};
use crate::memory::shared_name::SharedName;
use crate::memory::{capacity, removal};
use crate::model::{
    Direction, EventKind, Export, Freeze, Import, Incoming, Refusal, Replaces, Result, Session, SessionId,
    Status, Version, changed_entries, ms,
};

pub(crate) fn export(call: &Call<'_>, id: &SessionId) -> Result<Option<Export>> {
    let found = get::find(call, id, |id, record| (record.copy(id, call.now), record.changes.ids))?;
    Ok(found.map(|(copy, changes)| Export::new(copy.read(), changes)))
}

pub(crate) fn run(call: Call<'_>, import: &Import) -> Result<bool> {
    let session = import.export.session();
    let new = record(import, &import.check(call.rules)?, call.now);
    let names = [session.id.as_str(), new.user.as_str(), new.connection.as_str(), new.node.as_str()];
    let mut call = call.reaching(names);
    call.settle(|call, locked| attempt(call, locked, &session.id, new.clone(), import.replaces))
}

fn freeze(coming: &Incoming, status: Status) -> Freeze {
    let Incoming { task, until_ms, place } = coming;
    let (direction, place, node) = (Direction::Incoming, place.clone(), String::new());
    Freeze { task: *task, until: *until_ms, span: 0, status, direction, place, node }
}

/// Whether an earlier import by the same task is here, and whether it is of an earlier, the same or a later
/// freeze.
fn again(old: &Record, new: &Record) -> Option<Ordering> {
    let (old, new) = (old.freeze.as_ref()?, new.freeze.as_ref()?);
    let is_same = old.direction == Direction::Incoming && old.task == new.task;
    is_same.then(|| old.until.cmp(&new.until))
}

fn record(import: &Import, entries: &[u8], now: u64) -> Record {
    let Export { session, changes } = &import.export;
    let Session { times, .. } = session;
    let (index_fields, is_handed_over) = import.index_fields();
    let mut record = Record {
        kind: Kind::Live,
        status: session.status,
        freeze: None,
        changes: NotedChanges::arriving(*changes, now),
        version: session.version.get(),
        created_at: times.created_at,
        ttl: ms(session.ttl),
        deadline: times.deadline,
        last_active: times.last_active,
        expires_at: times.expires_at,
        stored_until: 0,
        copies_until: 0,
        speaks_until: 0,
        user: SharedName::new(&index_fields.user),
        connection: SharedName::new(&index_fields.connection),
        node: SharedName::new(&index_fields.node),
        body: entries.into(),
    };
    if is_handed_over {
        record.status = Status::Suspended;
        record.change(None, now);
    }
    record.freeze = import.migration.as_ref().map(|coming| Box::new(freeze(coming, record.status)));
    record
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    mut new: Record,
    replaces: Replaces,
) -> Result<bool, Halt> {
    let mut old = locked.record(id, call.now);
    if old.is_some_and(|old| old.version_of(call.operation).is_some()) {
        return Ok(true);
    }
    // A copy that was deleted here stays deleted: its migration goes on, and ends with nothing.
    let again = old.and_then(|old| again(old, &new));
    if again == Some(Ordering::Equal) {
        return Ok(true);
    }
    // A copy is known by its task.
    if new.freeze.is_none() {
        call.noted(locked, id)?;
    }
    if new.expires_at <= call.now {
        return Err(missing());
    }
    // It was here before and comes back: the note of where it went is no longer needed.
    if new.freeze.is_some() {
        old = old.filter(|old| !matches!(&old.kind, Kind::Departed(departure) if departure.task.is_none()));
    }
    let replaced = match old {
        None => false,
        Some(old) => match &old.kind {
            Kind::Rotated(to) => return Err(Halt::Refused(Refusal::Rotated { to: Some(to.clone()) })),
            Kind::Departed(departure) => return Err(departed(departure)),
            Kind::Deleted(_) => return Err(Halt::Refused(Refusal::Gone)),
            Kind::Live => old.expires_at > call.now,
        },
    };
    match old {
        Some(old) if replaced && new.freeze.is_some() => {
            if again.is_none() && old.is_frozen(call.now) {
                return Err(Halt::Refused(Refusal::Frozen));
            }
            if again != Some(Ordering::Less) || old.created_at != new.created_at {
                return Err(Halt::Refused(Refusal::Conflict { current: Version::new(old.version) }));
            }
            locked.need_session(id, old)?;
        }
        Some(old) if replaced => {
            if is_here(old, &new, replaces, call.now)? {
                return Ok(false);
            }
            locked.need_session(id, old)?;
        }
        _ if matches!(replaces, Replaces::At(_)) => return Err(missing()),
        _ => {}
    }
    let has_it = replaced && old.is_some_and(|old| old.connection == new.connection);
    let connection = new.connection.as_str();
    if !connection.is_empty() && !has_it && locked.holder(connection, id, call.now)?.is_some() {
        return Err(Halt::Refused(Refusal::Taken));
    }
    // A refused import reaps nothing.
    if !replaced && old.is_some() {
        return Err(Halt::Reap(id.clone()));
    }
    let oldest = if replaced { None } else { capacity::find(call, locked)? };

    if new.freeze.is_none() {
        new.changes.note_import(call.operation);
    }
    if replaced {
        let old = locked.take(id);
        if (&old.user, &old.connection, &old.node, old.status)
            != (&new.user, &new.connection, &new.node, new.status)
        {
            call.tell_from(EventKind::Updated, id, &new, new.version, old.node.as_str());
        }
        (new.stored_until, new.copies_until) = (old.stored_until, old.copies_until);
    }
    if !replaced {
        call.tell(EventKind::Arrived, id, &new, new.version);
    }
    if let Some(oldest) = oldest {
        removal::make_way(call, locked, &oldest);
    }
    new.reschedule(call.rules);
    locked.put(id.clone(), new);
    Ok(true)
}

/// Whether the live session in the place of an imported one is the same. If not, it is replaced or the import is
/// refused.
fn is_here(old: &Record, new: &Record, replaces: Replaces, now: u64) -> Result<bool, Halt> {
    if old.is_frozen(now) {
        return Err(Halt::Refused(Refusal::Frozen));
    }
    if is_same(old, new) {
        return Ok(true);
    }
    let may_replace = match replaces {
        Replaces::Older => true,
        Replaces::At(version) => version.get() == old.version,
        Replaces::Nothing => false,
    };
    if old.created_at != new.created_at || old.version >= new.version || !may_replace {
        return Err(Halt::Refused(Refusal::Conflict { current: Version::new(old.version) }));
    }
    Ok(false)
}

/// Whether two records are of the same version of a session, apart from the times that a refresh moves.
fn is_same(old: &Record, new: &Record) -> bool {
    let numbers = |it: &Record| (it.version, it.created_at, it.ttl, it.deadline);
    numbers(old) == numbers(new)
        && old.status == new.status
        && (&old.user, &old.connection, &old.node) == (&new.user, &new.connection, &new.node)
        && old.body.len() == new.body.len()
        && changed_entries(&old.body, &new.body) == *old.body
}
