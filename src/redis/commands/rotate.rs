//! rotate: gives a live session a new id, and a user in the same step.

use crate::model::{
    Error, IdScheme, NewId, Refusal, Result, Rotated, Rotation, SessionId, SessionRef, UserThen, ms,
};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::{lookup, script};

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
    let changes = rotation.check(call.rules())?;
    call.about(session.id());
    let (partitions, partition) = (call.partitions(), call.partition());
    let make_id = || partitions.new_id_in(partition, &call.id());
    let NewId { id: new_id, token } = rotation.new_id.clone().unwrap_or_else(make_id);
    partitions.check_in(partition, &new_id)?;
    let mut plan = KeyPlan::of(session, OnRotated::Answer).for_user(rotation.named_user());
    let cmd = |plan: &KeyPlan| command(call, plan, &new_id, &rotation, &changes);
    let mut reply = plan.settle(call, &script::ROTATE, cmd).await?;
    match reply.word.as_str() {
        "ok" => {
            let session = reply.session(&new_id)?;
            let evicted = plan.evicted(&mut reply)?;
            Ok(Rotated { session, token, evicted, by_another: false, own_changes: 1 })
        }
        // Its client must hold a token, which only the other rotation knows.
        "moved" if call.rules().id_scheme == IdScheme::Token => {
            Err(Error::Refused(Refusal::Rotated { to: None }))
        }
        "moved" => {
            let session = lookup::session(call, &reply.session_id()?).await?;
            let session = session.ok_or(Error::Refused(Refusal::Missing))?;
            Ok(Rotated::by_another(session))
        }
        _ => Err(reply.into_error()),
    }
}

fn command(
    call: &Call,
    plan: &KeyPlan,
    new_id: &SessionId,
    rotation: &Rotation,
    changes: &[u8],
) -> redis::Cmd {
    let (rules, new_user) = (call.rules(), rotation.named_user());
    let old = &plan.index_fields;
    let keys = call.keys().of_session(plan.id.as_str(), old);
    let new_record = call.keys().session(new_id.as_str());
    let user = if new_user.is_empty() { old.user.as_slice() } else { new_user.as_bytes() };
    let new_user_key = call.keys().declared_of(plan.id.as_str()).user(user);
    let victim_keys = plan.victim_keys(call);
    let lease = call.fence_key(&keys[0]);
    let keys = keys.iter().chain([&new_record, &new_user_key, &lease]).chain(&victim_keys);
    let (limit, policy) = rules.limit_arguments();
    let nodes = std::iter::once(old.node.as_slice()).chain(plan.victim_nodes());
    let mut cmd = call.evalsha_telling(&script::ROTATE, keys, nodes);
    cmd.arg(call.id().as_bytes()).arg(plan.id.as_str());
    cmd.arg(&old.user).arg(&old.connection).arg(&old.node).arg(new_id.as_str()).arg(new_user);
    cmd.arg(ms(rules.grace)).arg(ms(rules.rotation_grace)).arg(ms(rules.tombstone)).arg(limit).arg(policy);
    call.fence_arguments(&mut cmd);
    let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    cmd.arg(if rotation.user == UserThen::Nobody { "anonymous" } else { "" });
    cmd.arg(text(rotation.patch.ttl.map(ms))).arg(text(rotation.lifetime_ms(rules)));
    cmd.arg(rules.session_bytes).arg(rules.session_entries).arg(changes);
    plan.victim_arguments(&mut cmd);
    call.events_argument(&mut cmd);
    cmd
}
