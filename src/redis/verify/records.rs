//! Checks records that the walk met: whether each can be read and is where it belongs, and whether all its entries lead
//! to it.

use std::collections::BTreeMap;

use redis::{Pipeline, Value};

use crate::model::{IndexFields, Result, SessionId};
use crate::redis::bulk::BYTES_PER_READ;
use crate::redis::call::Call;
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::looked::{Come, Looked, of_key, sha1};
use crate::redis::verify::subject::{About, Subject};
use crate::redis::verify::violation::Violation;
use crate::stored::key_kind::KeyKind;
use crate::stored::keys::Keys;
use crate::stored::partitions::Partition;
use crate::stored::record::{Head, Record};

/// How much earlier a key may expire, in milliseconds, as in the scripts.
const SLACK_MS: i64 = 1000;

/// The same for a record and the time stored in it.
const LATE_MS: u64 = 60_000;
/// A record that was read, and how long its key lasts.
pub(crate) struct Seen {
    pub(crate) partition: Partition,
    pub(crate) id: SessionId,
    pub(crate) ttl: i64,
    pub(crate) bytes: Vec<u8>,
}
/// Reads the rest of records of which only the beginning was read.
pub(crate) async fn read_the_rest(call: &Call, seen: &mut [Seen]) -> Result<()> {
    let large: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].bytes.len() == Head::BYTES).collect();
    let mut rest = large.as_slice();
    while !rest.is_empty() {
        let (mut pipeline, mut total, mut count) = (Pipeline::new(), 0, 0);
        for at in rest {
            let size = Head::decode(&seen[*at].bytes).map_or(Head::BYTES, |head| head.size);
            if total > 0 && total + size > BYTES_PER_READ {
                break;
            }
            pipeline
                .cmd("GET")
                .arg(call.partitions().keys(seen[*at].partition).session(seen[*at].id.as_str()));
            (total, count) = (total + size, count + 1);
        }
        let (now, later) = rest.split_at(count);
        for (at, bytes) in now.iter().zip(call.read_strings(pipeline).await?) {
            seen[*at].bytes = bytes;
        }
        rest = later;
    }
    Ok(())
}

/// Looks for the entries that must lead to each record.
pub(crate) async fn look_at_records(
    call: &Call,
    looked: &mut Looked,
    seen: Vec<Seen>,
    now: u64,
) -> Result<()> {
    let (mut pipeline, mut asked) = (Pipeline::new(), Vec::new());
    let mut homes: BTreeMap<Partition, usize> = BTreeMap::new();
    for Seen { partition, id, ttl, bytes } in seen {
        let Some((record, head)) = sound(call, looked, partition, &id, &bytes) else { continue };
        if ttl == -1 {
            let key = Come {
                partition,
                key: call.partitions().keys(partition).session(id.as_str()),
                kind: KeyKind::Session(id.as_str().to_owned()),
            };
            looked.suspect(partition, About::All, of_key(call, &key, head.stored_until, String::new()));
        }
        let (listed, is_session) = (record.listed(), head.created_at.is_some());
        looked.sessions += u64::from(is_session);
        let is_short =
            ttl >= 0 && (ttl as u64).saturating_add(LATE_MS) < head.stored_until.saturating_sub(now);
        if is_short {
            looked.suspect(partition, About::Entry("record_short"), session(&id, head.index_fields.clone()));
        }
        if !is_session && listed.is_none() {
            continue;
        }
        let keys = call.partitions().keys(partition);
        homes.entry(partition).or_insert_with(|| {
            let at = pipeline.len();
            pipeline.cmd("PTTL").arg(keys.expiry()).cmd("ZSCORE").arg(keys.expiry()).arg("");
            at
        });
        let at = pipeline.len();
        ask_for(&mut pipeline, keys, &id, &head, listed.is_some());
        asked.push((partition, id, ttl, head, listed, at));
    }
    let answers = call.read_any(pipeline).await?;
    for (partition, id, ttl, head, listed, at) in asked {
        let home = &answers[homes[&partition]..][..2];
        if !agrees(&id, &head, ttl, listed, home, &answers[at..]) {
            looked.suspect(partition, About::Record, session(&id, head.index_fields));
        }
    }
    Ok(())
}

