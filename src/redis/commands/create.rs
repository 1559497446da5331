//! create: makes a session with all its index entries, or nothing.

use crate::model::{Created, NewSession, NodeIdentity, Result, Times, ValidatedSession, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, new: NewSession) -> Result<Created> {
    let rules = call.rules();
    let made_id = |user: &str| call.partitions().new_id(&call.id(), user);
    make(call, new.check(rules, made_id)?).await
}

/// The same for a session that was validated already.
pub(crate) async fn make(call: &Call, mut session: ValidatedSession) -> Result<Created> {
    call.partitions().check(&session.id, &session.index_fields.user)?;
    NodeIdentity::name_node(call.identity(), &mut session.index_fields.node)?;
    let mut plan = KeyPlan::new(session.id.clone(), &session.index_fields, OnRotated::Answer);
    let reply = plan.settle(call, &script::CREATE, |plan| command(call, plan, &session)).await?;
    let mut reply = reply.expect_ok()?;
    let (version, created_at, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let evicted = plan.evicted(&mut reply)?;
    let deadline = session.deadline(created_at);
    let times = Times { created_at, last_active: created_at, expires_at, deadline };
    let token = session.token.take();
    Ok(Created { session: session.into_session(version, times), token, evicted, reaped: plan.reaped })
}

fn command(call: &Call, plan: &KeyPlan, session: &ValidatedSession) -> redis::Cmd {
    let rules = call.rules();
    let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
    let (holder_key, victim_keys) = (plan.holder_key(call), plan.victim_keys(call));
    let lease = call.fence_key(&keys[0]);
    let keys = keys.iter().chain([&holder_key, &lease]).chain(&victim_keys);
    let (limit, policy) = rules.limit_arguments();
    let nodes = std::iter::once(plan.index_fields.node.as_slice()).chain(plan.victim_nodes());
    let mut cmd = call.evalsha_telling(&script::CREATE, keys, nodes);
    call.operation_arguments(&mut cmd);
    cmd.arg(plan.id.as_str());
    cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
    cmd.arg(plan.holder_id()).arg(session.status.word()).arg(ms(session.ttl));
    cmd.arg(session.lifetime.map_or(0, ms)).arg(ms(rules.grace)).arg(ms(rules.tombstone));
    cmd.arg(limit).arg(policy);
    call.fence_arguments(&mut cmd);
    cmd.arg(&session.entries);
    plan.victim_arguments(&mut cmd);
    call.events_argument(&mut cmd);
    cmd
}
