//! The data of one shard.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::memory::index::Index;
use crate::memory::lease::Lease;
use crate::memory::record::Record;
use crate::model::SessionId;

/// A map by name. Names may come from attackers, so they are hashed with a random key.
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
    /// The sessions among the records, ordered by their expiry.
    pub(crate) expiry: BTreeSet<(u64, SessionId)>,
    /// The rotated, deleted and departed ones among the records, ordered by the end of their time, and some
    /// that are no longer there.
    pub(crate) leftovers: BTreeSet<(u64, SessionId)>,
    /// The records on their way to or from another store, ordered by the end of their freeze.
    pub(crate) migrations: BTreeSet<(u64, SessionId)>,
}

impl Shard {
    /// Stores a record under an id, in the place of what was there.
    pub(crate) fn keep(&mut self, id: SessionId, record: Record) {
        let goes = record.on_its_way();
        let before = self.records.insert(id.clone(), Box::new(record));
        self.note(&id, before.and_then(|before| before.on_its_way()), goes);
    }

    /// Updates the list of migrations for an id that was or is on its way.
    pub(crate) fn note(&mut self, id: &SessionId, went: Option<u64>, goes: Option<u64>) {
        if went != goes {
            went.map(|until| self.migrations.remove(&(until, id.clone())));
            goes.map(|until| self.migrations.insert((until, id.clone())));
        }
    }
}
