//! Counts of things, in words.

/// A number of things, with the word for one and for several.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
