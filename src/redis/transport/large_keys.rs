//! Which keys were found to hold much: such a read goes alone, on a connection that nothing else is sent on meanwhile.
//!
//! The replies to a pipeline are handed out when the last is here, and replies on a connection come one after another. So one
//! reply of 4 MiB holds up all that share either with it.

use std::sync::atomic::{AtomicU64, Ordering};

/// From so many bytes on a reply takes longer than a round trip.
const LARGE: usize = 64 * 1024;

/// For so many keys it is known. Two that share a place push each other out, which costs time, no more.
const PLACES: usize = 4096;

/// Keys whose values were large when they were read last, by their hashes.
#[derive(Debug)]
pub(crate) struct LargeKeys {
    hasher: ahash::RandomState,
    places: Box<[AtomicU64]>,
}

impl Default for LargeKeys {
    fn default() -> Self {
        Self { hasher: ahash::RandomState::new(), places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl LargeKeys {
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        self.place(hash).load(Ordering::Relaxed) == hash
    }

    /// A value of so many bytes was read.
    pub(crate) fn saw(&self, key: &[u8], bytes: usize) {
        let hash = self.hasher.hash_one(key);
        let place = self.place(hash);
        if bytes >= LARGE {
            place.store(hash, Ordering::Relaxed);
        } else if place.load(Ordering::Relaxed) == hash {
            place.store(0, Ordering::Relaxed);
        }
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_large_from_when_it_was_read_as_such_until_it_is_read_as_small() {
        let keys = LargeKeys::default();
        keys.saw(b"a", LARGE);
        keys.saw(b"b", LARGE - 1);
        assert!(keys.has(b"a") && !keys.has(b"b"));
        keys.saw(b"a", 0);
        assert!(!keys.has(b"a"));
    }
}
