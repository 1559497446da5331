//! The stored data, in the form of Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::memory::call::Memory;
use crate::memory::index::Entry;
use crate::memory::locked_shards::LockedShards;
use crate::memory::record::{Kind, Record};
use crate::memory::shard::Shard;
use crate::memory::store::MemoryStore;
use crate::model::{Direction, Freeze, Result, Status, count_entries};
use crate::stored::keys::Keys;

/// A value that a store in memory keeps under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// A record, the session id of a connection, or the lease of a node.
    String(Vec<u8>),
    /// Session ids or nodes with their scores, ordered by score.
    SortedSet(Vec<(String, u64)>),
}

impl MemoryStore {
    /// Returns all stored data at one instant, under the names and in the form that Redis has for a namespace. Use it
    /// to look at the data in a test. It locks the whole store while it copies.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a namespace that a Redis store would refuse.
    pub fn snapshot(&self, namespace: &str) -> Result<BTreeMap<String, Stored>> {
        let keys = Keys::new(namespace)?;
        Ok(take(&self.memory, &keys))
    }
}

/// All stored data at one instant, under the same keys as in Redis.
pub(crate) fn take(memory: &Memory, keys: &Keys) -> BTreeMap<String, Stored> {
    let now = crate::model::now_ms(memory.clock.as_ref());
    let locked = LockedShards::lock(&memory.shards, memory.shards.whole(), now);
    let mut snapshot = BTreeMap::new();
    let (mut expiry, mut migrations) = (Vec::new(), Vec::new());
    for shard in locked.shards() {
        add(&mut snapshot, keys, shard, now);
        expiry.extend(scores(&shard.expiry));
        migrations.extend(scores(&shard.migrations));
    }
    let leases = locked.shards().flat_map(|shard| &shard.leases);
    let name = |node: &Arc<str>| node.as_ref().to_owned();
    let times = leases.map(|(node, lease)| ((name(node), lease.deadline), (name(node), lease.kept_until)));
    let (nodes, kept) = times.unzip();
    for (key, mut entries) in
        [(keys.expiry(), expiry), (keys.migrations(), migrations), (keys.nodes(), nodes), (keys.kept(), kept)]
    {
        entries.sort_by(|(one, at), (other, then)| (at, one).cmp(&(then, other)));
        if !entries.is_empty() {
            snapshot.insert(text(key), Stored::SortedSet(entries));
        }
    }
    snapshot
}

fn add(snapshot: &mut BTreeMap<String, Stored>, keys: &Keys, shard: &Shard, now: u64) {
    for (id, record) in shard.records.iter().filter(|(_, record)| !record.has_lapsed(now)) {
        snapshot.insert(text(keys.session(id.as_str())), Stored::String(encode(record)));
    }
    for (connection, id) in &shard.connections {
        snapshot.insert(text(keys.connection(connection.as_bytes())), Stored::String(id.as_str().into()));
    }
    for (user, index) in &shard.users {
        snapshot.insert(text(keys.user(user.as_bytes())), Stored::SortedSet(scores(index.iter())));
    }
    for (node, index) in &shard.nodes {
        snapshot.insert(text(keys.node(node.as_bytes())), Stored::SortedSet(scores(index.iter())));
    }
    for (node, lease) in &shard.leases {
        let numbers = [lease.deadline, lease.length].map(u64::to_be_bytes);
        let bytes = [*lease.identity.lease(), numbers[0], numbers[1]].concat();
        snapshot.insert(text(keys.lease(node.as_bytes())), Stored::String(bytes));
    }
}

/// Names are valid text here, so keys are too.
fn text(key: Vec<u8>) -> String {
    String::from_utf8_lossy(&key).into_owned()
}

fn scores<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<(String, u64)> {
    entries.into_iter().map(|(score, id)| (id.as_str().to_owned(), *score)).collect()
}

/// A record as Redis has it if its changes were made a moment ago. docs/internals.md has the layout.
fn encode(record: &Record) -> Vec<u8> {
    let (kind, rest): (u8, &[u8]) = match &record.kind {
        Kind::Live => (1, &record.body),
        Kind::Rotated(to) => (2, to.as_str().as_bytes()),
        Kind::Deleted(to) => (3, to.as_ref().map_or(b"", |to| to.as_str().as_bytes())),
        Kind::Departed(departure) => (4, departure.place.as_bytes()),
    };
    let entries = if record.is_session() { rest } else { &[] };
    let mut body = match (&record.kind, &record.freeze) {
        (Kind::Departed(departure), _) => departure.task.map_or([0; 8], |task| *task.as_bytes()).to_vec(),
        (_, _) => Vec::new(),
    };
    body.extend(rest);
    let block = encode_block(record);
    let status = number_of(if block.is_empty() { record.status } else { Status::Migrating });
    body.splice(0..0, block);
    let names = [&record.user, &record.connection, &record.node].map(|name| name.as_str().as_bytes());
    let mut bytes = vec![2, kind, status];
    // Names and bodies are checked against limits that fit.
    names.iter().for_each(|name| bytes.extend((name.len() as u16).to_be_bytes()));
    bytes.extend(&(entries.len() as u32).to_be_bytes()[1..]);
    bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
    bytes.extend(u16::try_from(count_entries(entries)).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(record.changes.ids.concat());
    bytes.extend(&record.changes.newest_at.to_be_bytes()[2..]);
    record.changes.gaps.iter().for_each(|gap| bytes.extend(gap.to_be_bytes()));
    let Record { version, created_at, ttl, deadline, last_active, expires_at, stored_until, .. } = *record;
    bytes.extend([version, created_at].map(u64::to_be_bytes).iter().flat_map(|number| &number[2..]));
    bytes.extend(&ttl.to_be_bytes()[3..]);
    for time in [deadline, last_active, expires_at, stored_until] {
        bytes.extend(&time.to_be_bytes()[2..]);
    }
    names.iter().for_each(|name| bytes.extend(*name));
    bytes.extend(body);
    bytes
}

fn number_of(status: Status) -> u8 {
    match status {
        Status::Active => 1,
        Status::Suspended => 2,
        Status::Migrating => 3,
    }
}

/// The block that the body of a migrating record begins with: its freeze, or the note that copies made under one
/// may wait.
fn encode_block(record: &Record) -> Vec<u8> {
    let (task, times, status, direction, place, node) = match record.freeze.as_deref() {
        Some(Freeze { task, until, span, status, direction, place, node }) => {
            let direction = match direction {
                Direction::Outgoing => 1,
                Direction::Incoming => 2,
            };
            (*task.as_bytes(), [*until, *span], *status, direction, place.as_str(), node.as_str())
        }
        None if record.copies_until == 0 => return Vec::new(),
        None => {
            let speaks_until = if record.is_session() { 0 } else { record.speaks_until };
            ([0; 8], [speaks_until, 0], record.status, 3, "", "")
        }
    };
    let mut block = task.to_vec();
    for time in [times[0], times[1], record.copies_until] {
        block.extend(&time.to_be_bytes()[2..]);
    }
    block.extend([number_of(status), direction]);
    [place, node].iter().for_each(|name| block.extend((name.len() as u16).to_be_bytes()));
    [place, node].iter().for_each(|name| block.extend(name.as_bytes()));
    block
}
