//! unbind: detaches a connection that is gone from the session that still has it.

use crate::memory::call::Call;
use crate::memory::fence::fence;
use crate::memory::halt::Halt;
use crate::model::{Error, EventKind, Refusal, Result, SessionRef, require_name};

/// Whether the connection was detached; `None`: there is no live session.
pub(crate) fn run(call: Call<'_>, session: &dyn SessionRef, connection: &str) -> Result<Option<bool>> {
    require_name("connection id", connection)?;
    let mut call = call.reaching([session.id().as_str(), connection]);
    let settled = call.settle_at(session, |call, locked, id| {
        if call.noted(locked, id)?.is_some() {
            return Ok(true);
        }
        let record = locked.live(id, call.now)?;
        if record.connection.as_str() != connection {
            return Ok(false);
        }
        fence(call, locked, record.node.as_str())?;
        if record.is_frozen(call.now) {
            return Err(Halt::Refused(Refusal::Frozen));
        }
        locked.need_session(id, record)?;

        let mut record = locked.take(id);
        call.tell(EventKind::Unbound, id, &record, record.version + 1);
        record.detach(call.operation, call.now);
        locked.put(id.clone(), record);
        Ok(true)
    });
    match settled {
        Ok((_, is_detached)) => Ok(Some(is_detached)),
        Err(Error::Refused(Refusal::Missing)) => Ok(None),
        Err(error) => Err(error),
    }
}
