//! delete: a live session gone with every index entry.

use crate::model::{Deleted, Result, SessionId, SessionRef, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

/// With the id that the session had.
pub(crate) async fn run(operation: &Operation<'_>, target: &dyn SessionRef) -> Result<(SessionId, Deleted)> {
    let mut plan = KeyPlan::of(target, OnRotated::Follow);
    let call = |plan: &KeyPlan| {
        let keys = operation.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let lease = operation.fence_key();
        let mut call = operation.call(&script::DELETE, keys.iter().chain([&lease]).map(String::as_str));
        call.arg(operation.id().as_bytes()).arg(plan.id.as_str());
        call.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        call.arg(ms(operation.rules().tombstone));
        operation.fence_arguments(&mut call);
        call
    };
    let reply = plan.settle(operation, &script::DELETE, call).await?;
    match reply.word.as_str() {
        "ok" => Ok((plan.id, Deleted::Deleted)),
        "missing" => Ok((plan.id, Deleted::Missing)),
        _ => Err(reply.into_error()),
    }
}
