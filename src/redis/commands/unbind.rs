//! unbind: detaches a connection that is gone from the session that still has it.

use crate::model::{Result, SessionRef, require_name};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

/// Whether the connection was detached.
pub(crate) async fn run(call: &Call, session: &dyn SessionRef, connection: &str) -> Result<bool> {
    require_name("connection id", connection)?;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().declared_of(plan.id.as_str());
        let node = &plan.index_fields.node;
        let (connection_key, node_key) = (keys.connection(connection), keys.node(node));
        let lease = call.fence_key(&keys.record);
        let names = [keys.record, connection_key, node_key, lease];
        let mut cmd = call.evalsha_telling(&script::UNBIND, names.iter(), [node]);
        call.operation_arguments(&mut cmd);
        cmd.arg(plan.id.as_str()).arg(connection).arg(node);
        call.fence_arguments(&mut cmd);
        call.events_argument(&mut cmd);
        cmd
    };
    let reply = plan.settle(call, &script::UNBIND, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "unchanged" | "missing" => Ok(false),
        _ => Err(reply.into_error()),
    }
}
