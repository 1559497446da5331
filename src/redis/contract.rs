//! The contract that the clients of a namespace share: what the scripts take, answer and store. Its number is noted in
//! the namespace, so that a client of an older one is told before it works by rules that no longer hold.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use crate::model::{Error, LONGEST_DURATION, Obstacle, Refusal, Result, cause, ms};
use crate::redis::transport::server_error::server_code;
use crate::stored::keys::Keys;

/// The contract of these scripts, as `lua/bundle.json` has it.
///
/// It is the first. A later one says in the changelog what it does where it finds a lower number: raise it, if what the
/// older clients stored is still read, which keeps those from starting again, or refuse to start.
const CONTRACT: u64 = 1;

/// How long the note stays after a client's start: as long as a session may live unused.
const KEPT: Duration = LONGEST_DURATION;

/// Notes the contract where none is, and refuses to work where a later one is.
///
/// Atomicity: of two clients that start at once, one writes and both read what it wrote.
pub(crate) async fn agree(connection: &mut MultiplexedConnection, keys: &Keys) -> Result<()> {
    let key = keys.contract();
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("SET").arg(&key).arg(CONTRACT).arg("NX").arg("PX").arg(ms(KEPT));
    pipeline.cmd("GET").arg(&key).ignore_errors();
    let server = |error| Error::obstacle(Obstacle::Server, cause(error));
    let mut results: Vec<RedisResult<Value>> = pipeline.query_async(connection).await.map_err(server)?;
    let noted = match results.pop() {
        Some(Err(error)) if server_code(&error).as_deref() == Some("WRONGTYPE") => {
            return Err(Error::corrupt("contract"));
        }
        Some(noted) => noted.map_err(server)?,
        None => Value::Nil,
    };
    match noted {
        Value::Nil => not_noted(results.pop()),
        Value::BulkString(bytes) => check(&bytes)?,
        _ => return Err(Error::corrupt("contract")),
    }
    let mut renewal = redis::cmd("PEXPIRE");
    renewal.arg(&key).arg(ms(KEPT));
    let renewed: RedisResult<Value> = renewal.query_async(connection).await;
    if let Err(error) = renewed {
        tracing::debug!(%error, "the contract's note cannot be renewed");
    }
    Ok(())
}

/// A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
fn not_noted(set: Option<RedisResult<Value>>) {
    if let Some(Err(error)) = set {
        tracing::warn!(%error, "the contract cannot be noted: a client of a later one would not know of this one");
    }
}

fn check(noted: &[u8]) -> Result<()> {
    let number = std::str::from_utf8(noted).ok().and_then(|text| text.parse::<u64>().ok());
    match number {
        Some(CONTRACT) => Ok(()),
        Some(found) if found > CONTRACT => Err(Error::Refused(Refusal::Contract { found, known: CONTRACT })),
        _ => Err(Error::corrupt("contract")),
    }
}
