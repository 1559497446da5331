//! list: a page of a user's or node's live sessions, oldest first.

use crate::model::{Page, PageRequest, Result, Selector};
use crate::redis::call::Operation;
use crate::redis::{index_page as cursor, script};
use crate::stored::record::Record;

pub(crate) async fn run(operation: &Operation<'_>, owner: &Selector, page: &PageRequest) -> Result<Page> {
    owner.validate()?;
    page.check()?;
    let owner_key = operation.keys().index(owner);
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
