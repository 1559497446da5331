//! delete: a live session gone with every index entry.

use crate::model::{Result, SessionRef, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

/// Whether there was one.
pub(crate) async fn run(call: &Call, session: &dyn SessionRef) -> Result<bool> {
    let mut plan = KeyPlan::of(session, OnRotated::Follow).of_any_names();
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let lease = call.fence_key(&plan.id);
        let mut cmd = call.evalsha(&script::DELETE, keys.iter().chain([&lease]));
        cmd.arg(call.id().as_bytes()).arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        cmd.arg(ms(call.rules().tombstone));
        call.fence_arguments(&mut cmd);
        cmd
    };
    let reply = plan.settle(call, &script::DELETE, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "missing" => Ok(false),
        _ => Err(reply.into_error()),
    }
}
