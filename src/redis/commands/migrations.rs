//! migrations: the sessions that are on their way to or from another store.

use redis::{Pipeline, Value};

use crate::model::{Error, Migration, Migrations, Result, SESSIONS_PER_SCRIPT, SessionId, check_count};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::{lookup, script};
use crate::stored::record::Record;

/// One session, without a freeze that is over.
pub(crate) async fn one(call: &Call, id: &SessionId) -> Result<Option<Migration>> {
    call.about(id);
    let record = lookup::read(call, id).await?;
    Ok(record.and_then(|record| record.into_migration(id.clone())))
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
        // What cannot be told is passed over: it ends as its freeze does, and is reaped.
        let told = told(&id).and_then(|id| Record::decode(&id, &record)?.into_migration(id));
        migrations.extend(told);
    }
    Ok(Migrations { migrations, next })
}
