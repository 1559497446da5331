//! The sessions of a user or node, by their time of creation.

use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;

use crate::model::SessionId;

/// A session and its time of creation.
pub(crate) type Entry = (u64, SessionId);

/// The sessions of a user or node, by their time of creation: at least one. Most users have no more, and a set would
/// allocate room for eleven.
#[derive(Debug)]
pub(crate) enum Index {
    One(Entry),
    Many(BTreeSet<Entry>),
}

impl Index {
    pub(crate) fn insert(&mut self, entry: Entry) {
        match self {
            Self::One(one) => *self = Self::Many([one.clone(), entry].into()),
            Self::Many(entries) => drop(entries.insert(entry)),
        }
    }

    /// Removes an entry, and returns whether none is left.
    pub(crate) fn remove(&mut self, entry: &Entry) -> bool {
        match self {
            Self::One(one) => one == entry,
            Self::Many(entries) => {
                entries.remove(entry);
                entries.is_empty()
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(entries) => entries.len(),
        }
    }

    /// When the newest session was created.
    pub(crate) fn newest(&self) -> u64 {
        match self {
            Self::One((created_at, _)) => *created_at,
            Self::Many(entries) => entries.last().map_or(0, |(created_at, _)| *created_at),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.after(None)
    }

    /// The entries behind one, or all.
    pub(crate) fn after(&self, last: Option<&Entry>) -> impl Iterator<Item = &Entry> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let (one, many): (_, Option<btree_set::Range<'_, Entry>>) = match self {
            Self::One(one) => (Some(one).filter(|one| last.is_none_or(|last| *one > last)), None),
            Self::Many(entries) => (None, Some(entries.range((start, Bound::Unbounded)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
