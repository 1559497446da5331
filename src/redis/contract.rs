//! The contract that the clients of a namespace share: what the scripts take, answer and store. Its number is noted in
//! the namespace, so that a client of an older one is told before it works by rules that no longer hold.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use crate::model::{Error, LONGEST_DURATION, Refusal, Result, ms};
use crate::redis::transport::failure;
use crate::redis::transport::server_error::server_code;
use crate::stored::keys::Keys;

/// The contract of these scripts, as `lua/bundle.json` has it.
///
/// It is the first. A later one says in the changelog what it does where it finds a lower number: raise it, if what the
/// older clients stored is still read, which keeps those from starting again, or refuse to start.
const CONTRACT: u64 = 1;

/// How long the note stays after a client's start: as long as a session may live unused.
const KEPT: Duration = LONGEST_DURATION;

/// Asks for the contract that is noted.
pub(crate) fn ask(pipeline: &mut Pipeline, keys: &Keys) {
    pipeline.cmd("GET").arg(keys.contract());
}

/// Refuses to work where a later one is noted.
pub(crate) fn judge(noted: RedisResult<Value>) -> Result<()> {
    match noted {
        Ok(Value::Nil) => Ok(()),
        Ok(Value::BulkString(bytes)) => check(&bytes),
        Ok(_) => Err(Error::corrupt("contract")),
        Err(error) if server_code(&error).as_deref() == Some("WRONGTYPE") => Err(Error::corrupt("contract")),
        Err(error) => Err(failure::not_executed(error)),
    }
}

/// Notes the contract where none is, and keeps the note for another while.
///
/// Atomicity: of two clients that start at once, one writes and both read what it wrote.
pub(crate) async fn note(connection: &mut MultiplexedConnection, keys: &Keys) -> Result<()> {
    let key = keys.contract();
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.cmd("SET").arg(&key).arg(CONTRACT).arg("NX").arg("PX").arg(ms(KEPT));
    ask(&mut pipeline, keys);
    pipeline.cmd("PEXPIRE").arg(&key).arg(ms(KEPT)).ignore_errors();
    let results: Vec<RedisResult<Value>> =
        pipeline.query_async(connection).await.map_err(failure::not_executed)?;
    let Ok([set, noted, renewed]) = <[_; 3]>::try_from(results) else {
        return Err(Error::corrupt("reply to the note of the contract"));
    };
    let is_noted = !matches!(noted, Ok(Value::Nil));
    judge(noted)?;
    if !is_noted {
        not_noted(set);
    } else if let Err(error) = renewed {
        tracing::debug!(%error, "the contract's note cannot be renewed");
    }
    Ok(())
}

/// A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
fn not_noted(set: RedisResult<Value>) {
    if let Err(error) = set {
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
