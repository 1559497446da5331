//! freeze: a live session that goes over to another store is read and deleted, and not changed.

use crate::model::{Export, Freezing, Frozen, Result, SessionRef, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn SessionRef,
    freezing: &Freezing,
) -> Result<Option<Frozen>> {
    freezing.check()?;
    let Freezing { task, place, node, span } = freezing;
    let mut plan = KeyPlan::of(target, OnRotated::Follow);
    let call = |plan: &KeyPlan| {
        let keys = [operation.keys().session(plan.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::FREEZE, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(plan.id.as_str()).arg(place).arg(node);
        call.arg(ms(*span)).arg(ms(operation.rules().grace));
        call
    };
    let mut reply = plan.settle(operation, &script::FREEZE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let until_ms = reply.number()?;
            let (session, operations) = reply.export(&plan.id)?;
            Ok(Some(Frozen { export: Export::new(session, operations), until_ms }))
        }
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
