//! Tidies users' and nodes' indexes after sessions that nobody reaped in time, whose records then ended by their own
//! TTL. A reaper that meets such a gap, an entry of the expiry index without a record, then walks through all indexes,
//! a bounded part of the key space per batch that it reaps afterwards.

use std::sync::{Mutex, PoisonError};

use crate::model::{Error, Result};
use crate::redis::call::Call;
use crate::redis::commands::count::count_indexes;

/// How many keys of the server one step looks at.
const KEYS_PER_STEP: usize = 1000;

/// Where a walk through the indexes is.
#[derive(Debug, Default)]
pub(crate) struct Tidying(Mutex<Walk>);

#[derive(Debug, Default)]
struct Walk {
    /// The server that the walk is at, and the cursor there, if a walk is on.
    cursor: Option<(usize, Vec<u8>)>,
    /// Whether another walk must follow: a gap was met during this one.
    again: bool,
}

impl Tidying {
    fn walk(&self) -> std::sync::MutexGuard<'_, Walk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a gap was met.
    pub(crate) fn begin(&self) {
        let mut walk = self.walk();
        if walk.cursor.is_none() {
            walk.cursor = Some(beginning(0));
        } else {
            walk.again = true;
        }
    }

    /// Whether a walk is on.
    pub(crate) fn is_on(&self) -> bool {
        self.walk().cursor.is_some()
    }

    fn cursor(&self) -> Option<(usize, Vec<u8>)> {
        self.walk().cursor.clone()
    }

    fn go_on(&self, next: (usize, Vec<u8>)) {
        self.walk().cursor = Some(next);
    }

    /// Records that the walk has passed all servers.
    fn end(&self) {
        let mut walk = self.walk();
        walk.cursor = std::mem::take(&mut walk.again).then(|| beginning(0));
    }
}

fn beginning(nth: usize) -> (usize, Vec<u8>) {
    (nth, b"0".to_vec())
}

/// Continues a walk by one step.
///
/// Several reapers may walk at once; entries that one has dropped the others do not find.
pub(crate) async fn step(call: &Call, tidying: &Tidying) -> Result<()> {
    let Some((nth, cursor)) = tidying.cursor() else {
        return Ok(());
    };
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(call.partitions().indexes_pattern());
    scan.arg("COUNT").arg(KEYS_PER_STEP).arg("TYPE").arg("zset");
    let Some(page) = call.read_at(nth, &scan).await? else {
        tidying.end();
        return Ok(());
    };
    let (next, indexes): (Vec<u8>, Vec<Vec<u8>>) =
        redis::from_redis_value(page).map_err(|_| Error::corrupt("reply to SCAN"))?;
    let of_partition = |key: Vec<u8>| Some((call.partitions().of_key(&key)?, key));
    let indexes: Vec<_> = indexes.into_iter().filter_map(of_partition).collect();
    match count_indexes(call, &indexes).await {
        // Other indexes are still tidied.
        Err(Error::Corrupt { .. }) => {
            for index in &indexes {
                match count_indexes(call, std::slice::from_ref(index)).await {
                    Err(error @ Error::Corrupt { .. }) => tracing::debug!(%error, "an index was not tidied"),
                    counted => drop(counted?),
                }
            }
        }
        counted => drop(counted?),
    }
    match next.as_slice() {
        b"0" if nth + 1 < call.servers() => tidying.go_on(beginning(nth + 1)),
        b"0" => tidying.end(),
        _ => tidying.go_on((nth, next)),
    }
    Ok(())
}
