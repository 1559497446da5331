//! unbind: a connection that is gone, detached from the session that still has it.

use crate::model::{Result, SessionId, Target, Unbound, require_name};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

/// With the id that the session has.
pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    connection: &str,
) -> Result<(SessionId, Unbound)> {
    require_name("connection id", connection)?;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = operation.keys();
        let node = &declared.routing.node;
        let [session, lease] = [keys.session(declared.id.as_str()), operation.fence_key()];
        let names = [session, keys.connection(connection), keys.node(node), lease];
        let mut call = operation.call(&script::UNBIND, names.iter().map(String::as_str));
        call.arg(operation.id().as_bytes()).arg(declared.id.as_str()).arg(connection).arg(node);
        operation.fence_arguments(&mut call);
        call
    };
    let reply = declared.settle(operation, &script::UNBIND, call).await?;
    match reply.word.as_str() {
        "ok" => Ok((declared.id, Unbound::Detached)),
        "unchanged" => Ok((declared.id, Unbound::NotBound)),
        "missing" => Ok((declared.id, Unbound::Missing)),
        _ => Err(reply.into_error()),
    }
}
