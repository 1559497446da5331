//! Reading one session by its id.
//!
//! Reading takes no script: TIME and GET in one pipeline cost a third of the server's time. `lua/get.lua` is for
//! other languages and for cluster clients.

use redis::{Pipeline, Value};

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::record::Record;
use crate::session::Session;

/// The live session with an id, or with the id that it was rotated to.
pub(crate) async fn session(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Session>> {
    operation.about(id);
    let found = match read(operation, id).await? {
        Found::Moved(to) => read(operation, &to).await?,
        found => found,
    };
    match found {
        Found::Session(session) => Ok(Some(*session)),
        // An id that was rotated away twice leads nowhere.
        Found::Moved(_) | Found::Nothing => Ok(None),
    }
}

enum Found {
    Session(Box<Session>),
    Moved(SessionId),
    Nothing,
}

async fn read(operation: &Operation<'_>, id: &SessionId) -> Result<Found> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("TIME").cmd("GET").arg(operation.keys().session(id.as_str()));
    let values = operation.read(&pipeline, "record").await?;
    let [time, record] = values.as_slice() else {
        return Err(Error::corrupt("reply to TIME and GET"));
    };
    let Value::BulkString(bytes) = record else {
        return Ok(Found::Nothing);
    };
    match Record::decode(id, bytes).ok_or_else(|| Error::corrupt("record"))? {
        Record::Session(session) if session.expires_at_ms() > operation.now(time)? => {
            Ok(Found::Session(session))
        }
        Record::Moved(to) => Ok(Found::Moved(to)),
        Record::Session(_) | Record::Deleted => Ok(Found::Nothing),
    }
}
