//! thaw: the freeze of a session ends, at its source or at its target.

use crate::model::{Direction, Result, SessionId, TaskId, Thawed};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    id: &SessionId,
    task: TaskId,
    direction: Direction,
) -> Result<Thawed> {
    let mut declared = Declared::of(id, Moved::Answer);
    let call = |declared: &Declared| {
        let keys = [operation.keys().session(declared.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::THAW, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str()).arg(direction.word());
        call
    };
    let reply = declared.settle(operation, &script::THAW, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Thawed::Thawed),
        "unchanged" => Ok(Thawed::Unchanged),
        "missing" => Ok(Thawed::Missing),
        _ => Err(reply.into_error()),
    }
}
