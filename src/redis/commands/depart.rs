//! depart: a frozen session is let go of, for its copy is at the other place.

use crate::model::{Departed, Result, SessionRef, TaskId};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn SessionRef,
    task: TaskId,
    until_ms: u64,
) -> Result<Departed> {
    let mut plan = KeyPlan::of(target, OnRotated::Answer);
    let call = |plan: &KeyPlan| {
        let keys = operation.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let mut call = operation.call(&script::DEPART, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(until_ms).arg(plan.id.as_str());
        call.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        call
    };
    let reply = plan.settle(operation, &script::DEPART, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Departed::Departed),
        "missing" => Ok(Departed::Missing),
        _ => Err(reply.into_error()),
    }
}
