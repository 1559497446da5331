//! patch: single attributes and extensions, status and ttl of a live session.

use crate::model::{Error, Patch, Patched, Refusal, Result, Status, Target, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, target: &dyn Target, patch: Patch) -> Result<Patched> {
    let changes = patch.check(operation.rules())?;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| call(operation, declared, &patch, &changes);
    let mut reply = declared.settle(operation, &script::PATCH, call).await?;
    match reply.word.as_str() {
        "ok" | "unchanged" => {
            let changed = reply.word == "ok";
            let (version, _last_active, expires_at_ms) = (reply.version()?, reply.number()?, reply.number()?);
            Ok(Patched { id: declared.id, version, expires_at_ms, changed })
        }
        "limit" => Err(Error::Refused(Refusal::TooLarge { bytes: reply.number()? })),
        _ => Err(reply.into_error()),
    }
}

fn call(operation: &Operation<'_>, declared: &Declared, patch: &Patch, changes: &[u8]) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
    let lease = operation.fence_key();
    let mut call = operation.call(&script::PATCH, keys.iter().chain([&lease]).map(String::as_str));
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
    call.arg(patch.expected.map(|version| version.get().to_string()).unwrap_or_default());
    call.arg(patch.status.map_or("", Status::word));
    call.arg(patch.ttl.map(|ttl| ms(ttl).to_string()).unwrap_or_default());
    call.arg(ms(rules.grace)).arg(rules.session_bytes);
    operation.fence_arguments(&mut call);
    call.arg(changes);
    call
}
