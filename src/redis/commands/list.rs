//! list: reads a page of a user's or node's live sessions, oldest first.
//!
//! Records do not pass through Lua: this code reads the page of the index, and then reads it again with its records in
//! one transaction. The script handles pages that cannot be answered so, and drops the entries that lead nowhere.

use redis::{Cmd, Value};

use crate::model::{Error, Obstacle, Page, PageRequest, Result, Selector, Session};
use crate::redis::call::Call;
use crate::redis::index_page::{IndexPage, StoredEntry};
use crate::redis::reply::{Reply, another_session};
use crate::redis::script;
use crate::redis::stored_id::{StoredId, told};
use crate::stored::record::Record;

/// How often a page that changed before its records were read is read again, before its beginning is
/// enough.
const WHOLE_PAGE_ROUNDS: u32 = 16;

/// How often after that.
const PAGE_ROUNDS: u32 = 128;

/// How many bytes of records a page has at most, except that a single record may be larger.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Atomicity: a transaction or the script reads the page again with the records, and starts over if the page has
/// changed. So a page is the index and its sessions at one instant. If the page changes all the time, its beginning is
/// the page.
pub(crate) async fn run(call: &Call, of: &Selector, request: &PageRequest) -> Result<Page> {
    of.validate()?;
    request.check()?;
    let index = call.keys().index(of);
    for round in 0..PAGE_ROUNDS {
        let page = IndexPage::read(call, &index, "owner", request.size, request.after.as_ref()).await?;
        if page.entries.is_empty() {
            return Ok(Page { sessions: Vec::new(), next: None });
        }
        let mut changed = "part";
        if round < WHOLE_PAGE_ROUNDS {
            match natively(call, of, &index, &page, request.size).await? {
                Native::Page(sessions) => {
                    return Ok(Page { sessions, next: page.next(request.after.as_ref()) });
                }
                Native::Changed => continue,
                Native::ForTheScript => changed = "refuse",
            }
        }
        let mut reply = records(call, of, &index, &page, request.size, changed).await?;
        match reply.word.as_str() {
            "need" => {}
            "ok" | "part" => {
                let dropped = reply.number()?;
                if let Some(page) = read(reply, &page, request)? {
                    return Ok(page);
                }
                // A page without a valid id has no place to continue from, unless some of its entries were
                // dropped.
                if dropped == 0 {
                    return Err(Error::corrupt("owner"));
                }
            }
            _ => return Err(reply.into_error()),
        }
    }
    Err(Error::obstacle(Obstacle::Contended, None))
}

/// The result of reading a page by a transaction.
enum Native {
    /// Its live sessions.
    Page(Vec<Session>),
    /// The page has changed.
    Changed,
    /// The script must read it.
    ForTheScript,
}

/// Reads the page again with its records, each up to its share of 2 MiB.
async fn natively(call: &Call, of: &Selector, index: &[u8], page: &IndexPage, size: usize) -> Result<Native> {
    let last = PAGE_BYTES / page.entries.len() - 1;
    let record = |entry: &StoredEntry| {
        let mut cmd = redis::cmd("GETRANGE");
        cmd.arg(call.keys().session(&entry.id)).arg(0).arg(last);
        cmd
    };
    let mut cmds: Vec<Cmd> = page.entries.iter().map(record).collect();
    cmds.push(page.again(index, size));
    let Some((now, mut replies)) = call.read_at_once(cmds).await? else {
        return Ok(Native::ForTheScript);
    };
    let ids: Option<Vec<StoredId>> = replies.pop_back().and_then(|ids| redis::from_redis_value(ids).ok());
    if !ids.is_some_and(|ids| page.has(&ids)) {
        return Ok(Native::Changed);
    }
    let mut sessions = Vec::new();
    for (entry, record) in page.entries.iter().zip(replies) {
        let Some(record) = record_of(entry, &record, of) else {
            return Ok(Native::ForTheScript);
        };
        // This session's place in the order is not that of the session that had the id when the page was read.
        if let Record::Session { session, .. } = &record
            && session.created_at_ms() != entry.created_at
        {
            return Ok(Native::Changed);
        }
        // An expired one keeps its entry until it is reaped as a whole.
        if let Some(Record::Session { session, .. }) = record.unless_over(now) {
            sessions.push(*session);
        }
    }
    Ok(Native::Page(sessions))
}

/// The record of a session of an owner. `None` if it is cut off, missing or corrupt.
fn record_of(entry: &StoredEntry, record: &Value, of: &Selector) -> Option<Record> {
    let Value::BulkString(bytes) = record else { return None };
    let record = Record::decode(&told(&entry.id)?, bytes)?;
    let is_of_owner = matches!(&record, Record::Session { session, .. } if of.has(session));
    is_of_owner.then_some(record)
}

async fn records(
    call: &Call,
    of: &Selector,
    index: &Vec<u8>,
    page: &IndexPage,
    size: usize,
    changed: &str,
) -> Result<Reply> {
    let keys: Vec<Vec<u8>> = page.entries.iter().map(|entry| call.keys().session(&entry.id)).collect();
    let cmd = || {
        let mut cmd = call.evalsha(&script::LIST, [index].into_iter().chain(&keys));
        let (kind, name) = of.words();
        cmd.arg(kind).arg(name).arg(page.from).arg(page.skip).arg(page.size(size));
        cmd.arg(changed).arg(PAGE_BYTES);
        for entry in &page.entries {
            cmd.arg(&entry.id);
        }
        cmd
    };
    call.run(&script::LIST, cmd).await
}

/// `None`: more entries follow, but no valid id says where.
fn read(mut reply: Reply, page: &IndexPage, request: &PageRequest) -> Result<Option<Page>> {
    let (mut count, mut is_full) = (page.entries.len(), page.is_full);
    if reply.word == "part" {
        let last = reply.bytes()?;
        let at = page.entries.iter().position(|entry| entry.id == last);
        count = at.ok_or_else(another_session)? + 1;
        is_full = true;
    }
    let next = if is_full { page.behind(count, request.after.as_ref()) } else { None };
    if is_full && next.is_none() {
        return Ok(None);
    }
    let mut sessions = Vec::new();
    while !reply.is_empty() {
        let (id, record) = (reply.bytes()?, reply.bytes()?);
        // A record that cannot be read is skipped, as in the script; its entry stays.
        if let Some(Record::Session { session, .. }) = told(&id).and_then(|id| Record::decode(&id, &record)) {
            sessions.push(*session);
        }
    }
    Ok(Some(Page { sessions, next }))
}
