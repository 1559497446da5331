//! delete: removes a live session with every index entry.

use crate::model::{Removed, Result, SessionId, SessionRef, Version, ms};
use crate::redis::bulk::removed_of;
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::reply::Reply;
use crate::redis::script;

/// Returns what the session had. A repeated call declares what it knows.
pub(crate) async fn run(call: &Call, session: &dyn SessionRef) -> Result<Option<Removed>> {
    let mut plan = KeyPlan::of(session, OnRotated::Follow).of_any_names();
    let reply = settle(call, &mut plan, None, ms(call.rules().tombstone)).await?;
    match reply.word.as_str() {
        "ok" => Ok(Some(removed_of(plan.id, &plan.index_fields))),
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}

/// Gives up a session at a version, because it goes on under another id. Only a logout then follows it.
pub(crate) async fn leave(
    call: &Call,
    session: &dyn SessionRef,
    version: Version,
    new_id: &SessionId,
) -> Result<()> {
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let successor = Some((version, new_id));
    settle(call, &mut plan, successor, ms(call.rules().rotation_grace)).await?.expect_ok().map(drop)
}

async fn settle(
    call: &Call,
    plan: &mut KeyPlan,
    successor: Option<(Version, &SessionId)>,
    tombstone_ms: u64,
) -> Result<Reply> {
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let lease = call.fence_key(&keys[0]);
        let nodes = [&plan.index_fields.node];
        let mut cmd = call.evalsha_telling(&script::DELETE, keys.iter().chain([&lease]), nodes);
        cmd.arg(call.id().as_bytes()).arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        cmd.arg(tombstone_ms);
        match successor {
            Some((version, new_id)) => cmd.arg(version.get()).arg(new_id.as_str()),
            None => cmd.arg("").arg(""),
        };
        call.fence_arguments(&mut cmd);
        call.events_argument(&mut cmd);
        cmd
    };
    plan.settle(call, &script::DELETE, cmd).await
}
