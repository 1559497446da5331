//! What a session holds.

/// Five attributes, whose names and JSON values take so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) bytes: usize,
}

/// The attribute that a patch changes, and one that takes what is left of the bytes.
pub(crate) const PATCHED: &str = "theme";
const VARIABLE: &str = "cart";
const FIXED: [(&str, usize); 4] = [("name", 24), (PATCHED, 8), ("locale", 5), ("csrf", 64)];

impl Payload {
    pub(crate) const SMALL: Self = Self { bytes: 300 };
    pub(crate) const LARGE: Self = Self { bytes: 8192 };
    /// That of the goal for memory.
    pub(crate) const WEIGHED: Self = Self { bytes: 349 };

    /// Names and values.
    pub(crate) fn attributes(self) -> Vec<(&'static str, String)> {
        let mut attributes = FIXED.map(|(name, length)| (name, "x".repeat(length))).to_vec();
        let taken: usize = attributes.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let rest = self.bytes - taken - VARIABLE.len() - 2;
        attributes.push((VARIABLE, "x".repeat(rest)));
        attributes
    }

    pub(crate) fn name(self) -> String {
        if self.bytes.is_multiple_of(1024) {
            format!("{} KiB", self.bytes / 1024)
        } else {
            format!("{} bytes", self.bytes)
        }
    }
}

/// Another value for the attribute that a patch changes, as long as the one before.
pub(crate) fn patched() -> String {
    format!("{:08x}", fastrand::u32(..))
}
