//! Bulk work: one round trip reads the beginnings of many sessions' records, then one script declares all their
//! keys. Ids and names stay bytes, which may not be valid text, until they are returned.

use std::time::Duration;

use redis::{Cmd, Pipeline};

use crate::model::{IndexFields, Removed, Result, Session, SessionId, ms};
use crate::redis::call::Call;
use crate::redis::reply::{Reply, another_session};
use crate::redis::script;
use crate::redis::stored_id::{StoredId, told, told_name};
use crate::stored::partitions::Partition;
use crate::stored::record::{Head, Record};

/// How long corrupt data stays set aside: a week.
pub(crate) const KEPT_ASIDE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many bytes of sessions one read takes, except that a single session may be larger.
pub(crate) const BYTES_PER_READ: usize = 2 * 1024 * 1024;

/// A session to work on, and its index fields when its record was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    pub(crate) id: StoredId,
    pub(crate) index_fields: IndexFields<Vec<u8>>,
    expires_at: u64,
}

impl Candidate {
    pub(crate) fn new(id: StoredId, index_fields: IndexFields<Vec<u8>>) -> Self {
        Self { id, index_fields, expires_at: 0 }
    }

    fn of(id: StoredId, head: Head) -> Self {
        Self { id, index_fields: head.index_fields, expires_at: head.expires_at }
    }

    pub(crate) fn user(&self) -> Option<String> {
        told_name(&self.index_fields.user)
    }

    pub(crate) fn connection(&self) -> Option<String> {
        told_name(&self.index_fields.connection)
    }

    /// The removed session for the caller, if its id is valid text.
    fn removed(&self) -> Option<Removed> {
        Some(removed_of(told(&self.id)?, &self.index_fields))
    }
}

/// A removed session, made from its declared fields. A name that is not valid text is left out.
pub(crate) fn removed_of(id: SessionId, had: &IndexFields<Vec<u8>>) -> Removed {
    let [user, connection, node] = [&had.user, &had.connection, &had.node].map(|name| told_name(name));
    Removed { id, user, connection, node }
}

/// The result of a batch.
#[derive(Debug)]
pub(crate) struct BatchResult<T> {
    pub(crate) removed: Vec<T>,
    /// How many more were removed that cannot be returned: an id, a name or an entry is not valid text.
    pub(crate) unreadable: u64,
    /// Sessions that changed between the read and the script: try them again.
    pub(crate) stale: Vec<StoredId>,
    pub(crate) corrupt: Vec<StoredId>,
    /// Entries of the expiry index without a session.
    pub(crate) dropped: u64,
    /// How many at the end were not looked at, because earlier ones were large: try them again.
    pub(crate) left: usize,
}

impl<T> Default for BatchResult<T> {
    fn default() -> Self {
        let (removed, stale, corrupt) = (Vec::new(), Vec::new(), Vec::new());
        Self { removed, unreadable: 0, stale, corrupt, dropped: 0, left: 0 }
    }
}

/// Reads the index fields of sessions. Without a session's record, none are known.
pub(crate) async fn candidates(call: &Call, ids: Vec<StoredId>) -> Result<Vec<Candidate>> {
    let heads = heads(call, &ids).await?;
    let found = ids.into_iter().zip(heads);
    Ok(found.map(|(id, bytes)| Candidate::of(id, Head::decode(&bytes).unwrap_or_default())).collect())
}

/// The beginnings of records. They are empty for keys that are absent or of a foreign type; the script
/// finds that out.
async fn heads(call: &Call, ids: &[StoredId]) -> Result<Vec<Vec<u8>>> {
    let mut pipeline = Pipeline::with_capacity(ids.len());
    for id in ids {
        pipeline.cmd("GETRANGE").arg(call.keys().session(id)).arg(0).arg(Head::BYTES - 1);
    }
    call.read_strings(pipeline).await
}

/// A page of the expiry index: the sessions that expired before a time (`None` for now), and when.
pub(crate) async fn expired(
    call: &Call,
    before: Option<u64>,
    skip: usize,
    limit: usize,
) -> Result<Vec<(StoredId, u64)>> {
    let mut cmd = call.evalsha(&script::EXPIRED, &[call.keys().expiry()]);
    cmd.arg(before.map(|before| before.to_string()).unwrap_or_default()).arg(skip).arg(limit);
    let mut reply = call.run(&script::EXPIRED, || cmd.clone()).await?.expect_ok()?;
    let mut page = Vec::new();
    while !reply.is_empty() {
        page.push((reply.bytes()?, reply.number()?));
    }
    Ok(page)
}

/// Asks when the first session of a partition expired.
pub(crate) fn ask_first_expired(call: &Call, partition: Partition) -> Cmd {
    let mut cmd = call.evalsha(&script::EXPIRED, &[call.partitions().keys(partition).expiry()]);
    cmd.arg("").arg(0).arg(1);
    cmd
}

/// When the first session expired, if any has.
pub(crate) fn first_expired(reply: Reply) -> Result<Option<u64>> {
    let mut reply = reply.expect_ok()?;
    if reply.is_empty() {
        return Ok(None);
    }
    let _id = reply.bytes()?;
    reply.number().map(Some)
}

/// An expired session, with its whole record, which can no longer change.
struct Expired {
    candidate: Candidate,
    record: Vec<u8>,
}

