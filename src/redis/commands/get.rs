//! get: one live session, by its id or by its connection.

use crate::model::{Error, Result, Session, SessionId, require_name};
use crate::redis::call::Call;
use crate::redis::lookup;
use crate::redis::transport::read_batcher::Part;

pub(crate) async fn run(call: &Call, id: &SessionId) -> Result<Option<Session>> {
    lookup::session_to_keep(call, id).await
}

/// The pointer, then the record, which must agree: a stale pointer is no answer. But between the two the connection may
/// have been taken over, and between two looks it may have been there and back. So a pointer is stale only if it leads,
/// read again, to the very version of the session that did not have the connection before.
pub(crate) async fn by_connection(call: &Call, connection: &str) -> Result<Option<Session>> {
    require_name("connection id", connection)?;
    let mut passed = None;
    loop {
        let Some(id) = pointer(call, connection).await? else {
            return Ok(None);
        };
        let found = lookup::session(call, &id).await?;
        if let Some(session) = &found
            && session.connection() == Some(connection)
        {
            return Ok(found);
        }
        let led = Some((id, found.map(|session| (session.id, session.version))));
        if passed == led {
            return Ok(None);
        }
        passed = led;
    }
}

async fn pointer(call: &Call, connection: &str) -> Result<Option<SessionId>> {
    let key = call.keys().connection(connection);
    let Some((_, bytes)) = call.read_string(&key, Part::Whole, "connection").await? else {
        return Ok(None);
    };
    let id = String::from_utf8(bytes).ok().and_then(|id| SessionId::new(id).ok());
    id.map(Some).ok_or_else(|| Error::corrupt("connection"))
}
