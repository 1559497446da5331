//! Walks through all sessions and all users of a namespace, page by page, for operators.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use redis::Pipeline;

use crate::model::{Error, Invalid, Result, SessionId, check_count};
use crate::redis::call::Call;
use crate::redis::commands::count::{Index, count_indexes};
use crate::redis::store::RedisStore;
use crate::redis::stored_id::{StoredId, told};
use crate::stored::partitions::Partition;

/// The largest page.
const LARGEST_PAGE: usize = 1000;

/// Where a walk through all sessions continues. `Display` writes it as text, so that another process can continue. The
/// text does not contain the id of the session that it stands at, because that is a secret; so the walk repeats all
/// sessions that expire in that millisecond.
#[derive(Clone, PartialEq, Eq)]
pub struct Position {
    partition: u16,
    expires_at: u64,
    id: StoredId,
}

impl Position {
    fn beginning_of(partition: Partition) -> Self {
        Self { partition: partition.number(), expires_at: 0, id: Vec::new() }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, expires_at, .. } = self;
        f.debug_struct("Position")
            .field("partition", partition)
            .field("expires_at", expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.partition, self.expires_at)
    }
}

impl FromStr for Position {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("position", "is not one that a walk returned");
        let (partition, expires_at) = text.split_once('.').ok_or_else(wrong)?;
        let partition = partition.parse().map_err(|_| wrong())?;
        Ok(Self { partition, expires_at: expires_at.parse().map_err(|_| wrong())?, id: Vec::new() })
    }
}

/// A session that a walk passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// The session's id.
    pub id: SessionId,
    /// When it expires, or has, in milliseconds since the epoch.
    pub expires_at_ms: u64,
}

/// A page of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stretch {
    /// The sessions, ordered by the time of their expiry in each partition. Some of them may have ended by
    /// now.
    pub sessions: Vec<Passed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Position>,
}

/// Where a scan of all users continues. It is valid only for the store that returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    server: usize,
    cursor: Vec<u8>,
}

/// Some of the users.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Users {
    /// Users with live sessions, and how many each has.
    pub users: Vec<(String, u64)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Scan>,
}

impl RedisStore {
    /// Reads a page of all sessions of the namespace, 1 to 1,000, ordered by the time of their expiry, one partition
    /// after the other. A session that is used meanwhile moves ahead of the walk. So the walk passes each session that
    /// exists throughout, some more than once, except one whose ttl is shortened meanwhile.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad size, or a position in a partition that does not exist.
    pub async fn walk(&self, from: Option<&Position>, size: usize) -> Result<Stretch> {
        check_count("page size", size, LARGEST_PAGE)?;
        let mut rest = self
            .partitions()
            .all()
            .skip_while(|partition| from.is_some_and(|from| partition.number() != from.partition));
        let Some(partition) = rest.next() else {
            return Err(Error::invalid("position", "is in no partition"));
        };
        let from = from.cloned().unwrap_or_else(|| Position::beginning_of(partition));
        let (mut found, mut asked) = (Vec::new(), size);
        let is_full = loop {
            let (page, last) = (self.page_of(partition, from.expires_at, asked).await?, &from);
            let is_full = page.len() == asked;
            found.extend(page.into_iter().filter(|(id, at)| (*at, id) > (last.expires_at, &last.id)));
            if !is_full || !found.is_empty() {
                break is_full;
            }
            // The page is full of sessions that expire in the same millisecond and were passed already.
            asked *= 2;
        };
        let here = found.last().filter(|_| is_full).map(|(id, at)| Position {
            partition: partition.number(),
            expires_at: *at,
            id: id.clone(),
        });
        let next = here.or_else(|| rest.next().map(Position::beginning_of));
        // The empty member is the index's own note.
        let passed = |(id, expires_at_ms): (StoredId, u64)| Some(Passed { id: told(&id)?, expires_at_ms });
        Ok(Stretch { sessions: found.into_iter().filter_map(passed).collect(), next })
    }

    async fn page_of(&self, partition: Partition, from: u64, size: usize) -> Result<Vec<(StoredId, u64)>> {
        let body = |call: Arc<Call>| async move {
            let mut page = Pipeline::with_capacity(1);
            let expiry = call.keys().expiry();
            page.cmd("ZRANGEBYSCORE").arg(expiry).arg(from).arg("+inf").arg("WITHSCORES");
            page.arg("LIMIT").arg(0).arg(size);
            let reply = call.read(&page, "expiry").await?.pop().unwrap_or(redis::Value::Nil);
            let corrupt = |_| Error::corrupt("expiry");
            let entries: Vec<(StoredId, f64)> = redis::from_redis_value(reply).map_err(corrupt)?;
            Ok(entries.into_iter().map(|(id, score)| (id, score as u64)).collect())
        };
        self.call_in(partition, "walk", self.operation_id, body).await
    }

    /// Looks at about this many keys of the server, 1 to 1,000, for users who have live sessions. It may return a user
    /// more than once, and may or may not return one who comes or goes meanwhile. It is for operators: its cost grows
    /// with the number of all keys on the server.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad number of keys.
    pub async fn users(&self, from: Option<&Scan>, keys: usize) -> Result<Users> {
        check_count("number of keys", keys, LARGEST_PAGE)?;
        let Scan { server, cursor } =
            from.cloned().unwrap_or_else(|| Scan { server: 0, cursor: b"0".to_vec() });
        let body = |call: Arc<Call>| async move {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(call.partitions().indexes_pattern());
            scan.arg("COUNT").arg(keys).arg("TYPE").arg("zset");
            let Some(page) = call.read_at(server, &scan).await? else {
                return Ok(Users { users: Vec::new(), next: None });
            };
            let (next, keys): (Vec<u8>, Vec<Vec<u8>>) =
                redis::from_redis_value(page).map_err(|_| Error::corrupt("reply to SCAN"))?;
            let of_user = |key: Vec<u8>| {
                let partition = call.partitions().of_key(&key)?;
                let user = call.partitions().keys(partition).user_of_index(&key)?.to_vec();
                // A name that is not valid text cannot be returned.
                Some((String::from_utf8(user).ok()?, (partition, key)))
            };
            let (users, indexes): (Vec<String>, Vec<Index>) = keys.into_iter().filter_map(of_user).unzip();
            let counts = count_indexes(&call, &indexes).await?;
            let users = users.into_iter().zip(counts).filter(|(_, live)| *live > 0).collect();
            let next = match next.as_slice() {
                b"0" if server + 1 < call.servers() => {
                    Some(Scan { server: server + 1, cursor: b"0".to_vec() })
                }
                b"0" => None,
                _ => Some(Scan { server, cursor: next }),
            };
            Ok(Users { users, next })
        };
        self.call("users", body).await
    }
}
