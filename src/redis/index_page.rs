//! A page of an index, where it stands there, and how a reading goes on behind it.

use redis::{Pipeline, Value};

use crate::model::{Cursor, Error, IndexEntry, Result, SessionId};
use crate::redis::call::Call;

/// A page of an index.
#[derive(Debug)]
pub(crate) struct IndexPage {
    pub(crate) entries: Vec<IndexEntry>,
    /// The score from which on it was read.
    pub(crate) from: u64,
    /// How many entries from there on come before it.
    pub(crate) skip: usize,
}

impl IndexPage {
    /// Reads a page: from the cursor's score on, inclusive, without those that came before. What is not as it should be is
    /// the index, `what`.
    pub(crate) async fn read(
        call: &Call,
        key: &str,
        what: &'static str,
        size: usize,
        after: Option<&Cursor>,
    ) -> Result<Self> {
        let Some(cursor) = after else {
            return Ok(Self { entries: read_from(call, key, what, 0, size).await?, from: 0, skip: 0 });
        };
        let from = cursor.created_at;
        let passed = |entry: &IndexEntry| entry.created_at == from && entry.id <= cursor.id;
        let mut ties = cursor.ties;
        loop {
            let mut entries = read_from(call, key, what, from, size + ties).await?;
            let is_last = entries.len() < size + ties;
            let read = entries.len();
            entries.retain(|entry| !passed(entry));
            let skip = read - entries.len();
            // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
            if is_last || entries.len() >= size {
                entries.truncate(size);
                return Ok(Self { entries, from, skip });
            }
            ties = skip;
        }
    }
}

/// Entries from a score on.
async fn read_from(
    call: &Call,
    key: &str,
    what: &'static str,
    score: u64,
    limit: usize,
) -> Result<Vec<IndexEntry>> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGEBYSCORE").arg(key).arg(score).arg("+inf").arg("WITHSCORES");
    pipeline.arg("LIMIT").arg(0).arg(limit);
    let value = call.read(&pipeline, what).await?.pop().unwrap_or(Value::Nil);
    let pairs: Vec<(String, f64)> = redis::from_redis_value(value).map_err(|_| Error::corrupt(what))?;
    let entries = pairs.into_iter().map(|(id, score)| {
        let id = SessionId::new(id).map_err(|_| Error::corrupt(what))?;
        Ok(IndexEntry { id, created_at: score as u64 })
    });
    entries.collect()
}
