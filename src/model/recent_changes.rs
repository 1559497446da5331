//! The operation ids of a session's last changes.

/// The ids of the last four changes, newest first; zeros where there were fewer.
pub(crate) type RecentChanges = [[u8; 8]; 4];
