//! create_many: makes many sessions by one script, each as create would, except those that something is in the way
//! of.

use crate::model::{Created, OperationId, Result, Times, ValidatedSession, Version, ms};
use crate::redis::call::Call;
use crate::redis::reply::{Reply, another_session};
use crate::redis::script;

/// How many sessions one script call makes at most. Each takes the server some 30 microseconds.
const CREATES_PER_SCRIPT: usize = 100;

/// How many bytes of entries one script call stores at most, except that a single session may have more. They take the
/// server some 4 ms.
const BYTES_PER_SCRIPT: usize = 1024 * 1024;

/// A session to make, under its own operation id.
#[derive(Debug)]
pub(crate) struct BatchMember {
    /// Its position in the caller's list.
    pub(crate) place: usize,
    pub(crate) operation_id: OperationId,
    pub(crate) session: ValidatedSession,
}

/// How many of these make a batch.
pub(crate) fn batch_len(members: &[BatchMember]) -> usize {
    let mut bytes = 0;
    let fits = members.iter().take(CREATES_PER_SCRIPT).take_while(|member| {
        let is_first = bytes == 0;
        bytes += member.session.entries.len() + 1;
        is_first || bytes <= BYTES_PER_SCRIPT
    });
    fits.count()
}

/// The result of a batch.
#[derive(Debug)]
pub(crate) struct CreatedBatch {
    created_at: u64,
    /// The sessions that were not made, by their position in the batch: create them alone.
    alone: Vec<usize>,
}

impl CreatedBatch {
    /// The sessions that were made, each with its position in the caller's list, and those to create alone.
    pub(crate) fn split(self, batch: Vec<BatchMember>) -> (Vec<(usize, Created)>, Vec<BatchMember>) {
        let (mut made, mut alone) = (Vec::with_capacity(batch.len()), Vec::new());
        for (at, member) in batch.into_iter().enumerate() {
            if self.alone.contains(&at) {
                alone.push(member);
            } else {
                made.push((member.place, member.made(self.created_at)));
            }
        }
        (made, alone)
    }
}

impl BatchMember {
    /// The session as the script made it: with the times that create would answer.
    fn made(mut self, created_at: u64) -> Created {
        let deadline = self.session.deadline(created_at);
        let idle = created_at + ms(self.session.ttl);
        let expires_at = if deadline > 0 { idle.min(deadline) } else { idle };
        let times = Times { created_at, last_active: created_at, expires_at, deadline };
        let token = self.session.token.take();
        let session = self.session.into_session(Version::new(1), times);
        Created { session, token, evicted: Vec::new(), reaped: Vec::new() }
    }
}

pub(crate) async fn run(call: &Call, batch: &mut [BatchMember]) -> Result<CreatedBatch> {
    let reply = make(call, batch).await;
    for member in batch.iter_mut() {
        member.operation_id = call.id_of_part(member.operation_id);
    }
    let mut reply = reply?.expect_ok()?;
    let created_at = reply.number()?;
    let mut alone = Vec::new();
    while !reply.is_empty() {
        let place = usize::try_from(reply.number()?).ok().filter(|place| (1..=batch.len()).contains(place));
        alone.push(place.ok_or_else(another_session)? - 1);
    }
    Ok(CreatedBatch { created_at, alone })
}

async fn make(call: &Call, batch: &[BatchMember]) -> Result<Reply> {
    let rules = call.rules();
    let mut keys = vec![call.keys().expiry()];
    for BatchMember { session, .. } in batch {
        let [record, _, user, connection, node] =
            call.keys().of_session(session.id.as_str(), &session.index_fields);
        keys.extend([record, user, connection, node]);
    }
    let nodes = || batch.iter().map(|member| &member.session.index_fields.node);
    let cmd = || {
        let mut cmd = call.evalsha_telling(&script::CREATE_MANY, keys.iter(), nodes());
        call.bound_argument(&mut cmd);
        cmd.arg(rules.max_lifetime.map_or(0, ms)).arg(ms(rules.grace)).arg(ms(rules.tombstone));
        for BatchMember { operation_id, session, .. } in batch {
            let ValidatedSession { id, index_fields, status, ttl, entries, .. } = session;
            cmd.arg(id.as_str());
            cmd.arg(&index_fields.user).arg(&index_fields.connection).arg(&index_fields.node);
            cmd.arg(operation_id.as_bytes()).arg(status.word()).arg(ms(*ttl)).arg(entries);
        }
        call.events_argument(&mut cmd);
        cmd
    };
    call.run(&script::CREATE_MANY, cmd).await
}
