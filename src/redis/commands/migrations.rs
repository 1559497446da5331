//! migrations: lists the sessions that are on their way to or from another store.

use redis::{Pipeline, Value};

use crate::model::{Error, Migration, Migrations, Result, SESSIONS_PER_SCRIPT, SessionId, check_count};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::{lookup, script};
use crate::stored::record::{Head, Record};

/// One session, without a freeze that is over.
pub(crate) async fn one(call: &Call, id: &SessionId) -> Result<Option<Migration>> {
    call.about(id);
    let record = lookup::read(call, id).await?;
    Ok(record.and_then(|record| record.into_migration(id.clone())))
}

/// Whether anything is stored under an id.
pub(crate) async fn knows(call: &Call, id: &SessionId) -> Result<bool> {
    call.about(id);
    lookup::knows(call, id).await
}

pub(crate) async fn run(call: &Call, skip: usize, limit: usize) -> Result<Migrations> {
    check_count("page size", limit, SESSIONS_PER_SCRIPT)?;
    let migrations = call.keys().migrations();
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGE").arg(&migrations).arg(skip).arg(skip + limit - 1);
    let value = call.read(&pipeline, "migrations").await?.pop().unwrap_or(Value::Nil);
    let ids: Vec<StoredId> = redis::from_redis_value(value).map_err(|_| Error::corrupt("migrations"))?;
    if ids.is_empty() {
        return Ok(Migrations { migrations: Vec::new(), next: None });
    }

    if let Some(migrations) = natively(call, &ids).await? {
        return Ok(Migrations { migrations, next: (ids.len() == limit).then_some(skip + limit) });
    }
    let mut keys = vec![migrations];
    keys.extend(ids.iter().map(|id| call.keys().session(id)));
    let mut cmd = call.evalsha(&script::MIGRATIONS, &keys);
    for id in &ids {
        cmd.arg(id);
    }
    let mut reply = call.run(&script::MIGRATIONS, || cmd.clone()).await?.expect_ok()?;
    let left = ids.len().saturating_sub(usize::try_from(reply.number()?).unwrap_or(usize::MAX));
    let next = (ids.len() == limit).then_some(skip + left);
    let mut migrations = Vec::new();
    while !reply.is_empty() {
        let (id, record) = (reply.bytes()?, reply.bytes()?);
        // Records that cannot be returned are skipped: their freeze ends by itself, and they are reaped.
        let told = told(&id).and_then(|id| Record::decode(&id, &record)?.into_migration(id));
        migrations.extend(told);
    }
    Ok(Migrations { migrations, next })
}

/// Reads the records without a script. `None`: an entry may lead nowhere, which the script must drop, or the server
/// refuses to read them so.
async fn natively(call: &Call, ids: &[StoredId]) -> Result<Option<Vec<Migration>>> {
    let head = |id: &StoredId| {
        let mut cmd = redis::cmd("GETRANGE");
        cmd.arg(call.keys().session(id)).arg(0).arg(Head::BYTES - 1);
        cmd
    };
    let Some((now, heads)) = call.read_at_once(ids.iter().map(head).collect()).await? else {
        return Ok(None);
    };
    let mut migrations = Vec::new();
    for (id, head) in ids.iter().zip(heads) {
        let Some((migration, is_over)) = migration_of(id, &head, now) else {
            return Ok(None);
        };
        if !is_over {
            migrations.push(migration);
        }
    }
    Ok(Some(migrations))
}

/// A migration, and whether its session or the remainder of it has expired.
fn migration_of(id: &[u8], head: &Value, now: u64) -> Option<(Migration, bool)> {
    let Value::BulkString(head) = head else { return None };
    let id = told(id)?;
    let record = Record::decode_head(&id, head)?;
    let is_over = match &record {
        Record::Session { session, .. } => session.expires_at_ms() <= now,
        other => !other.is_stored(now),
    };
    Some((record.into_migration(id)?, is_over))
}
