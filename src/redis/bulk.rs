//! Bulk work: many sessions' records read in one round trip, then one script with all their keys declared.

use redis::{Pipeline, Value};

use crate::model::{Error, IndexFields, Removed, Result, Session, SessionId, some};
use crate::redis::call::Call;
use crate::redis::reply::Reply;
use crate::redis::script;
use crate::stored::record::Record;

/// A session to remove, and where it was indexed when its record was read.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: SessionId,
    pub(crate) index_fields: IndexFields,
    /// What is stored cannot be read, so nobody knows where it is indexed.
    pub(crate) broken: bool,
}

impl Candidate {
    pub(crate) fn into_removed(self) -> Removed {
        let IndexFields { connection, node, .. } = self.index_fields;
        Removed {
            id: self.id,
            connection: some(&connection).map(Into::into),
            node: some(&node).map(Into::into),
        }
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct BatchResult<T> {
    pub(crate) removed: Vec<T>,
    /// Changed between the reading and the script: to be tried again.
    pub(crate) stale: Vec<SessionId>,
    pub(crate) corrupt: Vec<SessionId>,
}

/// Reads where sessions are indexed. What has no record of a session is indexed nowhere that we know.
pub(crate) async fn candidates(call: &Call, ids: Vec<SessionId>) -> Result<Vec<Candidate>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // MGET, because it reads a foreign type as absent, which the script then finds out.
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("MGET");
    for id in &ids {
        pipeline.arg(call.keys().session(id.as_str()));
    }
    let Some(Value::Array(records)) = call.read(&pipeline, "record").await?.pop() else {
        return Err(Error::corrupt("reply to MGET"));
    };
    Ok(ids.into_iter().zip(&records).map(|(id, value)| candidate(id, value)).collect())
}

fn candidate(id: SessionId, value: &Value) -> Candidate {
    let record = match value {
        Value::BulkString(bytes) => Record::decode(&id, bytes),
        _ => None,
    };
    let broken = record.is_none() && *value != Value::Nil;
    let index_fields = match record {
        Some(Record::Session { session, .. }) => session.index_fields,
        _ => IndexFields::default(),
    };
    Candidate { id, index_fields, broken }
}

/// Those that a script is to handle, and the ids of the broken ones.
pub(crate) fn sound(candidates: &[Candidate]) -> (Vec<&Candidate>, Vec<SessionId>) {
    let (broken, sound): (Vec<&Candidate>, _) = candidates.iter().partition(|candidate| candidate.broken);
    let broken = broken.into_iter().map(|candidate| candidate.id.clone());
    (sound, broken.collect())
}

/// The candidates' ids that are among these, in the candidates' order.
pub(crate) fn in_order(candidates: &[Candidate], ids: &[SessionId]) -> Vec<SessionId> {
    let of = candidates.iter().map(|candidate| &candidate.id);
    of.filter(|id| ids.contains(id)).cloned().collect()
}

/// Removes those that have expired. One that lives again survives.
pub(crate) async fn reap(call: &Call, candidates: &[Candidate]) -> Result<(BatchResult<Session>, u64)> {
    let (sound, broken) = sound(candidates);
    let mut keys = vec![call.keys().expiry()];
    for candidate in &sound {
        let [record, _, user, connection, node] =
            call.keys().of_session(candidate.id.as_str(), &candidate.index_fields);
        keys.extend([record, user, connection, node]);
    }
    let mut cmd = call.evalsha(&script::REAP, keys.iter().map(String::as_str));
    for Candidate { id, index_fields, .. } in sound {
        cmd.arg(id.as_str()).arg(&index_fields.user).arg(&index_fields.connection).arg(&index_fields.node);
    }
    let mut reply = call.run(&script::REAP, || cmd.clone()).await?.expect_ok()?;
    let [removed, stale, corrupt, dropped] =
        [reply.number()?, reply.number()?, reply.number()?, reply.number()?];
    let mut outcome = outcome(&mut reply, removed, stale, corrupt, |reply, id| reply.session(&id))?;
    outcome.corrupt = in_order(candidates, &[outcome.corrupt, broken].concat());
    Ok((outcome, dropped))
}

/// Removes sessions of a user, live or expired.
pub(crate) async fn remove(
    call: &Call,
    user: &str,
    candidates: &[Candidate],
) -> Result<BatchResult<Removed>> {
    let (sound, broken) = sound(candidates);
    let mut keys = vec![call.keys().expiry(), call.keys().user(user)];
    for candidate in &sound {
        let [record, _, _, connection, node] =
            call.keys().of_session(candidate.id.as_str(), &candidate.index_fields);
        keys.extend([record, connection, node]);
    }
    let mut cmd = call.evalsha(&script::DELETE_USER, keys.iter().map(String::as_str));
    cmd.arg(call.id().as_bytes()).arg(user).arg(crate::model::ms(call.rules().tombstone));
    for Candidate { id, index_fields, .. } in sound {
        cmd.arg(id.as_str()).arg(&index_fields.connection).arg(&index_fields.node);
    }
    let mut reply = call.run(&script::DELETE_USER, || cmd.clone()).await?.expect_ok()?;
    let [removed, stale, corrupt] = [reply.number()?, reply.number()?, reply.number()?];
    let mut outcome = outcome(&mut reply, removed, stale, corrupt, |_, id| removed_of(candidates, id))?;
    outcome.corrupt = in_order(candidates, &[outcome.corrupt, broken].concat());
    Ok(outcome)
}

/// The removed sessions that a script names, with what was declared of them.
pub(crate) fn removed_of(candidates: &[Candidate], id: SessionId) -> Result<Removed> {
    let candidate = candidates.iter().find(|candidate| candidate.id == id);
    candidate
        .cloned()
        .map(Candidate::into_removed)
        .ok_or_else(|| Error::corrupt("reply that names another session"))
}

fn outcome<T>(
    reply: &mut Reply,
    removed: u64,
    stale: u64,
    corrupt: u64,
    read: impl Fn(&mut Reply, SessionId) -> Result<T>,
) -> Result<BatchResult<T>> {
    Ok(BatchResult {
        removed: (0..removed)
            .map(|_| reply.session_id().and_then(|id| read(reply, id)))
            .collect::<Result<_>>()?,
        stale: (0..stale).map(|_| reply.session_id()).collect::<Result<_>>()?,
        corrupt: (0..corrupt).map(|_| reply.session_id()).collect::<Result<_>>()?,
    })
}
