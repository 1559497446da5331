//! list: reads a page of a user's or node's live sessions, oldest first.

use crate::memory::call::Call;
use crate::memory::record::SessionCopy;
use crate::model::{IndexEntry, Page, PageRequest, Result, Selector};

pub(crate) fn run(call: Call<'_>, of: &Selector, page: &PageRequest) -> Result<Page> {
    of.validate()?;
    page.check()?;
    let after = page.after.as_ref().map(|cursor| (cursor.created_at, cursor.id.clone()));
    let now = call.now;
    let read = call.reaching([of.words().1]).settle(|_, locked| {
        let index = locked.index(of).map(|index| index.after(after.as_ref()));
        let entries = index.into_iter().flatten().take(page.size);
        let entry =
            |(created_at, id): &(u64, _)| IndexEntry { id: Clone::clone(id), created_at: *created_at };
        let entries: Vec<IndexEntry> = entries.map(entry).collect();
        locked.need(entries.iter().map(|entry| entry.id.as_str()))?;
        let live = entries.iter().filter_map(|entry| {
            let record = locked.record(&entry.id, now).filter(|record| record.expires_at > now)?;
            Some(record.copy(&entry.id, now))
        });
        let live: Vec<SessionCopy> = live.collect();
        Ok((entries, live))
    });
    let (entries, live) = read?;
    Ok(Page { sessions: live.into_iter().map(SessionCopy::read).collect(), next: page.next(&entries) })
}
