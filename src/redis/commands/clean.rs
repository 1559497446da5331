//! clean: removes what a migration left that is not the session.

use crate::model::{Leftover, Result, SessionRef, TaskId, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let cmd = |plan: &KeyPlan| {
        let mut keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields).to_vec();
        keys.push(call.keys().migrations());
        let mut cmd = call.evalsha_telling(&script::CLEAN, keys.iter(), [&plan.index_fields.node]);
        cmd.arg(task.as_bytes()).arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        let until_ms = if let Leftover::Copy { until_ms } = what { until_ms } else { 0 };
        cmd.arg(what.word()).arg(until_ms).arg(ms(call.rules().tombstone));
        call.events_argument(&mut cmd);
        cmd
    };
    let reply = plan.settle(call, &script::CLEAN, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "unchanged" => Ok(false),
        _ => Err(reply.into_error()),
    }
}
