//! freeze: a live session that goes over to another store is read and deleted, and not changed.

use crate::model::{Export, Freezing, Frozen, Result, Target, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    freezing: &Freezing,
) -> Result<Option<Frozen>> {
    freezing.check()?;
    let Freezing { task, place, node, span } = freezing;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = [operation.keys().session(declared.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::FREEZE, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str()).arg(place).arg(node);
        call.arg(ms(*span)).arg(ms(operation.rules().grace));
        call
    };
    let mut reply = declared.settle(operation, &script::FREEZE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let until_ms = reply.number()?;
            let (session, operations) = reply.export(&declared.id)?;
            Ok(Some(Frozen { export: Export::new(session, operations), until_ms }))
        }
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
