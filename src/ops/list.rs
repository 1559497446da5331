//! list: a page of a user's or node's live sessions, oldest first.

use redis::{Pipeline, Value};

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::owner::Owner;
use crate::record::Record;
use crate::script;
use crate::session::Session;

/// The largest page.
const PAGE: usize = 500;

/// Which sessions of an owner to read.
#[derive(Clone, Debug)]
pub struct PageRequest {
    size: usize,
    after: Option<Cursor>,
}

impl PageRequest {
    /// The first page, of 1 to 500 entries.
    #[must_use]
    pub fn first(size: usize) -> Self {
        Self { size, after: None }
    }

    /// The page behind a cursor, of 1 to 500 entries.
    #[must_use]
    pub fn after(cursor: Cursor, size: usize) -> Self {
        Self { size, after: Some(cursor) }
    }
}

/// Where a page ended. What is made or removed meanwhile shifts nothing: no session that keeps its id throughout is
/// passed over or given twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    created_at: u64,
    id: SessionId,
    /// How many entries of the same millisecond came before, this one included.
    ties: usize,
}

/// A page of sessions.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page {
    /// Live ones, oldest first. Fewer than the page's size when some of the entries were not live; that does not
    /// mean that there are no more.
    pub sessions: Vec<Session>,
    /// Where to go on; `None` after the last page.
    pub next: Option<Cursor>,
}

pub(crate) async fn run(operation: &Operation<'_>, owner: &Owner, page: &PageRequest) -> Result<Page> {
    owner.validate()?;
    if page.size == 0 || page.size > PAGE {
        return Err(Error::invalid("page size", format!("is {}, must be 1 to {PAGE}", page.size)));
    }
    let owner_key = owner.key(operation.keys());
    let entries = read_index(operation, &owner_key, page).await?;
    let next = (entries.len() == page.size).then(|| cursor(&entries, page.after.as_ref())).flatten();
    if entries.is_empty() {
        return Ok(Page { sessions: Vec::new(), next });
    }

    let mut keys = vec![owner_key];
    keys.extend(entries.iter().map(|entry| operation.keys().session(entry.id.as_str())));
    let mut call = operation.call(&script::LIST, keys.iter().map(String::as_str));
    let (kind, name) = owner.words();
    call.arg(kind).arg(name);
    for entry in &entries {
        call.arg(entry.id.as_str());
    }
    let mut reply = operation.run(&script::LIST, &call).await?.expect_ok()?;
    let _dropped = reply.number()?;
    let mut sessions = Vec::new();
    while !reply.is_empty() {
        let id = reply.session_id()?;
        // One that cannot be read is passed over, as the script does; its entry stays.
        if let Some(Record::Session(session)) = Record::decode(&id, &reply.bytes()?) {
            sessions.push(*session);
        }
    }
    Ok(Page { sessions, next })
}

/// An entry of an index: scores order it, and ids where scores are equal.
struct Entry {
    id: SessionId,
    created_at: u64,
}

/// A page's entries: from the cursor's score on, inclusive, without those that came before.
async fn read_index(operation: &Operation<'_>, key: &str, page: &PageRequest) -> Result<Vec<Entry>> {
    let Some(cursor) = &page.after else {
        return read_from(operation, key, 0, page.size).await;
    };
    let passed = |entry: &Entry| entry.created_at == cursor.created_at && entry.id <= cursor.id;
    let mut ties = cursor.ties;
    loop {
        let mut entries = read_from(operation, key, cursor.created_at, page.size + ties).await?;
        let is_last = entries.len() < page.size + ties;
        let read = entries.len();
        entries.retain(|entry| !passed(entry));
        // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        if is_last || entries.len() >= page.size {
            entries.truncate(page.size);
            return Ok(entries);
        }
        ties = read - entries.len();
    }
}

/// Entries from a score on.
async fn read_from(operation: &Operation<'_>, key: &str, score: u64, limit: usize) -> Result<Vec<Entry>> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGEBYSCORE").arg(key).arg(score).arg("+inf").arg("WITHSCORES");
    pipeline.arg("LIMIT").arg(0).arg(limit);
    let value = operation.read(&pipeline, "owner").await?.pop().unwrap_or(Value::Nil);
    let pairs: Vec<(String, f64)> = redis::from_redis_value(value).map_err(|_| Error::corrupt("owner"))?;
    let entries = pairs.into_iter().map(|(id, score)| {
        let id = SessionId::new(id).map_err(|_| Error::corrupt("owner"))?;
        Ok(Entry { id, created_at: score as u64 })
    });
    entries.collect()
}

fn cursor(entries: &[Entry], before: Option<&Cursor>) -> Option<Cursor> {
    let last = entries.last()?;
    let here = entries.iter().filter(|entry| entry.created_at == last.created_at).count();
    let ties = before.filter(|before| before.created_at == last.created_at).map_or(0, |before| before.ties);
    Some(Cursor { created_at: last.created_at, id: last.id.clone(), ties: ties + here })
}
