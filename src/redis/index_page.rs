//! Where a reading of an index ended, and how it goes on.

use redis::{Pipeline, Value};

use crate::model::{Cursor, Error, IndexEntry, Result, SessionId};
use crate::redis::call::Call;

/// A page's entries: from the cursor's score on, inclusive, without those that came before. What is not as it should be
/// is the index, `what`.
pub(crate) async fn read(
    call: &Call,
    key: &str,
    what: &'static str,
    size: usize,
    after: Option<&Cursor>,
) -> Result<Vec<IndexEntry>> {
    let Some(cursor) = after else {
        return read_from(call, key, what, 0, size).await;
    };
    let passed = |entry: &IndexEntry| entry.created_at == cursor.created_at && entry.id <= cursor.id;
    let mut ties = cursor.ties;
    loop {
        let mut entries = read_from(call, key, what, cursor.created_at, size + ties).await?;
        let is_last = entries.len() < size + ties;
        let read = entries.len();
        entries.retain(|entry| !passed(entry));
        // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        if is_last || entries.len() >= size {
            entries.truncate(size);
            return Ok(entries);
        }
        ties = read - entries.len();
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
