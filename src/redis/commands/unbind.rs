//! unbind: a connection that is gone, detached from the session that still has it.

use crate::model::{Result, SessionId, SessionRef, Unbound, require_name};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

/// With the id that the session has.
pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn SessionRef,
    connection: &str,
) -> Result<(SessionId, Unbound)> {
    require_name("connection id", connection)?;
    let mut plan = KeyPlan::of(target, OnRotated::Follow);
    let call = |plan: &KeyPlan| {
        let keys = operation.keys();
        let node = &plan.index_fields.node;
        let [session, lease] = [keys.session(plan.id.as_str()), operation.fence_key()];
        let names = [session, keys.connection(connection), keys.node(node), lease];
        let mut call = operation.call(&script::UNBIND, names.iter().map(String::as_str));
        call.arg(operation.id().as_bytes()).arg(plan.id.as_str()).arg(connection).arg(node);
        operation.fence_arguments(&mut call);
        call
    };
    let reply = plan.settle(operation, &script::UNBIND, call).await?;
    match reply.word.as_str() {
        "ok" => Ok((plan.id, Unbound::Detached)),
        "unchanged" => Ok((plan.id, Unbound::NotBound)),
        "missing" => Ok((plan.id, Unbound::Missing)),
        _ => Err(reply.into_error()),
    }
}
