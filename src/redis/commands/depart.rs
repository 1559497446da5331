//! depart: removes a frozen session whose copy is at the other place.

use crate::model::{Result, SessionRef, TaskId};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let mut cmd = call.evalsha_telling(&script::DEPART, keys.iter(), [&plan.index_fields.node]);
        cmd.arg(task.as_bytes()).arg(until_ms).arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        call.events_argument(&mut cmd);
        cmd
    };
    let reply = plan.settle(call, &script::DEPART, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "missing" => Ok(false),
        _ => Err(reply.into_error()),
    }
}
