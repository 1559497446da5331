//! Where a reading of an index ended, and how it goes on.

use redis::{Pipeline, Value};

use crate::model::{Cursor, Error, IndexEntry, Result};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};

/// What was read of an index.
#[derive(Debug, Default)]
pub(crate) struct IndexPage {
    pub(crate) entries: Vec<IndexEntry>,
    /// What stood among them and is no session id, so that no cursor counts it.
    pub(crate) unreadable: Vec<StoredId>,
    /// There was so much of that, that what comes behind was not read.
    is_cut: bool,
}

impl IndexPage {
    /// The entries, for whom a page that is cut would look like the last.
    pub(crate) fn whole(self, what: &'static str) -> Result<Vec<IndexEntry>> {
        if self.is_cut { Err(Error::corrupt(what)) } else { Ok(self.entries) }
    }
}

/// How many entries are read at once at most.
const MOST: usize = 32_000;

/// A page's entries: from the cursor's score on, inclusive, without those that came before. What is not as it should be
/// is the index, `what`.
pub(crate) async fn read(
    call: &Call,
    key: &[u8],
    what: &'static str,
    size: usize,
    after: Option<&Cursor>,
) -> Result<IndexPage> {
    let passed = |entry: &IndexEntry| {
        after.is_some_and(|cursor| entry.created_at == cursor.created_at && entry.id <= cursor.id)
    };
    let (score, mut limit) = after.map_or((0, size), |cursor| (cursor.created_at, size + cursor.ties));
    loop {
        let read = read_from(call, key, what, score, limit).await?;
        let is_last = read.len() < limit;
        let mut page = IndexPage::default();
        for (id, score) in read {
            match told(&id) {
                Some(id) => page.entries.push(IndexEntry { id, created_at: score as u64 }),
                None => page.unreadable.push(id),
            }
        }
        page.entries.retain(|entry| !passed(entry));
        // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        // And what is unreadable fills no page.
        if is_last || page.entries.len() >= size || limit > MOST {
            page.is_cut = !is_last && page.entries.len() < size;
            page.entries.truncate(size);
            return Ok(page);
        }
        limit *= 2;
    }
}

/// Entries from a score on.
async fn read_from(
    call: &Call,
    key: &[u8],
    what: &'static str,
    score: u64,
    limit: usize,
) -> Result<Vec<(StoredId, f64)>> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGEBYSCORE").arg(key).arg(score).arg("+inf").arg("WITHSCORES");
    pipeline.arg("LIMIT").arg(0).arg(limit);
    let value = call.read(&pipeline, what).await?.pop().unwrap_or(Value::Nil);
    redis::from_redis_value(value).map_err(|_| Error::corrupt(what))
}
