//! update: a whole session saved against the version that it was read at.

use crate::declared::{Declared, Moved};
use crate::entries::{EntryKind, EntryWriter};
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::rules::{check_ttl, ms};
use crate::script;
use crate::session::{Session, Status};

pub(crate) async fn run(operation: &Operation<'_>, session: &mut Session) -> Result<()> {
    let rules = operation.rules();
    session.routing.validate()?;
    check_ttl("ttl", session.ttl)?;
    if session.status == Status::Migrating {
        return Err(Error::Refused(crate::error::Refusal::Frozen));
    }
    let mut entries = EntryWriter::new(rules);
    entries.add_all(EntryKind::Attribute, &session.attributes)?;
    entries.add_all(EntryKind::Extension, &session.extensions)?;
    let entries = entries.finish_whole()?;

    let mut declared = Declared::of(session, Moved::Follow);
    let saved: &Session = session;
    let call = |declared: &Declared| call(operation, declared, saved, &entries);
    let mut reply = declared.settle(operation, &script::UPDATE, call).await?.expect_ok()?;
    session.id = declared.id;
    session.version = reply.version()?;
    session.times.last_active = reply.number()?;
    session.times.expires_at = reply.number()?;
    session.stored = session.routing.clone();
    Ok(())
}

fn call(operation: &Operation<'_>, declared: &Declared, session: &Session, entries: &[u8]) -> redis::Cmd {
    let (old, new) = (&declared.routing, &session.routing);
    let keys = operation.keys().of_session(declared.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = operation.keys().of_session(declared.id.as_str(), new);
    let holder = declared.holder_key(operation);
    let keys = keys.iter().chain([&new_user, &new_connection, &new_node, &holder]).map(String::as_str);
    let mut call = operation.call(&script::UPDATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    call.arg(&new.user).arg(&new.connection).arg(&new.node).arg(declared.holder_id());
    call.arg(session.status.word()).arg(ms(session.ttl)).arg(ms(operation.rules().grace)).arg(entries);
    call
}
