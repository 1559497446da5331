//! import: a session of another store brought in as it was exported there.

use crate::model::{Export, Import, Incoming, Replaces, Result, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, import: Import) -> Result<bool> {
    let session = import.export.session();
    let entries = import.check(call.rules())?;

    // Where the session is here already, its owners are mostly the same.
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let cmd = |plan: &KeyPlan| command(call, plan, &import, &entries);
    let reply = plan.settle(call, &script::IMPORT, cmd).await?;
    match reply.word.as_str() {
        "ok" => Ok(true),
        "unchanged" => Ok(false),
        _ => Err(reply.into_error()),
    }
}

fn command(call: &Call, plan: &KeyPlan, import: &Import, entries: &[u8]) -> redis::Cmd {
    let Import { export: Export { session, changes }, replaces, migration, .. } = import;
    let (new, is_handed_over) = import.index_fields();
    let (old, times) = (&plan.index_fields, &session.times);
    let keys = call.keys().of_session(plan.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = call.keys().of_session(plan.id.as_str(), &new);
    let holder = plan.holder_key(call);
    let new_keys = [new_user, new_connection, new_node, holder, call.keys().migrations()];
    let keys = keys.iter().chain(&new_keys);
    let mut cmd = call.evalsha(&script::IMPORT, keys);
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
    cmd
}
