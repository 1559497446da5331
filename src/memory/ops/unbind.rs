//! unbind: a connection that is gone, detached from the session that still has it.

use crate::memory::call::{Call, Halt};
use crate::memory::lease::fence;
use crate::model::{Error, Refusal, Result, SessionRef, Unbound, require_name};

pub(crate) fn run(call: Call<'_>, target: &dyn SessionRef, connection: &str) -> Result<Unbound> {
    require_name("connection id", connection)?;
    let mut call = call.reaching([target.id().as_str(), connection]);
    let settled = call.settle_at(target, |call, locked, id| {
        let record = locked.live(id, call.now)?;
        if record.version_of(call.operation).is_some() {
            return Ok(Unbound::Detached);
        }
        if record.connection.as_str() != connection {
            return Ok(Unbound::NotBound);
        }
        fence(call, locked, record.node.as_str())?;
        if record.is_frozen(call.now) {
            return Err(Halt::Refused(Refusal::Frozen));
        }
        locked.need_session(id, record)?;

        let mut record = locked.take(id);
        record.detach(call.operation);
        locked.put(id.clone(), record);
        Ok(Unbound::Detached)
    });
    match settled {
        Ok((_, unbound)) => Ok(unbound),
        Err(Error::Refused(Refusal::Missing)) => Ok(Unbound::Missing),
        Err(error) => Err(error),
    }
}
