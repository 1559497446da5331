//! update: saves a whole session against the version that it was read at.

use crate::model::{Result, Session, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &mut Session) -> Result<()> {
    let entries = session.check(call.rules())?;
    call.partitions().check(&session.id, &session.index_fields.user)?;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let saved: &Session = session;
    let cmd = |plan: &KeyPlan| command(call, plan, saved, &entries);
    let mut reply = plan.settle(call, &script::UPDATE, cmd).await?.expect_ok()?;
    let (version, last_active, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let id = reply.id_since(plan.id)?;
    session.note_saved(id, version, last_active, expires_at);
    Ok(())
}

fn command(call: &Call, plan: &KeyPlan, session: &Session, entries: &[u8]) -> redis::Cmd {
    let (old, new) = (&plan.index_fields, &session.index_fields);
    let keys = call.keys().of_session(plan.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = call.keys().of_session(plan.id.as_str(), new);
    let (holder, lease) = (plan.holder_key(call), call.fence_key(&keys[0]));
    let keys = keys.iter().chain([&new_user, &new_connection, &new_node, &holder, &lease]);
    let mut cmd = call.evalsha_telling(&script::UPDATE, keys, [old.node.as_slice(), new.node.as_bytes()]);
    call.operation_arguments(&mut cmd);
    cmd.arg(plan.id.as_str());
    cmd.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    cmd.arg(&new.user).arg(&new.connection).arg(&new.node).arg(plan.holder_id());
    cmd.arg(session.status.word()).arg(ms(session.ttl));
    call.use_arguments(&mut cmd);
    cmd.arg(ms(call.rules().grace));
    call.fence_arguments(&mut cmd);
    cmd.arg(entries);
    call.events_argument(&mut cmd);
    cmd
}
