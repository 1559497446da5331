//! migrations: the sessions that are on their way to or from another store.

use redis::{Pipeline, Value};

use crate::model::{BATCH, Error, Migration, Migrations, Result, SessionId, check_count};
use crate::redis::call::Operation;
use crate::redis::{lookup, script};
use crate::stored::record::Record;

/// One session, without a freeze that is over.
pub(crate) async fn one(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Migration>> {
    operation.about(id);
    let record = lookup::read(operation, id).await?;
    Ok(record.and_then(|record| Migration::of(id.clone(), record)))
}

pub(crate) async fn run(operation: &Operation<'_>, skip: usize, limit: usize) -> Result<Migrations> {
    check_count("page size", limit, BATCH)?;
    let migrations = operation.keys().migrations();
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGE").arg(&migrations).arg(skip).arg(skip + limit - 1);
    let value = operation.read(&pipeline, "migrations").await?.pop().unwrap_or(Value::Nil);
    let ids: Vec<String> = redis::from_redis_value(value).map_err(|_| Error::corrupt("migrations"))?;
    if ids.is_empty() {
        return Ok(Migrations { migrations: Vec::new(), next: None });
    }

    let mut keys = vec![migrations];
    keys.extend(ids.iter().map(|id| operation.keys().session(id)));
    let mut call = operation.call(&script::MIGRATIONS, keys.iter().map(String::as_str));
    for id in &ids {
        call.arg(id);
    }
    let mut reply = operation.run(&script::MIGRATIONS, &call).await?.expect_ok()?;
    let left = ids.len().saturating_sub(usize::try_from(reply.number()?).unwrap_or(usize::MAX));
    let next = (ids.len() == limit).then_some(skip + left);
    let mut migrations = Vec::new();
    while !reply.is_empty() {
        let id = reply.session_id()?;
        let record = Record::decode(&id, &reply.bytes()?).ok_or_else(|| Error::corrupt("record"))?;
        migrations.extend(Migration::of(id, record));
    }
    Ok(Migrations { migrations, next })
}
