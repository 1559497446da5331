//! depart: a frozen session is let go of, for its copy is at the other place.

use crate::model::{Departed, Result, Target, TaskId};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    task: TaskId,
    until_ms: u64,
) -> Result<Departed> {
    let mut declared = Declared::of(target, Moved::Answer);
    let call = |declared: &Declared| {
        let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
        let mut call = operation.call(&script::DEPART, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(until_ms).arg(declared.id.as_str());
        call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
        call
    };
    let reply = declared.settle(operation, &script::DEPART, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Departed::Departed),
        "missing" => Ok(Departed::Missing),
        _ => Err(reply.into_error()),
    }
}
