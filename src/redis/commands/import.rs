//! import: stores a session as another store exported it.

use crate::model::{Export, Import, Incoming, Removed, Replaces, Result, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, import: Import) -> Result<bool> {
    let (imported, _evicted) = settle(call, &import, NO_LIMIT).await?;
    Ok(imported)
}

/// The same under the session limit of its user: returns the evicted sessions.
pub(crate) async fn admit(call: &Call, import: Import) -> Result<Vec<Removed>> {
    let (_imported, evicted) = settle(call, &import, call.rules().limit_arguments()).await?;
    Ok(evicted)
}

/// How many sessions a user may have, and what happens to more.
type Limit = (u32, &'static str);

const NO_LIMIT: Limit = (0, "reject");

async fn settle(call: &Call, import: &Import, limit: Limit) -> Result<(bool, Vec<Removed>)> {
    let session = import.export.session();
    let entries = import.check(call.rules())?;
    call.partitions().check(session.id(), &session.index_fields.user)?;

    // If the session is here already, its owners are usually the same.
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let cmd = |plan: &KeyPlan| command(call, plan, import, &entries, limit);
    let mut reply = plan.settle(call, &script::IMPORT, cmd).await?;
    match reply.word.as_str() {
        "ok" => {
            let _version = reply.version()?;
            Ok((true, plan.evicted(&mut reply)?))
        }
        "unchanged" => Ok((false, Vec::new())),
        _ => Err(reply.into_error()),
    }
}

fn command(
    call: &Call,
    plan: &KeyPlan,
    import: &Import,
    entries: &[u8],
    (limit, policy): Limit,
) -> redis::Cmd {
    let Import { export: Export { session, changes }, replaces, migration, .. } = import;
    let (new, is_handed_over) = import.index_fields();
    let (old, times) = (&plan.index_fields, &session.times);
    let keys = call.keys().of_session(plan.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = call.keys().of_session(plan.id.as_str(), &new);
    let holder = plan.holder_key(call);
    let new_keys = [new_user, new_connection, new_node, holder, call.keys().migrations()];
    let victim_keys = plan.victim_keys(call);
    let keys = keys.iter().chain(&new_keys).chain(&victim_keys);
    let nodes = [old.node.as_slice(), new.node.as_bytes()].into_iter().chain(plan.victim_nodes());
    let mut cmd = call.evalsha_telling(&script::IMPORT, keys, nodes);
    call.operation_arguments(&mut cmd);
    cmd.arg(plan.id.as_str());
    cmd.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    cmd.arg(&new.user).arg(&new.connection).arg(&new.node).arg(plan.holder_id());
    cmd.arg(session.status.word()).arg(times.created_at).arg(times.last_active).arg(times.expires_at);
    cmd.arg(times.deadline).arg(ms(session.ttl)).arg(changes.as_flattened());
    match replaces {
        Replaces::Older => cmd.arg(""),
        Replaces::At(version) => cmd.arg(version.get()),
        Replaces::Nothing => cmd.arg(0),
    };
    cmd.arg(ms(call.rules().grace)).arg(entries);
    match migration {
        Some(Incoming { task, until_ms, place }) => cmd.arg(task.as_bytes()).arg(until_ms).arg(place),
        None => cmd.arg("").arg("").arg(""),
    };
    cmd.arg(if is_handed_over { "yes" } else { "no" });
    cmd.arg(limit).arg(policy).arg(ms(call.rules().tombstone));
    plan.victim_arguments(&mut cmd);
    call.events_argument(&mut cmd);
    cmd
}
