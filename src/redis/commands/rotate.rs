//! rotate: a new id for a live session, and a login in the same step.

use crate::model::{Error, Refusal, Result, Rotated, Rotation, SessionId, Target, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::{lookup, script};

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    rotation: Rotation,
) -> Result<Rotated> {
    rotation.check()?;
    let Rotation { new_id, user } = rotation;
    let new_id = new_id.unwrap_or_else(|| operation.rules().id_scheme.generate(&operation.id()));
    let mut declared = Declared::of(target, Moved::Answer).for_user(&user);
    let call = |declared: &Declared| call(operation, declared, &new_id, &user);
    let mut reply = declared.settle(operation, &script::ROTATE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let session = reply.session(&new_id)?;
            let evicted = declared.evicted(&mut reply)?;
            Ok(Rotated { session, evicted, by_another: false })
        }
        "moved" => {
            let session = lookup::session(operation, &reply.session_id()?).await?;
            let session = session.ok_or(Error::Refused(Refusal::Missing))?;
            Ok(Rotated { session, evicted: Vec::new(), by_another: true })
        }
        _ => Err(reply.into_error()),
    }
}

fn call(operation: &Operation<'_>, declared: &Declared, new_id: &SessionId, new_user: &str) -> redis::Cmd {
    let rules = operation.rules();
    let old = &declared.routing;
    let keys = operation.keys().of_session(declared.id.as_str(), old);
    let new_record = operation.keys().session(new_id.as_str());
    let new_user_key = operation.keys().user(if new_user.is_empty() { &old.user } else { new_user });
    let victim_keys = declared.victim_keys(operation);
    let lease = operation.fence_key();
    let keys =
        keys.iter().chain([&new_record, &new_user_key, &lease]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::ROTATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(new_id.as_str()).arg(new_user);
    call.arg(ms(rules.grace)).arg(ms(rules.rotation_grace)).arg(ms(rules.tombstone)).arg(limit).arg(policy);
    operation.fence_arguments(&mut call);
    declared.victim_arguments(&mut call);
    call
}
