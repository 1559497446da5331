//! The contract that the clients of a namespace share: what the scripts take, answer and store. Its number is noted in
//! the namespace, so that a client of an older one is told before it works by rules that no longer hold; and so is the
//! number of partitions, which no client may take for another.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use crate::model::{Error, LONGEST_DURATION, Obstacle, Refusal, Result, cause, ms};
use crate::redis::transport::server_error::server_code;
use crate::stored::partitions::Partitions;

/// The contract of these scripts, as `lua/bundle.json` has it.
///
/// It is the first. A later one says in the changelog what it does where it finds a lower number: raise it, if what the
/// older clients stored is still read, which keeps those from starting again, or refuse to start.
const CONTRACT: u64 = 1;

/// How long the note stays after a client's start: as long as a session may live unused.
const KEPT: Duration = LONGEST_DURATION;

/// Notes the contract where none is, and refuses to work where a later one is, or another number of partitions.
///
/// Atomicity: of two clients that start at once, one writes and both read what it wrote. The partition of the tag 0 comes
/// first, which namespaces of all numbers have: who is refused there has noted nothing anywhere.
pub(crate) async fn agree(connection: &mut MultiplexedConnection, partitions: &Partitions) -> Result<()> {
    let (first, others): (Vec<_>, Vec<_>) =
        partitions.all().partition(|partition| *partition == partitions.first());
    for group in [first, others] {
        let keys: Vec<Vec<u8>> =
            group.into_iter().map(|partition| partitions.keys(partition).contract()).collect();
        if !keys.is_empty() {
            agree_at(connection, &keys, partitions.count()).await?;
        }
    }
    Ok(())
}

async fn agree_at(connection: &mut MultiplexedConnection, keys: &[Vec<u8>], count: u16) -> Result<()> {
    let mut pipeline = Pipeline::with_capacity(2 * keys.len());
    for key in keys {
        pipeline.cmd("SET").arg(key).arg(note(count)).arg("NX").arg("PX").arg(ms(KEPT));
        pipeline.cmd("GET").arg(key);
    }
    pipeline.ignore_errors();
    let server = |error| Error::obstacle(Obstacle::Server, cause(error));
    let results: Vec<RedisResult<Value>> = pipeline.query_async(connection).await.map_err(server)?;
    let mut results = results.into_iter();
    while let Some(set) = results.next() {
        let noted = match results.next() {
            Some(Err(error)) if server_code(&error).as_deref() == Some("WRONGTYPE") => {
                return Err(Error::corrupt("contract"));
            }
            Some(noted) => noted.map_err(server)?,
            None => Value::Nil,
        };
        match noted {
            Value::Nil => not_noted(set),
            Value::BulkString(bytes) => check(&bytes, count)?,
            _ => return Err(Error::corrupt("contract")),
        }
    }
    let mut renewal = Pipeline::with_capacity(keys.len());
    for key in keys {
        renewal.cmd("PEXPIRE").arg(key).arg(ms(KEPT));
    }
    let renewed: RedisResult<Vec<Value>> = renewal.query_async(connection).await;
    if let Err(error) = renewed {
        tracing::debug!(%error, "the contract's note cannot be renewed");
    }
    Ok(())
}

/// What is noted: the contract, and the number of partitions if there are several.
fn note(count: u16) -> String {
    if count == 1 { CONTRACT.to_string() } else { format!("{CONTRACT} {count}") }
}

/// A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
fn not_noted(set: RedisResult<Value>) {
    if let Err(error) = set {
        tracing::warn!(%error, "the contract cannot be noted: a client of a later one would not know of this one");
    }
}

fn check(noted: &[u8], count: u16) -> Result<()> {
    let corrupt = || Error::corrupt("contract");
    let text = std::str::from_utf8(noted).map_err(|_| corrupt())?;
    let (contract, found) = text.split_once(' ').unwrap_or((text, "1"));
    let contract: u64 = contract.parse().map_err(|_| corrupt())?;
    if contract > CONTRACT {
        return Err(Error::Refused(Refusal::Contract { found: contract, known: CONTRACT }));
    }
    let found: u16 = found.parse().map_err(|_| corrupt())?;
    match contract {
        CONTRACT if found == count => Ok(()),
        CONTRACT => Err(Error::Refused(Refusal::Partitions { found, wanted: count })),
        _ => Err(corrupt()),
    }
}
