//! delete_user: deletes all sessions of a user, or all except one, in bounded batches.

use redis::Pipeline;

use crate::model::{
    Error, Obstacle, Refusal, Result, SESSIONS_PER_SCRIPT, SessionId, UserDeleted, require_name,
};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::{bulk as batch, lookup};

/// How often in a row a batch may remove nothing, because its sessions kept changing.
const IDLE_BATCHES: u32 = 12;

/// The deletion of the sessions that exist when it begins. Sessions that are created meanwhile survive, so that it
/// ends.
#[derive(Debug)]
pub(crate) struct Deletion<'a> {
    user: &'a str,
    /// The session to keep: the id that the caller named, and the one that it was rotated to.
    keep: Vec<SessionId>,
    /// Sessions that stay because they are corrupt.
    corrupt: Vec<StoredId>,
    /// When the newest of them was created, by the server's clock of that moment.
    newest: Option<u64>,
    idle_rounds: u32,
    pub(crate) done: UserDeleted,
}

impl<'a> Deletion<'a> {
    pub(crate) fn new(user: &'a str, keep: Option<&SessionId>) -> Result<Self> {
        require_name("user id", user)?;
        Ok(Self {
            user,
            keep: keep.cloned().into_iter().collect(),
            corrupt: Vec::new(),
            newest: None,
            idle_rounds: 0,
            done: UserDeleted::default(),
        })
    }

    /// Deletes a batch, and returns whether none is left.
    pub(crate) async fn batch(&mut self, call: &Call) -> Result<bool> {
        call.changes();
        if let (None, Some(keep)) = (self.newest, self.keep.first().filter(|keep| call.is_near(keep))) {
            match lookup::session(call, keep).await {
                Ok(session) => self.keep.extend(session.map(|session| session.id)),
                // A login rotated it: its new id is not revealed to a caller with the old one.
                Err(Error::Refused(Refusal::Rotated { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let passed = self.keep.len() + self.corrupt.len();
        let (newest, mut ids) = page(call, self.user, self.newest, passed).await?;
        self.newest.get_or_insert(newest);
        let is_kept = |id: &StoredId| self.keep.iter().any(|keep| keep.as_str().as_bytes() == id);
        ids.retain(|id| !is_kept(id) && !self.corrupt.contains(id));
        let whole = ids.len() <= SESSIONS_PER_SCRIPT;
        ids.truncate(SESSIONS_PER_SCRIPT);
        let candidates = batch::candidates(call, ids).await?;
        if candidates.is_empty() {
            return Ok(true);
        }
        let outcome = batch::remove(call, self.user, &candidates).await?;
        let removed = outcome.removed.len() + usize::try_from(outcome.unreadable).unwrap_or(usize::MAX);
        self.done.removed.extend(outcome.removed);
        self.done.unreadable += outcome.unreadable;
        // An entry in none of the lists was dropped: its session was rotated and is indexed under its new id, or there
        // was none.
        let settled = removed + outcome.corrupt.len() == candidates.len();
        for id in outcome.corrupt {
            match told(&id) {
                Some(id) => self.done.corrupt.push(id),
                None => self.done.unreadable += 1,
            }
            self.corrupt.push(id);
        }
        if whole && settled {
            return Ok(true);
        }
        let idle = outcome.stale.len() == candidates.len() || (whole && removed == 0);
        self.idle_rounds = if idle { self.idle_rounds + 1 } else { 0 };
        if self.idle_rounds == IDLE_BATCHES {
            Err(Error::obstacle(Obstacle::Contended, None))
        } else {
            Ok(false)
        }
    }
}

/// When the newest session was created, and a batch of the oldest entries: one more than asked for, to see whether
/// there are others, and as many more as must be skipped.
async fn page(call: &Call, user: &str, newest: Option<u64>, passed: usize) -> Result<(u64, Vec<StoredId>)> {
    let key = call.keys().user(user);
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ZRANGE").arg(&key).arg(-1).arg(-1).arg("WITHSCORES");
    pipeline.cmd("ZRANGEBYSCORE").arg(&key).arg("-inf");
    pipeline.arg(newest.map_or_else(|| "+inf".to_owned(), |newest| newest.to_string()));
    pipeline.arg("LIMIT").arg(0).arg(SESSIONS_PER_SCRIPT + 1 + passed);
    let values = call.read(&pipeline, "user").await?;
    let [last, ids] = values.as_slice() else {
        return Err(Error::corrupt("reply to ZRANGE and ZRANGEBYSCORE"));
    };
    let last: Vec<(Vec<u8>, f64)> =
        redis::from_redis_value(last.clone()).map_err(|_| Error::corrupt("user"))?;
    let newest = last.first().map_or(0, |(_, made)| *made as u64);
    let ids: Vec<StoredId> = redis::from_redis_value_ref(ids).map_err(|_| Error::corrupt("user"))?;
    Ok((newest, ids))
}
