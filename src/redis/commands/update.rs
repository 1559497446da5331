//! update: a whole session saved against the version that it was read at.

use crate::model::{Result, Session, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, session: &mut Session) -> Result<()> {
    let entries = session.check(operation.rules())?;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let saved: &Session = session;
    let call = |plan: &KeyPlan| call(operation, plan, saved, &entries);
    let mut reply = plan.settle(operation, &script::UPDATE, call).await?.expect_ok()?;
    let (version, last_active, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    session.note_saved(plan.id, version, last_active, expires_at);
    Ok(())
}

fn call(operation: &Operation<'_>, plan: &KeyPlan, session: &Session, entries: &[u8]) -> redis::Cmd {
    let (old, new) = (&plan.index_fields, &session.index_fields);
    let keys = operation.keys().of_session(plan.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = operation.keys().of_session(plan.id.as_str(), new);
    let (holder, lease) = (plan.holder_key(operation), operation.fence_key());
    let keys =
        keys.iter().chain([&new_user, &new_connection, &new_node, &holder, &lease]).map(String::as_str);
    let mut call = operation.call(&script::UPDATE, keys);
    call.arg(operation.id().as_bytes()).arg(plan.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    call.arg(&new.user).arg(&new.connection).arg(&new.node).arg(plan.holder_id());
    call.arg(session.status.word()).arg(ms(session.ttl)).arg(ms(operation.rules().grace));
    operation.fence_arguments(&mut call);
    call.arg(entries);
    call
}
