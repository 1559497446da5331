//! patch: changes single attributes and extensions, status and ttl of a live session.

use crate::model::{Patch, Patched, Result, SessionRef, Status, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
    let changes = patch.check(call.rules())?;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| command(call, plan, &patch, &changes);
    let mut reply = plan.settle(call, &script::PATCH, cmd).await?;
    match reply.word.as_str() {
        "ok" | "unchanged" => {
            let changed = reply.word == "ok";
            let (version, last_active_ms, expires_at_ms) =
                (reply.version()?, reply.number()?, reply.number()?);
            let id = reply.id_since(plan.id)?;
            Ok(Patched { id, version, last_active_ms, expires_at_ms, changed, patch })
        }
        _ => Err(reply.into_error()),
    }
}

fn command(call: &Call, plan: &KeyPlan, patch: &Patch, changes: &[u8]) -> redis::Cmd {
    let rules = call.rules();
    let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
    let lease = call.fence_key(&keys[0]);
    let keys = keys.iter().chain([&lease]);
    // Only a new status is an argument.
    let mut cmd = match patch.status {
        Some(_) => call.evalsha_telling(&script::PATCH, keys, [&plan.index_fields.node]),
        None => call.evalsha(&script::PATCH, keys),
    };
    call.operation_arguments(&mut cmd);
    cmd.arg(plan.id.as_str());
    cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
    cmd.arg(patch.expected.map(|version| version.get().to_string()).unwrap_or_default());
    cmd.arg(patch.status.map_or("", Status::word));
    cmd.arg(patch.ttl.map(|ttl| ms(ttl).to_string()).unwrap_or_default());
    cmd.arg(patch.lifetime.map(|lifetime| ms(lifetime).to_string()).unwrap_or_default());
    call.use_arguments(&mut cmd);
    cmd.arg(ms(rules.grace)).arg(rules.session_bytes).arg(rules.session_entries);
    call.fence_arguments(&mut cmd);
    cmd.arg(changes);
    if patch.status.is_some() {
        call.events_argument(&mut cmd);
    }
    cmd
}
