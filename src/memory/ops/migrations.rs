//! migrations: lists the sessions that are on their way to or from another store.

use crate::memory::call::Call;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::{Departure, Kind, Record};
use crate::model::{Migration, Migrations, Phase, Result, SESSIONS_PER_SCRIPT, SessionId, check_count};

pub(crate) fn run(call: Call<'_>, skip: usize, limit: usize) -> Result<Migrations> {
    check_count("page size", limit, SESSIONS_PER_SCRIPT)?;
    call.reaching_all().settle(|call, locked| Ok(page(locked, call.now, skip, limit)))
}

fn page(locked: &LockedShards<'_>, now: u64, skip: usize, limit: usize) -> Migrations {
    let entries = locked.shards().flat_map(|shard| &shard.migrations);
    let mut entries: Vec<&(u64, SessionId)> = entries.collect();
    entries.sort();
    let page: Vec<_> = entries.into_iter().skip(skip).take(limit).collect();
    let next = (page.len() == limit).then_some(skip + limit);
    let told = page.into_iter().filter_map(|(_, id)| of(id, locked.record(id, now)?, now));
    Migrations { migrations: told.collect(), next }
}

pub(crate) fn one(call: &Call<'_>, id: &SessionId) -> Option<Migration> {
    let found = call.memory.shards.read(id, |record| {
        let lapsed = record.is_session() && record.freeze.is_some() && !record.is_frozen(call.now);
        if lapsed || record.is_silent(call.now) { None } else { of(id, record, call.now) }
    });
    found.flatten()
}

/// Whether anything is stored under an id.
pub(crate) fn knows(call: &Call<'_>, id: &SessionId) -> bool {
    call.memory.shards.read(id, |record| !record.has_lapsed(call.now)).unwrap_or_default()
}

fn of(id: &SessionId, record: &Record, now: u64) -> Option<Migration> {
    if record.is_session() && record.expires_at <= now {
        return None;
    }
    if let Kind::Departed(departure) = &record.kind {
        let Departure { task, place, .. } = &**departure;
        return Some(Migration {
            id: id.clone(),
            task: (*task)?,
            place: place.clone(),
            node: None,
            phase: Phase::Departed,
        });
    }
    let freeze = record.freeze.as_deref().cloned()?;
    Some(Migration::frozen(id.clone(), freeze, !record.is_session()))
}
