//! delete: a live session gone with every index entry.

use crate::model::{Deleted, Result, SessionId, Target, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

/// With the id that the session had.
pub(crate) async fn run(operation: &Operation<'_>, target: &dyn Target) -> Result<(SessionId, Deleted)> {
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
        let lease = operation.fence_key();
        let mut call = operation.call(&script::DELETE, keys.iter().chain([&lease]).map(String::as_str));
        call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
        call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
        call.arg(ms(operation.rules().tombstone));
        operation.fence_arguments(&mut call);
        call
    };
    let reply = declared.settle(operation, &script::DELETE, call).await?;
    match reply.word.as_str() {
        "ok" => Ok((declared.id, Deleted::Deleted)),
        "missing" => Ok((declared.id, Deleted::Missing)),
        _ => Err(reply.into_error()),
    }
}
