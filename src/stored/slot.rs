//! The slots of a cluster: each key is in one, by the part of it in braces.

use crc::{CRC_16_XMODEM, Crc};

/// How many there are.
pub(crate) const SLOTS: u16 = 16384;

/// The checksum by which Redis Cluster finds the slot of a key.
pub(crate) static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// Hashes the text between the first brace and the next closing one, if there is any; otherwise the whole
    /// key.
    pub(crate) fn of_key(key: &[u8]) -> Self {
        let tag = || {
            let open = key.iter().position(|byte| *byte == b'{')?;
            let size = key[open + 1..].iter().position(|byte| *byte == b'}')?;
            (size > 0).then(|| &key[open + 1..open + 1 + size])
        };
        Self(CRC.checksum(tag().unwrap_or(key)) % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_slot_that_the_cluster_finds() {
        // As CLUSTER KEYSLOT answers.
        for (key, slot) in
            [("foo", 12182), ("{foo}bar", 12182), ("x{foo}{bar}", 12182), ("{}foo", 9500), ("{foo", 13308)]
        {
            assert_eq!(Slot::of_key(key.as_bytes()), Slot(slot), "{key}");
        }
    }
}
