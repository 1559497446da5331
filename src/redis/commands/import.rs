//! import: a session of another store brought in as it was exported there.

use crate::model::{Coming, Export, Import, Imported, Replaces, Result, ms};
use crate::redis::call::Operation;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, import: Import) -> Result<Imported> {
    let session = import.export.session();
    let entries = import.check(operation.rules())?;

    // Where the session is here already, its owners are mostly the same.
    let mut plan = KeyPlan::of(session, OnRotated::Answer);
    let call = |plan: &KeyPlan| call(operation, plan, &import, &entries);
    let reply = plan.settle(operation, &script::IMPORT, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Imported::Imported),
        "unchanged" => Ok(Imported::Unchanged),
        "missing" => Ok(Imported::Missing),
        _ => Err(reply.into_error()),
    }
}

fn call(operation: &Operation<'_>, plan: &KeyPlan, import: &Import, entries: &[u8]) -> redis::Cmd {
    let Import { export: Export { session, operations }, replaces, migration, .. } = import;
    let (new, is_handed_over) = import.index_fields();
    let (old, times) = (&plan.index_fields, &session.times);
    let keys = operation.keys().of_session(plan.id.as_str(), old);
    let [_, _, new_user, new_connection, new_node] = operation.keys().of_session(plan.id.as_str(), &new);
    let holder = plan.holder_key(operation);
    let new_keys = [new_user, new_connection, new_node, holder, operation.keys().migrations()];
    let keys = keys.iter().chain(&new_keys).map(String::as_str);
    let mut call = operation.call(&script::IMPORT, keys);
    call.arg(operation.id().as_bytes()).arg(plan.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(session.version.get());
    call.arg(&new.user).arg(&new.connection).arg(&new.node).arg(plan.holder_id());
    call.arg(session.status.word()).arg(times.created_at).arg(times.last_active).arg(times.expires_at);
    call.arg(times.deadline).arg(ms(session.ttl)).arg(operations.as_flattened());
    match replaces {
        Replaces::Older => call.arg(""),
        Replaces::At(version) => call.arg(version.get()),
        Replaces::Nothing => call.arg(0),
    };
    call.arg(ms(operation.rules().grace)).arg(entries);
    match migration {
        Some(Coming { task, until_ms, place }) => call.arg(task.as_bytes()).arg(until_ms).arg(place),
        None => call.arg("").arg("").arg(""),
    };
    call.arg(if is_handed_over { "yes" } else { "no" });
    call
}
