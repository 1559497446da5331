//! expired: lists the sessions that expired before a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::memory::call::Call;
use crate::memory::locked_shards::LockedShards;
use crate::model::{Expired, Result, SessionId, check_count};

pub(crate) fn run(call: Call<'_>, before: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
    check_count("page size", limit, Expired::LARGEST_PAGE)?;
    let before = before.unwrap_or(call.now).min(call.now);
    let page = |(expired_at_ms, id): (u64, &SessionId)| Expired { id: id.clone(), expired_at_ms };
    call.reaching_all()
        .settle(|_, locked| Ok(oldest(locked, before).skip(skip).take(limit).map(page).collect()))
}

/// The sessions that expired up to a time, oldest first. Each shard has its own in order, so the next is the first of
/// one of the shards.
pub(crate) fn oldest<'l>(
    locked: &'l LockedShards<'_>,
    before: u64,
) -> impl Iterator<Item = (u64, &'l SessionId)> {
    let mut shards: Vec<_> = locked.shards().map(|shard| shard.expiry.iter()).collect();
    let firsts = shards.iter_mut().enumerate();
    let mut firsts: BinaryHeap<_> =
        firsts.filter_map(|(shard, entries)| Some(Reverse((entries.next()?, shard)))).collect();
    std::iter::from_fn(move || {
        let Reverse(((expires_at, id), shard)) = firsts.pop()?;
        if *expires_at > before {
            return None;
        }
        firsts.extend(shards[shard].next().map(|next| Reverse((next, shard))));
        Some((*expires_at, id))
    })
}
