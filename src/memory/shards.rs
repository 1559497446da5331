//! The shards, and which of them a call locks.
//!
//! A concurrent map from a crate would serve single keys. Here a call changes a session and the indexes that lead to it
//! at one instant, so it locks several shards, always in ascending order, which keeps two calls from waiting for each
//! other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::BitOr;
use std::sync::{Arc, PoisonError};

// In the tests of `schedules` shuttle runs the threads, and tries the orders in which they may meet.
#[cfg(all(test, shuttle))]
use crate::memory::schedules::small_store::RandomState;
#[cfg(not(all(test, shuttle)))]
use ahash::RandomState;
#[cfg(all(test, shuttle))]
use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(all(test, shuttle)))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use crate::memory::index::Index;
use crate::memory::lease::Lease;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::Record;
use crate::model::SessionId;

/// How many shards there are at most: a [`Reach`] has a bit for each.
pub(crate) const MOST_SHARDS: usize = 64;

/// What goes by a name. The names may come from anybody, so they are hashed with a random key.
pub(crate) type Named<N, T> = HashMap<N, T, ahash::RandomState>;

/// All that hashes to one shard: records with their expiry, users, nodes with their leases, and connections.
#[derive(Default)]
pub(crate) struct Shard {
    pub(crate) records: Named<SessionId, Box<Record>>,
    pub(crate) users: Named<Arc<str>, Index>,
    pub(crate) nodes: Named<Arc<str>, Index>,
    pub(crate) connections: Named<Arc<str>, SessionId>,
    /// By the names of their nodes.
    pub(crate) leases: Named<Arc<str>, Lease>,
    /// By when they expire: the sessions among the records.
    pub(crate) expiry: BTreeSet<(u64, SessionId)>,
    /// By when they lapse: the moved and deleted ones among the records, and some that are no longer there.
    pub(crate) leftovers: BTreeSet<(u64, SessionId)>,
    /// By the end of their freeze: those among the records that are on their way to or from another store.
    pub(crate) migrations: BTreeSet<(u64, SessionId)>,
}

impl Shard {
    /// Keeps a record under an id, in the place of what was there.
    pub(crate) fn keep(&mut self, id: SessionId, record: Record) {
        let goes = record.on_its_way();
        let before = self.records.insert(id.clone(), Box::new(record));
        self.note(&id, before.and_then(|before| before.on_its_way()), goes);
    }

    /// Notes whether what is under an id was on its way, and is.
    pub(crate) fn note(&mut self, id: &SessionId, went: Option<u64>, goes: Option<u64>) {
        if went != goes {
            went.map(|until| self.migrations.remove(&(until, id.clone())));
            goes.map(|until| self.migrations.insert((until, id.clone())));
        }
    }
}

/// Shards, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach(u64);

impl BitOr for Reach {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Reach {
    pub(crate) fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Where the guard of a shard is among the guards of this reach.
    pub(crate) fn position(self, shard: usize) -> Option<usize> {
        let bit = 1 << shard;
        (self.0 & bit != 0).then(|| (self.0 & (bit - 1)).count_ones() as usize)
    }

    /// In ascending order.
    fn shards(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(shard)
        })
    }
}

/// The shards.
pub(crate) struct Shards {
    each: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// How many sessions there are, live and expired, and those about to be put in.
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

    /// NodeFilter shard has a session, user, connection or node.
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

    /// Locks shards.
    ///
    /// Ordering: ascending, here and nowhere else, so that no two calls wait for each other.
    pub(crate) fn lock(&self, reach: Reach) -> LockedShards<'_> {
        let mut guards = reach.shards().map(|shard| self.guard(shard));
        let (first, others) = (guards.next(), guards.collect());
        LockedShards::new(self, reach, first, others)
    }

    /// What the record of an id says, as it is now.
    pub(crate) fn read<T>(&self, id: &SessionId, answer: impl FnOnce(&Record) -> T) -> Option<T> {
        self.guard(self.shard_of(id.as_str())).records.get(id).map(|record| answer(record))
    }

    /// What expires first, each shard looked at after the other.
    pub(crate) fn first_to_expire(&self) -> Option<(u64, SessionId)> {
        (0..self.each.len()).filter_map(|shard| self.guard(shard).expiry.first().cloned()).min()
    }

    /// What expires first in the shard of a name, if it has expired.
    pub(crate) fn first_expired_near(&self, name: &str, now: u64) -> Option<SessionId> {
        let shard = self.guard(self.shard_of(name));
        shard.expiry.first().filter(|(expires_at, _)| *expires_at <= now).map(|(_, id)| id.clone())
    }

    fn guard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // Nothing between the first and the last write of a call can panic, so what a poisoned lock holds is whole.
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

    /// Gives the room of so many sessions back.
    pub(crate) fn release(&self, rooms: usize) {
        if rooms > 0 {
            self.stored.fetch_sub(rooms, Ordering::SeqCst);
        }
    }
}
