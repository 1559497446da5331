//! bind: a connection, and the node that holds it, for a live session.

use crate::model::{Binding, Bound, Result, SessionId, SessionRef, ms, some};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn SessionRef,
    binding: Binding,
) -> Result<Bound> {
    let binding = binding.at(operation.holder())?;
    let mut plan = KeyPlan::of(target, OnRotated::Follow);
    let call = |plan: &KeyPlan| call(operation, plan, &binding);
    let mut reply = plan.settle(operation, &script::BIND, call).await?;
    if reply.word != "ok" && reply.word != "unchanged" {
        return Err(reply.into_error());
    }
    let changed = reply.word == "ok";
    let (version, connection, node, holder) = (reply.version()?, reply.text()?, reply.text()?, reply.text()?);
    Ok(Bound {
        id: plan.id,
        version,
        previous_connection: some(&connection).map(Into::into),
        previous_node: some(&node).map(Into::into),
        taken_from: some(&holder).map(SessionId::new).transpose()?,
        reaped: plan.reaped,
        changed,
    })
}

fn call(operation: &Operation<'_>, plan: &KeyPlan, binding: &Binding) -> redis::Cmd {
    let keys = operation.keys();
    let old = &plan.index_fields;
    let holder_node = plan.holder_node();
    let names = [
        keys.session(plan.id.as_str()),
        keys.connection(&old.connection),
        keys.node(&old.node),
        keys.connection(&binding.connection),
        keys.node(&binding.node),
        plan.holder_key(operation),
        keys.node(holder_node),
        operation.fence_key(),
    ];
    let mut call = operation.call(&script::BIND, names.iter().map(String::as_str));
    call.arg(operation.id().as_bytes()).arg(plan.id.as_str()).arg(&old.connection).arg(&old.node);
    call.arg(&binding.connection).arg(&binding.node).arg(plan.holder_id()).arg(holder_node);
    call.arg(if binding.takes_over { "takeover" } else { "refuse" }).arg(ms(operation.rules().grace));
    operation.fence_arguments(&mut call);
    call
}
