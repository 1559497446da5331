//! get: reads one live session, by its id or by its connection.

use redis::{Pipeline, Value};

use crate::model::{Error, Refusal, Result, Session, SessionId, require_name};
use crate::redis::call::Call;
use crate::redis::lookup;
use crate::redis::stored_id::told;
use crate::redis::transport::read_batcher::Part;
use crate::stored::partitions::Partition;

pub(crate) async fn run(call: &Call, id: &SessionId) -> Result<Option<Session>> {
    lookup::session_to_keep(call, id).await
}

/// Reads the pointer, then the record; they must agree, because a stale pointer proves nothing. Between the two reads
/// another session may have taken the connection, or taken it and given it back. So a pointer is stale only if a second
/// read finds it leading to the same version of a session without the connection.
///
/// `pointer` is a pointer that was read already.
pub(crate) async fn by_connection(
    call: &Call,
    connection: &str,
    mut pointer: Option<SessionId>,
) -> Result<Option<Session>> {
    require_name("connection id", connection)?;
    let mut passed = None;
    loop {
        let id = match pointer.take() {
            Some(id) => id,
            None => match read_pointer(call, connection).await? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        let found = match lookup::session(call, &id).await {
            // A login was faster than this read, and took the connection along.
            Err(Error::Refused(Refusal::Rotated { .. })) => None,
            found => found?,
        };
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

async fn read_pointer(call: &Call, connection: &str) -> Result<Option<SessionId>> {
    let key = call.keys().connection(connection);
    let pointer = call.read_string(&key, Part::WHOLE, "connection").await?;
    pointer.map(|(_, bytes)| told(&bytes).ok_or_else(|| Error::corrupt("connection"))).transpose()
}

/// The pointers of a connection, in all partitions that have one.
pub(crate) async fn pointers(call: &Call, connection: &str) -> Result<Vec<(Partition, SessionId)>> {
    require_name("connection id", connection)?;
    let partitions = call.partitions();
    let mut pipeline = Pipeline::with_capacity(partitions.count().into());
    for partition in partitions.all() {
        pipeline.cmd("GET").arg(partitions.keys(partition).connection(connection));
    }
    let mut pointers = Vec::new();
    for (partition, value) in partitions.all().zip(call.read(&pipeline, "connection").await?) {
        let id = match value {
            Value::Nil => continue,
            Value::BulkString(bytes) => told(&bytes),
            _ => None,
        };
        pointers.push((partition, id.ok_or_else(|| Error::corrupt("connection"))?));
    }
    Ok(pointers)
}
