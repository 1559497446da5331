//! list: a page of a user's or node's live sessions, oldest first.

use crate::model::{Error, Obstacle, Page, PageRequest, Result, Selector};
use crate::redis::call::Call;
use crate::redis::index_page::IndexPage;
use crate::redis::reply::{Reply, another_session};
use crate::redis::script;
use crate::redis::stored_id::told;
use crate::stored::record::Record;

/// How often a page is read again that changed before its records were read, until its beginning will do.
const WHOLE_PAGE_ROUNDS: u32 = 16;

/// How often after that.
const PAGE_ROUNDS: u32 = 128;

/// How many bytes of records a page has at most, but for one record.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Atomicity: the script reads the page again with the records, and asks for it anew where it has changed, so a page is
/// the index and its sessions at one instant. Where it changes all the time, its beginning is a page.
pub(crate) async fn run(call: &Call, of: &Selector, request: &PageRequest) -> Result<Page> {
    of.validate()?;
    request.check()?;
    let index = call.keys().index(of);
    for round in 0..PAGE_ROUNDS {
        let page = IndexPage::read(call, &index, "owner", request.size, request.after.as_ref()).await?;
        if page.entries.is_empty() {
            return Ok(Page { sessions: Vec::new(), next: None });
        }
        let changed = if round < WHOLE_PAGE_ROUNDS { "refuse" } else { "part" };
        let mut reply = records(call, of, &index, &page, request.size, changed).await?;
        match reply.word.as_str() {
            "need" => {}
            "ok" | "part" => {
                let dropped = reply.number()?;
                if let Some(page) = read(reply, &page, request)? {
                    return Ok(page);
                }
                // Of what cannot be named nothing is left to go on behind, unless some of it was dropped.
                if dropped == 0 {
                    return Err(Error::corrupt("owner"));
                }
            }
            _ => return Err(reply.into_error()),
        }
    }
    Err(Error::obstacle(Obstacle::Contended, None))
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
    let size = if page.is_full { page.entries.len() } else { size };
    let cmd = || {
        let mut cmd = call.evalsha(&script::LIST, [index].into_iter().chain(&keys));
        let (kind, name) = of.words();
        cmd.arg(kind).arg(name).arg(page.from).arg(page.skip).arg(size).arg(changed).arg(PAGE_BYTES);
        for entry in &page.entries {
            cmd.arg(&entry.id);
        }
        cmd
    };
    call.run(&script::LIST, cmd).await
}

/// `None`: others follow, and nothing names where.
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
        // One that cannot be read is passed over, as the script does; its entry stays.
        if let Some(Record::Session { session, .. }) = told(&id).and_then(|id| Record::decode(&id, &record)) {
            sessions.push(*session);
        }
    }
    Ok(Some(Page { sessions, next }))
}
