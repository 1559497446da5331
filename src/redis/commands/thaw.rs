//! thaw: ends the freeze of a session, at its source or at its target.

use crate::model::{Direction, Result, SessionId, TaskId};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
    let mut plan = KeyPlan::of(id, OnRotated::Answer);
    let cmd = |plan: &KeyPlan| {
        let keys = [call.keys().session(plan.id.as_str()), call.keys().migrations()];
        let mut cmd = call.evalsha(&script::THAW, keys.iter());
        cmd.arg(task.as_bytes()).arg(plan.id.as_str()).arg(direction.word());
        cmd
    };
    let reply = plan.settle(call, &script::THAW, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "unchanged" => Ok(false),
        _ => Err(reply.into_error()),
    }
}
