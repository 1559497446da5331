//! The stored form of a node's lease, as `lua/lib/lease.lua` writes it.

/// A lease, without its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) deadline: u64,
    /// Its length when it was renewed.
    pub(crate) length: u64,
}

impl Lease {
    /// Reads a lease: its id, deadline and length. `None` if it is not a lease of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([_id, deadline, length], []) = bytes.as_chunks::<8>() else { return None };
        Some(Self { deadline: u64::from_be_bytes(*deadline), length: u64::from_be_bytes(*length) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_and_nothing_else_is() {
        let bytes = [[9; 8], 7_u64.to_be_bytes(), 1_500_u64.to_be_bytes()].concat();
        assert_eq!(Lease::decode(&bytes), Some(Lease { deadline: 7, length: 1_500 }));
        for other in [&bytes[..23], &[&bytes[..], b"x"].concat(), b""] {
            assert_eq!(Lease::decode(other), None);
        }
    }
}
