//! A page of an index as a server has it, and where the next one begins.

use redis::{Cmd, Pipeline, Value};

use crate::model::{Cursor, Error, IndexEntry, Result};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};

/// An entry. Its id may not be a valid one.
#[derive(Debug)]
pub(crate) struct StoredEntry {
    pub(crate) id: StoredId,
    pub(crate) created_at: u64,
}

/// A page of an index.
#[derive(Debug)]
pub(crate) struct IndexPage {
    /// All its entries, in order.
    pub(crate) entries: Vec<StoredEntry>,
    /// The score from which on it was read.
    pub(crate) from: u64,
    /// How many entries from there on come before it.
    pub(crate) skip: usize,
    /// Whether others may follow.
    pub(crate) is_full: bool,
}

impl IndexPage {
    /// Reads a page: from the cursor's score on, inclusive, without the entries that came before. If the reply is
    /// wrong, the error names the index `what`.
    pub(crate) async fn read(
        call: &Call,
        key: &[u8],
        what: &'static str,
        size: usize,
        after: Option<&Cursor>,
    ) -> Result<Self> {
        let (from, mut ties) = after.map_or((0, 0), |cursor| (cursor.created_at, cursor.ties));
        let passed = |entry: &StoredEntry| {
            let is_before = |cursor: &Cursor| entry.id.as_slice() <= cursor.id.as_str().as_bytes();
            entry.created_at == from && after.is_some_and(is_before)
        };
        loop {
            let mut entries = read_from(call, key, what, from, size + ties).await?;
            let is_last = entries.len() < size + ties;
            let read = entries.len();
            entries.retain(|entry| !passed(entry));
            let skip = read - entries.len();
            // More entries may sort before the cursor than it has counted: a rotation gives an entry another id under
            // its old score.
            if is_last || entries.len() >= size {
                let is_full = entries.len() >= size;
                entries.truncate(size);
                let mut page = Self { entries, from, skip, is_full };
                page.end_at_an_id();
                return Ok(page);
            }
            ties = skip;
        }
    }

    /// If others follow, cuts the page behind its last valid id, so that a cursor can name it. A page without
    /// a valid id stays as it is.
    fn end_at_an_id(&mut self) {
        let last = self.entries.iter().rposition(|entry| told(&entry.id).is_some());
        if let Some(last) = last.filter(|_| self.is_full) {
            self.entries.truncate(last + 1);
        }
    }

    /// The most entries of a page that is read again, given how many were asked for.
    pub(crate) fn size(&self, asked: usize) -> usize {
        if self.is_full { self.entries.len() } else { asked }
    }

    /// The command that reads its ids again.
    pub(crate) fn again(&self, key: &[u8], asked: usize) -> Cmd {
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(key).arg(self.from).arg("+inf").arg("LIMIT").arg(self.skip).arg(self.size(asked));
        cmd
    }

    /// Whether the page has exactly these ids.
    pub(crate) fn has(&self, ids: &[StoredId]) -> bool {
        self.entries.iter().map(|entry| &entry.id).eq(ids)
    }

    /// Where the page behind the first `count` entries begins.
    pub(crate) fn behind(&self, count: usize, before: Option<&Cursor>) -> Option<Cursor> {
        let named = self
            .entries
            .iter()
            .take(count)
            .filter_map(|entry| Some(IndexEntry { id: told(&entry.id)?, created_at: entry.created_at }));
        let named: Vec<IndexEntry> = named.collect();
        Cursor::behind(&named, named.len(), before)
    }

    /// The same behind all of it, if others may follow.
    pub(crate) fn next(&self, before: Option<&Cursor>) -> Option<Cursor> {
        if self.is_full { self.behind(self.entries.len(), before) } else { None }
    }
}

/// Entries from a score on.
async fn read_from(
    call: &Call,
    key: &[u8],
    what: &'static str,
    score: u64,
    limit: usize,
) -> Result<Vec<StoredEntry>> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGEBYSCORE").arg(key).arg(score).arg("+inf").arg("WITHSCORES");
    pipeline.arg("LIMIT").arg(0).arg(limit);
    let value = call.read(&pipeline, what).await?.pop().unwrap_or(Value::Nil);
    let pairs: Vec<(StoredId, f64)> = redis::from_redis_value(value).map_err(|_| Error::corrupt(what))?;
    Ok(pairs.into_iter().map(|(id, score)| StoredEntry { id, created_at: score as u64 }).collect())
}
