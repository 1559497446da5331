//! list: a page of a user's or node's live sessions, oldest first.

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::owner::Owner;
use crate::record::Record;
use crate::session::Session;
use crate::{cursor, script};

/// The largest page.
const PAGE: usize = 500;

/// Which sessions of an owner to read.
#[derive(Clone, Debug)]
pub struct PageRequest {
    pub(crate) size: usize,
    pub(crate) after: Option<Cursor>,
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

    /// Where the page behind this one begins, which ended with these entries; a page that is not full is the last.
    pub(crate) fn next(&self, entries: &[Entry]) -> Option<Cursor> {
        Cursor::behind(entries, self.size, self.after.as_ref())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.size == 0 || self.size > PAGE {
            return Err(Error::invalid("page size", format!("is {}, must be 1 to {PAGE}", self.size)));
        }
        Ok(())
    }
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
    page.check()?;
    let owner_key = owner.key(operation.keys());
    let entries = cursor::read(operation, &owner_key, "owner", page.size, page.after.as_ref()).await?;
    let next = page.next(&entries);
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
        if let Some(Record::Session { session, .. }) = Record::decode(&id, &reply.bytes()?) {
            sessions.push(*session);
        }
    }
    Ok(Page { sessions, next })
}
