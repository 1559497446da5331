//! The shards that a call holds, and everything that it does to them; `lua/lib/session.lua` in memory.
//!
//! A record goes in and comes out with all its index entries, so neither is ever without the other.

use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use crate::memory::halt::{Halt, departed, left, missing};
use crate::memory::index::{Entry, Index};
use crate::memory::lease::Lease;
use crate::memory::reach::Reach;
use crate::memory::record::{Kind, Record};
use crate::memory::shard::{Named, Shard};
use crate::memory::shards::Shards;
use crate::memory::sync::MutexGuard;
use crate::model::{Selector, SessionId};

/// How many lapsed leftovers a new one removes: more than one, so that they do not pile up.
const SWEPT: usize = 2;

const ASKS_FIRST: &str = "a call asks for what it touches before it touches it";

/// The shards that a call holds.
pub(crate) struct LockedShards<'a> {
    shards: &'a Shards,
    reach: Reach,
    now: u64,
    /// In the order of the shards' numbers. Most calls hold one, which takes no allocation.
    first: Option<MutexGuard<'a, Shard>>,
    others: Vec<MutexGuard<'a, Shard>>,
    /// How many sessions the call may insert: as many as it took out and reserved.
    rooms: usize,
}

impl Drop for LockedShards<'_> {
    fn drop(&mut self) {
        self.shards.release(self.rooms);
    }
}

impl<'a> LockedShards<'a> {
    /// Locks shards, for a call at this time.
    ///
    /// Ordering: ascending, here and nowhere else, so that no two calls wait for each other.
    pub(crate) fn lock(shards: &'a Shards, reach: Reach, now: u64) -> Self {
        let mut guards = reach.shards().map(|shard| shards.guard(shard));
        let (first, others) = (guards.next(), guards.collect());
        Self { shards, reach, now, first, others, rooms: 0 }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.first.iter().chain(&self.others).map(|guard| &**guard)
    }

    /// Makes sure that the call has locked what it is about to touch, or lets it start over with that.
    pub(crate) fn need<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<(), Halt> {
        let wanted = names.into_iter().filter(|name| !name.is_empty()).map(|name| self.shards.reach(name));
        let wanted = wanted.fold(Reach::default(), |one, other| one | other);
        if self.reach.covers(wanted) { Ok(()) } else { Err(Halt::Need(wanted)) }
    }

    /// Makes sure that all entries of a session are locked.
    pub(crate) fn need_session(&self, id: &SessionId, record: &Record) -> Result<(), Halt> {
        self.need([id.as_str(), record.user.as_str(), record.connection.as_str(), record.node.as_str()])
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.reach.position(self.shards.shard_of(name))
    }

    fn shard(&self, name: &str) -> &Shard {
        let guard = match self.position(name) {
            Some(0) => self.first.as_ref(),
            position => position.and_then(|position| self.others.get(position - 1)),
        };
        guard.expect(ASKS_FIRST)
    }

    fn shard_mut(&mut self, name: &str) -> &mut Shard {
        let guard = match self.position(name) {
            Some(0) => self.first.as_mut(),
            position => position.and_then(|position| self.others.get_mut(position - 1)),
        };
        guard.expect(ASKS_FIRST)
    }

    /// The record under an id. A leftover that no longer counts is absent.
    pub(crate) fn record(&self, id: &SessionId, now: u64) -> Option<&Record> {
        let record = self.shard(id.as_str()).records.get(id)?;
        (!record.is_silent(now)).then_some(record)
    }

    /// The live session with an id, or how the call goes on without it.
    pub(crate) fn live(&self, id: &SessionId, now: u64) -> Result<&Record, Halt> {
        self.need([id.as_str()])?;
        let record = self.record(id, now).ok_or_else(missing)?;
        match &record.kind {
            Kind::Live if record.expires_at > now => Ok(record),
            Kind::Rotated(to) => Err(Halt::Rotated(to.clone())),
            Kind::Departed(departure) => Err(departed(departure)),
            Kind::Deleted(Some(_)) => Err(left()),
            Kind::Live | Kind::Deleted(None) => Err(missing()),
        }
    }

    /// The other live session that has a connection. An expired one must be reaped first.
    pub(crate) fn holder(
        &self,
        connection: &str,
        id: &SessionId,
        now: u64,
    ) -> Result<Option<SessionId>, Halt> {
        self.need([connection])?;
        let Some(holder) = self.pointer(connection).filter(|holder| *holder != id) else {
            return Ok(None);
        };
        self.need([holder.as_str()])?;
        match self.record(holder, now) {
            Some(record) if record.expires_at > now => Ok(Some(holder.clone())),
            Some(_) => Err(Halt::Reap(holder.clone())),
            None => Ok(None),
        }
    }

    /// The session that has a connection.
    pub(crate) fn pointer(&self, connection: &str) -> Option<&SessionId> {
        self.shard(connection).connections.get(connection)
    }

    /// The index of a user or node.
    pub(crate) fn index(&self, of: &Selector) -> Option<&Index> {
        match of.words() {
            ("user", user) => self.shard(user).users.get(user),
            (_, node) => self.shard(node).nodes.get(node),
        }
    }

    /// The lease of a node, held or not.
    pub(crate) fn lease(&self, node: &str) -> Option<&Lease> {
        self.shard(node).leases.get(node)
    }

