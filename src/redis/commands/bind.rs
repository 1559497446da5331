//! bind: gives a live session a connection, and the node that holds it.

use crate::model::{Binding, Bound, Result, SessionRef, ms, some};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;
use crate::redis::stored_id::told;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
    let binding = binding.at(call.identity())?;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| command(call, plan, &binding);
    let mut reply = plan.settle(call, &script::BIND, cmd).await?;
    if reply.word != "ok" && reply.word != "unchanged" {
        return Err(reply.into_error());
    }
    let changed = reply.word == "ok";
    let (version, connection, node, holder) =
        (reply.version()?, reply.text()?, reply.text()?, reply.bytes()?);
    // Another call under the same operation id may have declared other keys.
    let is_known = !plan.is_again || call.is_the_only_one();
    let before = |name| some(name).filter(|_| is_known).map(Into::into);
    Ok(Bound {
        id: reply.id_since(plan.id)?,
        version,
        previous_connection: before(&connection),
        previous_node: before(&node),
        taken_from: told(&holder),
        reaped: plan.reaped,
        changed,
    })
}

fn command(call: &Call, plan: &KeyPlan, binding: &Binding) -> redis::Cmd {
    let keys = call.keys().declared_of(plan.id.as_str());
    let old = &plan.index_fields;
    let holder_node = plan.holder_node();
    let names = [
        keys.record.clone(),
        keys.connection(&old.connection),
        keys.node(&old.node),
        keys.connection(&binding.connection),
        keys.node(&binding.node),
        plan.holder_key(call),
        keys.node(holder_node),
        call.fence_key(&keys.record),
        call.keys().expiry(),
        keys.user(&old.user),
    ];
    let nodes = [old.node.as_slice(), binding.node.as_bytes(), holder_node];
    let mut cmd = call.evalsha_telling(&script::BIND, names.iter(), nodes);
    call.operation_arguments(&mut cmd);
    cmd.arg(plan.id.as_str()).arg(&old.connection).arg(&old.node);
    cmd.arg(&binding.connection).arg(&binding.node).arg(plan.holder_id()).arg(holder_node);
    cmd.arg(if binding.takes_over { "takeover" } else { "refuse" });
    cmd.arg(&old.user);
    call.use_arguments(&mut cmd);
    cmd.arg(ms(call.rules().grace));
    call.fence_arguments(&mut cmd);
    call.events_argument(&mut cmd);
    cmd
}
