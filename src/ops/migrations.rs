//! migrations: the sessions that are on their way to or from another store.

use redis::{Pipeline, Value};

use crate::batch::BATCH;
use crate::error::{Error, Result};
use crate::id::{SessionId, TaskId};
use crate::operation::Operation;
use crate::record::{Direction, Freeze, Record};
use crate::{lookup, script};

/// A session that is on its way, as one of the two stores has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The session.
    pub id: SessionId,
    /// The task that it moves by.
    pub task: TaskId,
    /// The other store.
    pub place: String,
    /// The node that an outgoing one goes to there; `None`: it keeps the name of its own.
    pub node: Option<String>,
    /// How far it is.
    pub phase: Phase,
}

/// A page of the sessions that are on their way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Migrations {
    /// By the end of their freeze, without those that have expired.
    pub migrations: Vec<Migration>,
    /// How many to skip to go on, if these stay on their way; `None` after the last page.
    pub next: Option<usize>,
}

/// How far a session is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It is frozen here, to go to another store.
    Outgoing {
        /// When the freeze is over, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// A frozen copy of it is here, and becomes the session when that departs.
    Incoming {
        /// When the freeze at its source is over, by the clock there.
        until_ms: u64,
    },
    /// It has gone to another store, where the copy may be frozen still.
    Departed,
    /// The copy that was here was deleted.
    Deleted,
}

impl Migration {
    pub(crate) fn of(id: SessionId, record: Record) -> Option<Self> {
        let (freeze, is_deleted) = match record {
            Record::Session { freeze, .. } => (freeze?, false),
            Record::Deleted { freeze, .. } => (freeze?, true),
            Record::Departed { task, place, .. } => {
                return Some(Self { id, task: task?, place, node: None, phase: Phase::Departed });
            }
            Record::Moved { .. } => return None,
        };
        Some(Self::frozen(id, freeze, is_deleted))
    }

    pub(crate) fn frozen(id: SessionId, freeze: Freeze, is_deleted: bool) -> Self {
        let until_ms = freeze.until;
        let phase = match freeze.direction {
            _ if is_deleted => Phase::Deleted,
            Direction::Outgoing => Phase::Outgoing { until_ms },
            Direction::Incoming => Phase::Incoming { until_ms },
        };
        let node = Some(freeze.node).filter(|node| !node.is_empty());
        Self { id, task: freeze.task, place: freeze.place, node, phase }
    }
}

/// How many to read at once.
pub(crate) fn check_page(limit: usize) -> Result<()> {
    if limit == 0 || limit > BATCH {
        return Err(Error::invalid("page size", format!("is {limit}, must be 1 to {BATCH}")));
    }
    Ok(())
}

/// One session, without a freeze that is over.
pub(crate) async fn one(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Migration>> {
    operation.about(id);
    let record = lookup::read(operation, id).await?;
    Ok(record.and_then(|record| Migration::of(id.clone(), record)))
}

pub(crate) async fn run(operation: &Operation<'_>, skip: usize, limit: usize) -> Result<Migrations> {
    check_page(limit)?;
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
