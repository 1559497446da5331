//! get: one live session, by its id or by its connection.

use crate::model::{Error, Result, Session, SessionId, require_name};
use crate::redis::call::Operation;
use crate::redis::lookup;

pub(crate) async fn run(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Session>> {
    lookup::session(operation, id).await
}

/// The pointer, then the record, which must agree: a stale pointer is no answer. But between the two the connection may
/// have been taken over, so a pointer that disagrees is read again, and followed if it leads elsewhere now.
pub(crate) async fn by_connection(operation: &Operation<'_>, connection: &str) -> Result<Option<Session>> {
    require_name("connection id", connection)?;
    let mut passed = None;
    loop {
        let Some(id) = pointer(operation, connection).await? else {
            return Ok(None);
        };
        if passed.as_ref() == Some(&id) {
            return Ok(None);
        }
        match lookup::session(operation, &id).await? {
            Some(session) if session.connection() == Some(connection) => return Ok(Some(session)),
            _ => passed = Some(id),
        }
    }
}

async fn pointer(operation: &Operation<'_>, connection: &str) -> Result<Option<SessionId>> {
    let key = operation.keys().connection(connection);
    let Some((_, bytes)) = operation.read_string(&key, "connection").await? else {
        return Ok(None);
    };
    let id = String::from_utf8(bytes).ok().and_then(|id| SessionId::new(id).ok());
    id.map(Some).ok_or_else(|| Error::corrupt("connection"))
}
