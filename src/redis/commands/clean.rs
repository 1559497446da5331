//! clean: what a migration leaves that is not the session is cleared away.

use crate::model::{Cleaned, Leftover, Result, Target, TaskId, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    task: TaskId,
    what: Leftover,
) -> Result<Cleaned> {
    let mut declared = Declared::of(target, Moved::Answer);
    let call = |declared: &Declared| {
        let mut keys = operation.keys().of_session(declared.id.as_str(), &declared.routing).to_vec();
        keys.push(operation.keys().migrations());
        let mut call = operation.call(&script::CLEAN, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str());
        call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
        let until_ms = if let Leftover::Copy { until_ms } = what { until_ms } else { 0 };
        call.arg(what.word()).arg(until_ms).arg(ms(operation.rules().tombstone));
        call
    };
    let reply = declared.settle(operation, &script::CLEAN, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Cleaned::Cleaned),
        "unchanged" => Ok(Cleaned::Unchanged),
        _ => Err(reply.into_error()),
    }
}
