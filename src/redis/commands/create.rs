//! create: a session with all its index entries, or nothing.

use crate::model::{Created, NodeIdentity, Result, Times, ValidatedSession, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, mut validated: ValidatedSession) -> Result<Created> {
    NodeIdentity::name_node(operation.holder(), &mut validated.index_fields.node)?;
    let mut plan = KeyPlan::new(validated.id.clone(), validated.index_fields.clone(), OnRotated::Answer);
    let reply = plan.settle(operation, &script::CREATE, |plan| call(operation, plan, &validated)).await?;
    let mut reply = reply.expect_ok()?;
    let (version, created_at, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let evicted = plan.evicted(&mut reply)?;
    let deadline = operation.rules().max_lifetime.map_or(0, |lifetime| created_at + ms(lifetime));
    let times = Times { created_at, last_active: created_at, expires_at, deadline };
    Ok(Created { session: validated.into_session(version, times), evicted, reaped: plan.reaped })
}

fn call(operation: &Operation<'_>, plan: &KeyPlan, validated: &ValidatedSession) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(plan.id.as_str(), &plan.index_fields);
    let (holder_key, victim_keys) = (plan.holder_key(operation), plan.victim_keys(operation));
    let lease = operation.fence_key();
    let keys = keys.iter().chain([&holder_key, &lease]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::CREATE, keys);
    call.arg(operation.id().as_bytes()).arg(plan.id.as_str());
    call.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
    call.arg(plan.holder_id()).arg(validated.status.word()).arg(ms(validated.ttl));
    call.arg(rules.max_lifetime.map_or(0, ms)).arg(ms(rules.grace)).arg(ms(rules.tombstone));
    call.arg(limit).arg(policy);
    operation.fence_arguments(&mut call);
    call.arg(&validated.entries);
    plan.victim_arguments(&mut call);
    call
}
