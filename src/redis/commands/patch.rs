//! patch: single attributes and extensions, status and ttl of a live session.

use crate::model::{Error, Patch, Patched, Refusal, Result, SessionRef, Status, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, target: &dyn SessionRef, patch: Patch) -> Result<Patched> {
    let changes = patch.check(operation.rules())?;
    let mut plan = KeyPlan::of(target, OnRotated::Follow);
    let call = |plan: &KeyPlan| call(operation, plan, &patch, &changes);
    let mut reply = plan.settle(operation, &script::PATCH, call).await?;
    match reply.word.as_str() {
        "ok" | "unchanged" => {
            let changed = reply.word == "ok";
            let (version, _last_active, expires_at_ms) = (reply.version()?, reply.number()?, reply.number()?);
            Ok(Patched { id: plan.id, version, expires_at_ms, changed })
        }
        "limit" => Err(Error::Refused(Refusal::TooLarge { bytes: reply.number()? })),
        _ => Err(reply.into_error()),
    }
}

fn call(operation: &Operation<'_>, plan: &KeyPlan, patch: &Patch, changes: &[u8]) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(plan.id.as_str(), &plan.index_fields);
    let lease = operation.fence_key();
    let mut call = operation.call(&script::PATCH, keys.iter().chain([&lease]).map(String::as_str));
    call.arg(operation.id().as_bytes()).arg(plan.id.as_str());
    call.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
    call.arg(patch.expected.map(|version| version.get().to_string()).unwrap_or_default());
    call.arg(patch.status.map_or("", Status::word));
    call.arg(patch.ttl.map(|ttl| ms(ttl).to_string()).unwrap_or_default());
    call.arg(ms(rules.grace)).arg(rules.session_bytes);
    operation.fence_arguments(&mut call);
    call.arg(changes);
    call
}
