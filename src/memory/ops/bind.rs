//! bind: gives a live session a connection, and the node that holds it.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::shared_name::SharedName;
use crate::model::{
    Binding, Bound, EventKind, Refusal, Result, SessionId, SessionRef, Status, Version, some,
};

pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, binding: &Binding) -> Result<Bound> {
    let binding = &binding.clone().at(call.identity)?;
    let hint = session.hint().index_fields();
    let names = [session.id().as_str(), &hint.connection, &hint.node, &binding.connection, &binding.node];
    let mut call = call.reaching(names);
    let (id, answer) = call.settle_at(session, |call, locked, id| attempt(call, locked, id, binding))?;
    Ok(Bound {
        id,
        version: Version::new(answer.version),
        previous_connection: some(answer.connection.as_str()).map(Into::into),
        previous_node: some(answer.node.as_str()).map(Into::into),
        taken_from: answer.holder,
        reaped: call.reaped,
        changed: answer.changed,
    })
}

struct Answer {
    version: u64,
    /// What the session had before.
    connection: SharedName,
    node: SharedName,
    holder: Option<SessionId>,
    changed: bool,
}

fn attempt(
    call: &Call<'_>,
    locked: &mut LockedShards<'_>,
    id: &SessionId,
    binding: &Binding,
) -> Result<Answer, Halt> {
    let frozen = || Halt::Refused(Refusal::Frozen);
    if let Some((version, _)) = call.noted(locked, id)? {
        // The store no longer knows what it had before.
        let (connection, node) = (SharedName::new(""), SharedName::new(""));
        return Ok(Answer { version, connection, node, holder: None, changed: true });
    }
    let record = locked.live(id, call.now)?;
    fence(call, locked, &binding.node)?;
    if record.is_frozen(call.now) {
        return Err(frozen());
    }
    locked.need_session(id, record)?;
    locked.need([binding.node.as_str()])?;
    let holder = locked.holder(&binding.connection, id, call.now)?;
    if let Some(holder) = &holder {
        if !binding.takes_over {
            return Err(Halt::Refused(Refusal::Taken));
        }
        let record = locked.live(holder, call.now)?;
        if record.is_frozen(call.now) {
            return Err(frozen());
        }
        locked.need_session(holder, record)?;
    }
    let (connection, node) = (record.connection.clone(), record.node.clone());
    if connection.as_str() == binding.connection
        && node.as_str() == binding.node
        && record.status == Status::Active
    {
        return Ok(Answer { version: record.version, connection, node, holder: None, changed: false });
    }

    if let Some(holder) = &holder {
        let mut record = locked.take(holder);
        call.tell(EventKind::TakenOver, holder, &record, record.version + 1);
        record.detach(call.operation, call.now);
        locked.put(holder.clone(), record);
    }
    let mut record = locked.take(id);
    record.connection.set(&binding.connection);
    record.node.set(&binding.node);
    record.status = Status::Active;
    record.change(call.operation, call.now);
    record.note_use(call.now, call.rules);
    let version = record.version;
    call.tell_from(EventKind::Bound, id, &record, version, node.as_str());
    locked.put(id.clone(), record);
    Ok(Answer { version, connection, node, holder, changed: true })
}