impl Expired {
    fn told(self) -> Option<Session> {
        match Record::decode(&told(&self.candidate.id)?, &self.record)? {
            Record::Session { session, .. } => Some(*session),
            _ => None,
        }
    }
}

/// Reads the records of as many sessions as one read may take.
async fn records(call: &Call, ids: &[StoredId]) -> Result<Vec<Expired>> {
    let mut records = heads(call, ids).await?;
    let (mut total, mut count, mut large) = (0, 0, Vec::new());
    for record in &records {
        let size = Head::decode(record).map_or(0, |head| head.size);
        if total > 0 && total + size > BYTES_PER_READ {
            break;
        }
        if size > record.len() {
            large.push(count);
        }
        (total, count) = (total + size, count + 1);
    }
    records.truncate(count);
    let mut pipeline = Pipeline::with_capacity(large.len());
    for at in &large {
        pipeline.cmd("GET").arg(call.keys().session(&ids[*at]));
    }
    for (at, record) in large.into_iter().zip(call.read_strings(pipeline).await?) {
        records[at] = record;
    }
    let expired = ids.iter().zip(records).map(|(id, record)| Expired {
        candidate: Candidate::of(id.clone(), Head::decode(&record).unwrap_or_default()),
        record,
    });
    Ok(expired.collect())
}

/// Removes expired sessions. A session that was extended meanwhile survives.
pub(crate) async fn reap(call: &Call, ids: &[StoredId]) -> Result<BatchResult<Session>> {
    let mut expired = records(call, ids).await?;
    let mut keys = vec![call.keys().expiry()];
    for Expired { candidate, .. } in &expired {
        let [record, _, user, connection, node] =
            call.keys().of_session(&candidate.id, &candidate.index_fields);
        keys.extend([record, user, connection, node, call.keys().aside(&candidate.id)]);
    }
    let nodes = expired.iter().map(|expired| &expired.candidate.index_fields.node);
    let mut cmd = call.evalsha_telling(&script::REAP, &keys, nodes);
    cmd.arg(ms(KEPT_ASIDE));
    for Expired { candidate: Candidate { id, index_fields, expires_at }, .. } in &expired {
        cmd.arg(id).arg(&index_fields.user).arg(&index_fields.connection).arg(&index_fields.node);
        cmd.arg(expires_at);
    }
    call.events_argument(&mut cmd);
    let mut reply = call.run(&script::REAP, || cmd.clone()).await?.expect_ok()?;
    let counts = [reply.number()?, reply.number()?, reply.number()?];
    let (dropped, left) = (reply.number()?, reply.count()?);
    let left = left + ids.len() - expired.len();
    let take = |id: StoredId| {
        let at = expired.iter().position(|expired| expired.candidate.id == id);
        Ok(expired.swap_remove(at.ok_or_else(another_session)?).told())
    };
    Ok(BatchResult { dropped, left, ..outcome(&mut reply, counts, take)? })
}

/// Removes sessions of a user, live or expired.
pub(crate) async fn remove(
    call: &Call,
    user: &str,
    candidates: &[Candidate],
) -> Result<BatchResult<Removed>> {
    let mut keys = vec![call.keys().expiry(), call.keys().user(user)];
    for candidate in candidates {
        let [record, _, _, connection, node] = call.keys().of_session(&candidate.id, &candidate.index_fields);
        keys.extend([record, connection, node]);
    }
    let nodes = candidates.iter().map(|candidate| &candidate.index_fields.node);
    let mut cmd = call.evalsha_telling(&script::DELETE_USER, &keys, nodes);
    cmd.arg(call.id().as_bytes()).arg(user).arg(ms(call.rules().tombstone));
    for Candidate { id, index_fields, .. } in candidates {
        cmd.arg(id).arg(&index_fields.connection).arg(&index_fields.node);
    }
    call.events_argument(&mut cmd);
    let mut reply = call.run(&script::DELETE_USER, || cmd.clone()).await?.expect_ok()?;
    let counts = [reply.number()?, reply.number()?, reply.number()?];
    let left = reply.count()?;
    let removed = outcome(&mut reply, counts, |id| Ok(named(candidates, &id)?.removed()))?;
    Ok(BatchResult { left, ..removed })
}

/// The removed sessions that a script names, with their declared fields, if they are valid text.
pub(crate) fn removed(candidates: &[Candidate], ids: Vec<StoredId>) -> Result<Vec<Removed>> {
    let told = ids.iter().map(|id| Ok(named(candidates, id)?.removed()));
    Ok(told.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// A candidate that a script names.
pub(crate) fn named<'c>(candidates: &'c [Candidate], id: &[u8]) -> Result<&'c Candidate> {
    candidates.iter().find(|candidate| candidate.id == id).ok_or_else(another_session)
}

/// The ids by their kinds: removed, stale, corrupt.
fn outcome<T>(
    reply: &mut Reply,
    counts: [u64; 3],
    mut told: impl FnMut(StoredId) -> Result<Option<T>>,
) -> Result<BatchResult<T>> {
    let mut result = BatchResult::default();
    let [removed, stale, corrupt] = counts;
    for _ in 0..removed {
        match told(reply.bytes()?)? {
            Some(session) => result.removed.push(session),
            None => result.unreadable += 1,
        }
    }
    result.stale = reply.ids(stale)?;
    result.corrupt = reply.ids(corrupt)?;
    Ok(result)
}
