//! update: a whole session saved against the version that it was read at.

use crate::model::{Result, Session, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, session: &mut Session) -> Result<()> {
    let entries = session.check(operation.rules())?;
    let mut declared = Declared::of(session, Moved::Follow);
    let saved: &Session = session;
    let call = |declared: &Declared| call(operation, declared, saved, &entries);
    let mut reply = declared.settle(operation, &script::UPDATE, call).await?.expect_ok()?;
    let (version, last_active, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    session.note_saved(declared.id, version, last_active, expires_at);
    Ok(())
}

fn call(operation: &Operation<'_>, declared: &Declared, session: &Session, entries: &[u8]) -> redis::Cmd {
    let (old, new) = (&declared.routing, &session.routing);
    let keys = operation.keys().of_session(declared.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = operation.keys().of_session(declared.id.as_str(), new);
    let (holder, lease) = (declared.holder_key(operation), operation.fence_key());
    let keys =
        keys.iter().chain([&new_user, &new_connection, &new_node, &holder, &lease]).map(String::as_str);
    let mut call = operation.call(&script::UPDATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    call.arg(&new.user).arg(&new.connection).arg(&new.node).arg(declared.holder_id());
    call.arg(session.status.word()).arg(ms(session.ttl)).arg(ms(operation.rules().grace));
    operation.fence_arguments(&mut call);
    call.arg(entries);
    call
}
