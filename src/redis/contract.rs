//! The contract that the clients of a namespace share: what the scripts take, answer and store. The namespace records
//! its number, so that an older client stops before it works by rules that no longer hold. It also records the number
//! of partitions, the scheme of ids and whether it has events: all clients must agree on them.

use std::str::FromStr;
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::model::{Error, IdScheme, LONGEST_DURATION, Refusal, Result, ms};
use crate::redis::transport::failure;
use crate::redis::transport::sender::Sender;
use crate::redis::transport::server_error::server_code;
use crate::stored::keys::Keys;
use crate::stored::partitions::{MOST, Partition, Partitions};

/// The contract of these scripts, as `lua/bundle.json` has it. It is the first. A later one, when it starts, will
/// raise the recorded number if it accepts that, as the clients in other languages do.
const CONTRACT: u64 = 1;

/// The contracts of namespaces in which a store may start.
const ACCEPTS: [u64; 1] = [CONTRACT];

/// How long the note lasts after a client's start: as long as a session may live unused.
const KEPT: Duration = LONGEST_DURATION;

/// Asks for the recorded contract.
pub(crate) fn ask(pipeline: &mut Pipeline, keys: &Keys) {
    pipeline.cmd("GET").arg(keys.contract());
}

/// Refuses a namespace that has recorded no contract.
pub(crate) async fn require(sender: &Sender, partitions: &Partitions, until: Instant) -> Result<()> {
    let mut question = Pipeline::with_capacity(1);
    ask(&mut question, partitions.keys(partitions.first()));
    match sender.replies(&question, until).await.or_not_executed()?.as_slice() {
        [Value::Nil] => Err(Error::Refused(Refusal::NoNamespace)),
        _ => Ok(()),
    }
}

/// Whether any of these partitions has recorded a contract. It counts for all partitions, and a wrong one
/// is refused.
pub(crate) async fn is_noted(
    sender: &Sender,
    partitions: &Partitions,
    some: &[Partition],
    until: Instant,
) -> Result<bool> {
    if some.is_empty() {
        return Ok(false);
    }
    let mut questions = Pipeline::with_capacity(some.len());
    some.iter().for_each(|partition| ask(&mut questions, partitions.keys(*partition)));
    let mut is_noted = false;
    for reply in results(sender.replies(&questions, until).await.or_not_executed()?) {
        is_noted |= !matches!(reply, Ok(Value::Nil));
        judge(reply, partitions)?;
    }
    Ok(is_noted)
}

/// The result of each command.
fn results(replies: Vec<Value>) -> impl Iterator<Item = RedisResult<Value>> {
    replies.into_iter().map(|reply| match reply {
        Value::ServerError(error) => Err(error.into()),
        reply => Ok(reply),
    })
}

/// The recorded contract.
pub(crate) fn number(noted: &Value) -> Option<u64> {
    let Value::BulkString(bytes) = noted else { return None };
    digits(std::str::from_utf8(bytes).ok()?.split(' ').next()?)
}

/// Refuses a recorded contract that is not accepted, another number of partitions, another scheme of ids, or another
/// setting of events.
pub(crate) fn judge(noted: RedisResult<Value>, partitions: &Partitions) -> Result<()> {
    match noted {
        Ok(Value::Nil) => Ok(()),
        Ok(Value::BulkString(bytes)) => check(&bytes, partitions),
        Ok(_) => Err(Error::corrupt("contract")),
        Err(error) if server_code(&error).as_deref() == Some("WRONGTYPE") => Err(Error::corrupt("contract")),
        Err(error) => Err(failure::not_executed(error)),
    }
}

/// Records the contract if none is recorded, and extends the note's TTL, in the partitions of servers that answer.
///
/// Atomicity: of two clients that start at once, one writes and both read what it wrote. The partition with the tag 0
/// comes first, because every namespace has it: a client that is refused there has written nothing elsewhere.
pub(crate) async fn note(
    sender: &Sender,
    partitions: &Partitions,
    some: &[Partition],
    until: Instant,
) -> Result<()> {
    let (first, others): (Vec<_>, Vec<_>) =
        some.iter().partition(|partition| **partition == partitions.first());
    if !first.is_empty() {
        note_in(sender, partitions, &first, until).await?;
    }
    if others.is_empty() {
        return Ok(());
    }
    unless_away(note_in(sender, partitions, &others, until).await).map(drop)
}

/// A node of a cluster that is away must not block the others. `None`: it is away.
pub(crate) fn unless_away<T>(prepared: Result<T>) -> Result<Option<T>> {
    match prepared {
        Err(error) if error.is_transient() => {
            tracing::warn!(%error, "a node of the cluster is away: its partitions are not prepared");
            Ok(None)
        }
        prepared => prepared.map(Some),
    }
}

