//! get: one live session, by its id or by its connection.

use redis::{Pipeline, Value};

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::lookup;
use crate::operation::Operation;
use crate::routing::require_name;
use crate::session::Session;

pub(crate) async fn run(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Session>> {
    lookup::session(operation, id).await
}

/// The pointer, then the record, which must agree: a stale pointer is no answer.
pub(crate) async fn by_connection(operation: &Operation<'_>, connection: &str) -> Result<Option<Session>> {
    require_name("connection id", connection)?;
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("GET").arg(operation.keys().connection(connection));
    let id = match operation.read(&pipeline).await?.pop() {
        Some(Value::BulkString(bytes)) => String::from_utf8(bytes).ok(),
        _ => return Ok(None),
    };
    let id = id
        .and_then(|id| SessionId::new(id).ok())
        .ok_or_else(|| Error::corrupt("connection"))?;
    let session = lookup::session(operation, &id).await?;
    Ok(session.filter(|session| session.connection() == Some(connection)))
}
