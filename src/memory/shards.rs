//! The shards, and which of them a call locks.
//!
//! A concurrent map from a crate would lock single keys. Here a call changes a session and its indexes at one instant,
//! so it locks several shards. It locks them in ascending order, so that two calls never wait for each other.

use std::fmt;
use std::sync::PoisonError;

use crate::memory::reach::{MOST_SHARDS, Reach};
use crate::memory::record::Record;
use crate::memory::shard::Shard;
use crate::memory::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, RandomState};
use crate::model::SessionId;

/// The shards.
pub(crate) struct Shards {
    each: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// How many sessions there are, live and expired, including those about to be inserted.
    stored: AtomicUsize,
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("shards", &self.each.len()).finish_non_exhaustive()
    }
}

impl Shards {
    pub(crate) fn new(shards: usize) -> Self {
        assert!((1..=MOST_SHARDS).contains(&shards), "a reach has a bit for each shard");
        Self {
            each: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            stored: AtomicUsize::new(0),
        }
    }

    /// The shard of a session, user, connection or node.
    pub(crate) fn shard_of(&self, name: &str) -> usize {
        // The remainder is below 64, so the cast loses nothing.
        (self.hasher.hash_one(name) % self.each.len() as u64) as usize
    }

    pub(crate) fn reach(&self, name: &str) -> Reach {
        Reach(1 << self.shard_of(name))
    }

    pub(crate) fn whole(&self) -> Reach {
        Reach(u64::MAX >> (MOST_SHARDS - self.each.len()))
    }

    /// Looks at the record of an id.
    pub(crate) fn read<T>(&self, id: &SessionId, answer: impl FnOnce(&Record) -> T) -> Option<T> {
        self.guard(self.shard_of(id.as_str())).records.get(id).map(|record| answer(record))
    }

    /// The session that expires first; it looks at one shard after the other.
    pub(crate) fn first_to_expire(&self) -> Option<(u64, SessionId)> {
        (0..self.each.len()).filter_map(|shard| self.guard(shard).expiry.first().cloned()).min()
    }

    /// The session that expires first in the shard of a name, if it has expired.
    pub(crate) fn first_expired_near(&self, name: &str, now: u64) -> Option<SessionId> {
        let shard = self.guard(self.shard_of(name));
        shard.expiry.first().filter(|(expires_at, _)| *expires_at <= now).map(|(_, id)| id.clone())
    }

    /// Locks one.
    pub(crate) fn guard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // Nothing between the first and the last write of a call can panic, so the data under a poisoned lock is
        // whole.
        self.each[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stored(&self) -> usize {
        self.stored.load(Ordering::SeqCst)
    }

    /// Makes room for one more session, if there are fewer than `most`.
    pub(crate) fn reserve(&self, most: usize) -> bool {
        let add = |stored| (stored < most).then_some(stored + 1);
        self.stored.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
    }

    /// Gives back the room of this many sessions.
    pub(crate) fn release(&self, rooms: usize) {
        if rooms > 0 {
            self.stored.fetch_sub(rooms, Ordering::SeqCst);
        }
    }
}