async fn note_in(
    sender: &Sender,
    partitions: &Partitions,
    group: &[Partition],
    until: Instant,
) -> Result<()> {
    let mut pipeline = Pipeline::with_capacity(3 * group.len());
    for partition in group {
        let keys = partitions.keys(*partition);
        set(&mut pipeline, keys, partitions);
        ask(&mut pipeline, keys);
        keep(&mut pipeline, keys);
    }
    let mut results = results(sender.replies(&pipeline, until).await.or_not_executed()?);
    while let Some(set) = results.next() {
        let (Some(noted), Some(renewed)) = (results.next(), results.next()) else {
            return Err(Error::corrupt("reply to the note of the contract"));
        };
        let is_noted = !matches!(noted, Ok(Value::Nil));
        judge(noted, partitions)?;
        if !is_noted {
            not_noted(set);
        } else if let Err(error) = renewed {
            tracing::debug!(%error, "the note of the contract could not be renewed");
        }
    }
    Ok(())
}

fn set(pipeline: &mut Pipeline, keys: &Keys, partitions: &Partitions) {
    pipeline.cmd("SET").arg(keys.contract()).arg(noted_for(partitions)).arg("NX").arg("PX").arg(ms(KEPT));
}

fn keep(pipeline: &mut Pipeline, keys: &Keys) {
    pipeline.cmd("PEXPIRE").arg(keys.contract()).arg(ms(KEPT));
}

/// A write that changes no data: it extends the note's TTL, also on replicas. The last of its replies is 1 if it wrote.
/// It did not if memory is full and the note was lost.
pub(crate) fn write(partitions: &Partitions) -> Pipeline {
    let (mut pipeline, keys) = (Pipeline::with_capacity(3), partitions.keys(partitions.first()));
    set(&mut pipeline, keys, partitions);
    keep(&mut pipeline, keys);
    pipeline
}

/// The note: the contract, then the number of partitions, the scheme of ids and how many events are kept, as far as
/// they differ from the defaults. The client that makes the namespace sets the number of events for clients without
/// one; a different number does no harm.
fn noted_for(partitions: &Partitions) -> String {
    let (count, scheme, events) = (partitions.count(), partitions.id_scheme(), partitions.events());
    let scheme = Some(scheme).filter(|scheme| *scheme != IdScheme::Uuid).map(IdScheme::word);
    let events = (events > 0).then(|| events.to_string());
    let is_more = scheme.is_some() || events.is_some();
    let count = (count > 1 || is_more).then(|| count.to_string());
    let words = [Some(CONTRACT.to_string()), count, scheme.map(str::to_owned), events];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A server that takes no writes, because its memory is full or it is a replica, still serves reads and
/// logouts.
fn not_noted(set: RedisResult<Value>) {
    if let Err(error) = set {
        tracing::warn!(%error, "the contract could not be recorded: a later client would not know of this one");
    }
}

/// Reads a number as all clients write it: `parse` alone would accept a sign.
fn digits<T: FromStr>(word: &str) -> Option<T> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

fn check(noted: &[u8], partitions: &Partitions) -> Result<()> {
    let corrupt = || Error::corrupt("contract");
    let text = std::str::from_utf8(noted).map_err(|_| corrupt())?;
    let mut words = text.split(' ');
    let (contract, found) = (words.next().unwrap_or_default(), words.next().unwrap_or("1"));
    let contract: u64 = digits(contract).ok_or_else(corrupt)?;
    if contract == 0 {
        return Err(corrupt());
    }
    if !ACCEPTS.contains(&contract) {
        return Err(Error::Refused(Refusal::Contract { found: contract, known: CONTRACT }));
    }
    let found: u16 = digits(found).filter(|found| (1..=MOST).contains(found)).ok_or_else(corrupt)?;
    let mut next = words.next();
    let scheme = next.and_then(IdScheme::of_word);
    if scheme.is_some() {
        next = words.next();
    }
    let events: u32 = next.map_or(Some(0), digits).ok_or_else(corrupt)?;
    if words.next().is_some() {
        return Err(corrupt());
    }
    let (count, scheme, wanted) =
        (partitions.count(), scheme.unwrap_or(IdScheme::Uuid), partitions.id_scheme());
    if found != count {
        return Err(Error::Refused(Refusal::Partitions { found, wanted: count }));
    }
    if scheme != wanted {
        return Err(Error::Refused(Refusal::IdScheme { found: scheme, wanted }));
    }
    if (events > 0) != (partitions.events() > 0) {
        return Err(Error::Refused(Refusal::Events { found: events }));
    }
    Ok(())
}
