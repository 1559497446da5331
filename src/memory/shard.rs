//! What lies in one shard.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::memory::index::Index;
use crate::memory::lease::Lease;
use crate::memory::record::Record;
use crate::model::SessionId;

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
