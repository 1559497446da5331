//! The shards that a call locks.

use std::ops::BitOr;

/// The most shards: a [`Reach`] has a bit for each.
pub(crate) const MOST_SHARDS: usize = 64;

/// A set of shards, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach(pub(crate) u64);

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

    /// The position of a shard's guard among the guards of this reach.
    pub(crate) fn position(self, shard: usize) -> Option<usize> {
        let bit = 1 << shard;
        (self.0 & bit != 0).then(|| (self.0 & (bit - 1)).count_ones() as usize)
    }

    /// The shards in ascending order.
    pub(crate) fn shards(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(shard)
        })
    }
}
