//! clean: what a migration leaves that is not the session is cleared away.

use crate::model::{Cleaned, Leftover, Result, SessionRef, TaskId, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn SessionRef,
    task: TaskId,
    what: Leftover,
) -> Result<Cleaned> {
    let mut plan = KeyPlan::of(target, OnRotated::Answer);
    let call = |plan: &KeyPlan| {
        let mut keys = operation.keys().of_session(plan.id.as_str(), &plan.index_fields).to_vec();
        keys.push(operation.keys().migrations());
        let mut call = operation.call(&script::CLEAN, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(plan.id.as_str());
        call.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        let until_ms = if let Leftover::Copy { until_ms } = what { until_ms } else { 0 };
        call.arg(what.word()).arg(until_ms).arg(ms(operation.rules().tombstone));
        call
    };
    let reply = plan.settle(operation, &script::CLEAN, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Cleaned::Cleaned),
        "unchanged" => Ok(Cleaned::Unchanged),
        _ => Err(reply.into_error()),
    }
}