/// A record, if it is ours, is where it belongs and leads where it may. Otherwise records the violation.
fn sound(
    call: &Call,
    looked: &mut Looked,
    partition: Partition,
    id: &SessionId,
    bytes: &[u8],
) -> Option<(Record, Head)> {
    let (partitions, head) = (call.partitions(), Head::decode(bytes));
    let record = Record::decode(id, bytes);
    let leads_nowhere = |record: &Record| match record.leads_to(bytes) {
        Ok(Some(to)) => {
            let stays = matches!(record, Record::Rotated { .. });
            to == id || (stays && partitions.of(to.as_str()) != partition)
        }
        Ok(None) => false,
        Err(()) => true,
    };
    let kind = match &record {
        None => Some(ViolationKind::Corrupt),
        Some(_) if partitions.of(id.as_str()) != partition => Some(ViolationKind::WrongPartition),
        Some(record) if leads_nowhere(record) => Some(ViolationKind::WrongPointer),
        Some(_) => None,
    };
    if let Some(kind) = kind {
        let named = head.map(|head| head.index_fields).filter(is_named_rightly).unwrap_or_default();
        let id = id.as_str().as_bytes().to_vec();
        looked.suspect(partition, About::All, Subject::Record { id, named, found: sha1(bytes), kind });
        return None;
    }
    let head = head?;
    if !head.index_fields.user.is_empty() && partitions.of(&head.index_fields.user) != partition {
        let key = partitions.keys(partition).session(id.as_str());
        looked.violations.push(Violation { kind: ViolationKind::WrongPartition, key, mend: None });
    }
    Some((record?, head))
}

fn session(id: &SessionId, named: IndexFields<Vec<u8>>) -> Subject {
    Subject::Session { id: id.as_str().as_bytes().to_vec(), named, holder: Vec::new() }
}

/// No script could repair such an id.
fn is_named_rightly(fields: &IndexFields<Vec<u8>>) -> bool {
    [&fields.user, &fields.connection, &fields.node].iter().all(|name| name.len() <= 256)
}

/// Asks for the entries that lead to a session, and after each for the TTL of its key.
fn ask_for(pipeline: &mut Pipeline, keys: &Keys, id: &SessionId, head: &Head, is_listed: bool) {
    let IndexFields { user, connection, node } = &head.index_fields;
    if head.created_at.is_some() {
        pipeline.cmd("ZSCORE").arg(keys.expiry()).arg(id.as_str());
    }
    for (name, key) in [(user, keys.user(user)), (node, keys.node(node))] {
        if !name.is_empty() {
            pipeline.cmd("ZSCORE").arg(&key).arg(id.as_str()).cmd("PTTL").arg(&key);
        }
    }
    if !connection.is_empty() {
        let key = keys.connection(connection);
        pipeline.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
    }
    if is_listed {
        let key = keys.migrations();
        pipeline.cmd("ZSCORE").arg(&key).arg(id.as_str()).cmd("PTTL").arg(&key);
    }
}

/// Whether all entries that lead to a session agree with its record, by the answers to that.
fn agrees(
    id: &SessionId,
    head: &Head,
    ttl: i64,
    listed: Option<Option<u64>>,
    home: &[Option<Value>],
    answers: &[Option<Value>],
) -> bool {
    let mut answers = answers.iter();
    let lasts = |answer: Option<&Option<Value>>| {
        let found = answer.and_then(number).unwrap_or(0.0) as i64;
        found < 0 || found + SLACK_MS >= ttl
    };
    let mut is_right = true;
    if let Some(created_at) = head.created_at {
        is_right &= answers.next().and_then(score) == Some(head.expires_at);
        is_right &= lasts(home.first()) && home.get(1).and_then(score) >= Some(head.expires_at);
        for name in [&head.index_fields.user, &head.index_fields.node] {
            if !name.is_empty() {
                is_right &= answers.next().and_then(score) == Some(created_at);
                is_right &= lasts(answers.next());
            }
        }
    }
    if !head.index_fields.connection.is_empty() {
        let pointer = answers.next().cloned().flatten();
        let points_here =
            matches!(pointer, Some(Value::BulkString(found)) if found == id.as_str().as_bytes());
        is_right &= points_here && lasts(answers.next());
    }
    if let Some(until) = listed {
        let found = answers.next().and_then(score);
        is_right &= found.is_some() && until.is_none_or(|until| found == Some(until));
        is_right &= head.created_at.is_none() || lasts(answers.next());
    }
    is_right
}
fn number(answer: &Option<Value>) -> Option<f64> {
    redis::from_redis_value_ref::<Option<f64>>(answer.as_ref()?).ok().flatten()
}

fn score(answer: &Option<Value>) -> Option<u64> {
    number(answer).map(|score| score as u64)
}
