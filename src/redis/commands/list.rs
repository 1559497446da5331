//! list: a page of a user's or node's live sessions, oldest first.

use crate::model::{Page, PageRequest, Result, Selector};
use crate::redis::call::Call;
use crate::redis::{index_page as cursor, script};
use crate::stored::record::Record;

pub(crate) async fn run(call: &Call, of: &Selector, page: &PageRequest) -> Result<Page> {
    of.validate()?;
    page.check()?;
    let index = call.keys().index(of);
    let entries =
        cursor::read(call, &index, "owner", page.size, page.after.as_ref()).await?.whole("owner")?;
    let next = page.next(&entries);
    if entries.is_empty() {
        return Ok(Page { sessions: Vec::new(), next });
    }

    let mut keys = vec![index];
    keys.extend(entries.iter().map(|entry| call.keys().session(entry.id.as_str())));
    let mut cmd = call.evalsha(&script::LIST, keys.iter());
    let (kind, name) = of.words();
    cmd.arg(kind).arg(name);
    for entry in &entries {
        cmd.arg(entry.id.as_str());
    }
    let mut reply = call.run(&script::LIST, &cmd).await?.expect_ok()?;
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
