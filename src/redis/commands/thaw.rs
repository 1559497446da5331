//! thaw: the freeze of a session ends, at its source or at its target.

use crate::model::{Direction, Result, SessionId, TaskId, Thawed};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    id: &SessionId,
    task: TaskId,
    direction: Direction,
) -> Result<Thawed> {
    let mut plan = KeyPlan::of(id, OnRotated::Answer);
    let call = |plan: &KeyPlan| {
        let keys = [operation.keys().session(plan.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::THAW, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(plan.id.as_str()).arg(direction.word());
        call
    };
    let reply = plan.settle(operation, &script::THAW, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Thawed::Thawed),
        "unchanged" => Ok(Thawed::Unchanged),
        "missing" => Ok(Thawed::Missing),
        _ => Err(reply.into_error()),
    }
}
