//! create: a session with all its index entries, or nothing.

use crate::model::{Created, Draft, Holder, Result, Times, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{Declared, Moved};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, mut draft: Draft) -> Result<Created> {
    Holder::name_node(operation.holder(), &mut draft.routing.node)?;
    let mut declared = Declared::new(draft.id.clone(), draft.routing.clone(), Moved::Answer);
    let reply =
        declared.settle(operation, &script::CREATE, |declared| call(operation, declared, &draft)).await?;
    let mut reply = reply.expect_ok()?;
    let (version, created_at, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let evicted = declared.evicted(&mut reply)?;
    let deadline = operation.rules().max_lifetime.map_or(0, |lifetime| created_at + ms(lifetime));
    let times = Times { created_at, last_active: created_at, expires_at, deadline };
    Ok(Created { session: draft.into_session(version, times), evicted, reaped: declared.reaped })
}

fn call(operation: &Operation<'_>, declared: &Declared, draft: &Draft) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
    let (holder_key, victim_keys) = (declared.holder_key(operation), declared.victim_keys(operation));
    let lease = operation.fence_key();
    let keys = keys.iter().chain([&holder_key, &lease]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::CREATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
    call.arg(declared.holder_id()).arg(draft.status.word()).arg(ms(draft.ttl));
    call.arg(rules.max_lifetime.map_or(0, ms)).arg(ms(rules.grace)).arg(ms(rules.tombstone));
    call.arg(limit).arg(policy);
    operation.fence_arguments(&mut call);
    call.arg(&draft.entries);
    declared.victim_arguments(&mut call);
    call
}
