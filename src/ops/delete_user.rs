//! delete_user: all sessions of a user, or all but one, in bounded batches.

use redis::{Pipeline, Value};

use crate::batch::{self, BATCH, Removed};
use crate::error::{Error, Obstacle, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::routing::require_name;

/// How often in a row a batch may remove nothing, because its sessions kept changing.
const ROUNDS: u32 = 12;

/// What deleting a user's sessions came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct UserDeleted {
    /// The sessions that were removed. Close their connections.
    pub removed: Vec<Removed>,
    /// Those that cannot be removed, because something under their keys is corrupt. Nothing of them was changed.
    pub corrupt: Vec<SessionId>,
}

/// Those that there were when it began: what is created meanwhile survives, so that it comes to an end.
pub(crate) async fn run(
    operation: &Operation<'_>,
    user: &str,
    keep: Option<&SessionId>,
) -> Result<UserDeleted> {
    require_name("user id", user)?;
    let mut done = UserDeleted::default();
    let mut start = None;
    let mut idle_rounds = 0;
    while idle_rounds < ROUNDS {
        let (now, mut ids) = page(operation, user, start, done.corrupt.len()).await?;
        start.get_or_insert(now);
        ids.retain(|id| Some(id) != keep && !done.corrupt.contains(id));
        let whole = ids.len() <= BATCH;
        ids.truncate(BATCH);
        let candidates = batch::candidates(operation, ids).await?;
        if candidates.is_empty() {
            return Ok(done);
        }
        let outcome = batch::remove(operation, user, &candidates).await?;
        let removed = outcome.removed.len();
        done.removed.extend(outcome.removed);
        // An entry in none of the lists was dropped: its session was rotated away, and is indexed under its new id, or
        // it had none.
        let settled = removed + outcome.corrupt.len() == candidates.len();
        done.corrupt.extend(outcome.corrupt);
        if whole && settled {
            return Ok(done);
        }
        let idle = outcome.stale.len() == candidates.len() || (whole && removed == 0);
        idle_rounds = if idle { idle_rounds + 1 } else { 0 };
    }
    Err(Error::obstacle(Obstacle::Contended, None))
}

/// The server's time, and a batch of the oldest entries, with one more that tells whether there are others. Room is
/// made for those to pass over: the one to keep and the corrupt.
async fn page(
    operation: &Operation<'_>,
    user: &str,
    start: Option<u64>,
    corrupt: usize,
) -> Result<(u64, Vec<SessionId>)> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline
        .cmd("TIME")
        .cmd("ZRANGEBYSCORE")
        .arg(operation.keys().user(user))
        .arg("-inf");
    pipeline.arg(start.map_or_else(|| "+inf".to_owned(), |start| start.to_string()));
    pipeline.arg("LIMIT").arg(0).arg(BATCH + 2 + corrupt);
    let values = operation.read(&pipeline).await?;
    let [time, ids] = values.as_slice() else {
        return Err(Error::corrupt("reply to TIME and ZRANGEBYSCORE"));
    };
    let now = operation.now(time)?;
    let Value::Array(ids) = ids else {
        return Err(Error::corrupt("user"));
    };
    let ids = ids.iter().map(|id| match id {
        Value::BulkString(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::corrupt("user"))?;
            SessionId::new(text).map_err(|_| Error::corrupt("user"))
        }
        _ => Err(Error::corrupt("user")),
    });
    Ok((now, ids.collect::<Result<_>>()?))
}