    pub(crate) fn set_lease(&mut self, lease: Lease) {
        let node = lease.identity.node();
        self.shard_mut(node).leases.insert(node.into(), lease.clone());
    }

    pub(crate) fn forget_lease(&mut self, node: &str) {
        self.shard_mut(node).leases.remove(node);
    }

    /// Forgets, in all held shards, the nodes that were listed for as long as each wanted.
    pub(crate) fn forget_nodes(&mut self, now: u64) {
        for shard in self.first.iter_mut().chain(&mut self.others) {
            shard.leases.retain(|_, lease| lease.kept_until > now);
        }
    }

    /// Makes room for one more session, if there are fewer than `most`.
    pub(crate) fn reserve(&mut self, most: usize) -> bool {
        let reserved = self.shards.reserve(most);
        self.rooms += usize::from(reserved);
        reserved
    }

    /// Inserts a session with its index entries. There must be room for it, and no session with this id.
    pub(crate) fn put(&mut self, id: SessionId, mut record: Record) {
        self.rooms -= 1;
        // If a copy of an earlier session here may wait elsewhere, it is removed once its migration finds
        // this one.
        if let Some(leftover) = self.shard(id.as_str()).records.get(&id)
            && leftover.copies_until > self.now
        {
            record.copies_until = record.copies_until.max(leftover.copies_until);
            record.stored_until = record.stored_until.max(record.copies_until);
        }
        let entry = (record.created_at, id.clone());
        if let Some(user) = record.user.get() {
            index_into(&mut self.shard_mut(user).users, user, entry.clone());
        }
        if let Some(node) = record.node.get() {
            index_into(&mut self.shard_mut(node).nodes, node, entry);
        }
        if let Some(connection) = record.connection.get() {
            self.shard_mut(connection).connections.insert(connection.clone(), id.clone());
        }
        let shard = self.shard_mut(id.as_str());
        shard.expiry.insert((record.expires_at, id.clone()));
        shard.keep(id, record);
    }

    /// Takes a session out, with its index entries.
    pub(crate) fn take(&mut self, id: &SessionId) -> Record {
        self.rooms += 1;
        let shard = self.shard_mut(id.as_str());
        let record = shard.records.remove(id).expect("a call takes what it found");
        shard.note(id, record.on_its_way(), None);
        let (_, id) = shard.expiry.take(&(record.expires_at, id.clone())).expect("each session is in it");
        let entry = (record.created_at, id);
        if let Some(user) = record.user.get() {
            index_out_of(&mut self.shard_mut(user).users, user, &entry);
        }
        if let Some(node) = record.node.get() {
            index_out_of(&mut self.shard_mut(node).nodes, node, &entry);
        }
        if let Some(connection) = record.connection.get() {
            self.shard_mut(connection).connections.remove(connection);
        }
        let mut record = *record;
        record.settle(self.now);
        record
    }

    /// Takes a session out for good, and leaves a trace if a copy may wait elsewhere.
    pub(crate) fn discard(&mut self, id: &SessionId) -> Record {
        let record = self.take(id);
        if let Some(word) = record.word(self.now) {
            self.leave(id.clone(), word);
        }
        record
    }

    /// Changes a session in place: everything except its user, connection, node and time of creation.
    pub(crate) fn edit(&mut self, id: &SessionId, change: impl FnOnce(&mut Record)) -> &Record {
        let now = self.now;
        let shard = self.shard_mut(id.as_str());
        let record = shard.records.get_mut(id).expect("a call changes what it found");
        let (before, went) = (record.expires_at, record.on_its_way());
        record.settle(now);
        change(record);
        let (expires_at, goes) = (record.expires_at, record.on_its_way());
        if expires_at != before {
            let (_, id) = shard.expiry.take(&(before, id.clone())).expect("each session is in it");
            shard.expiry.insert((expires_at, id));
        }
        shard.note(id, went, goes);
        &shard.records[id]
    }

    /// Stores a leftover under an id whose session was taken out, and removes some leftovers whose time is
    /// over.
    pub(crate) fn leave(&mut self, id: SessionId, leftover: Record) {
        let now = self.now;
        let shard = self.shard_mut(id.as_str());
        for _ in 0..SWEPT {
            if shard.leftovers.first().is_none_or(|(until, _)| *until > now) {
                break;
            }
            if let Some((until, id)) = shard.leftovers.pop_first()
                && shard.records.get(&id).is_some_and(|it| !it.is_session() && it.stored_until == until)
            {
                let lapsed = shard.records.remove(&id);
                shard.note(&id, lapsed.and_then(|record| record.on_its_way()), None);
            }
        }
        shard.leftovers.insert((leftover.stored_until, id.clone()));
        shard.keep(id, leftover);
    }
}

fn index_into(indexes: &mut Named<Arc<str>, Index>, owner: &Arc<str>, entry: Entry) {
    match indexes.entry(owner.clone()) {
        MapEntry::Occupied(mut index) => index.get_mut().insert(entry),
        MapEntry::Vacant(place) => drop(place.insert(Index::One(entry))),
    }
}

fn index_out_of(indexes: &mut Named<Arc<str>, Index>, owner: &Arc<str>, entry: &Entry) {
    if indexes.get_mut(owner).is_some_and(|index| index.remove(entry)) {
        indexes.remove(owner);
    }
}
