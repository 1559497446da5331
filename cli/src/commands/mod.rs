//! The commands, one file each.

pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod import;
pub(crate) mod kick;
pub(crate) mod list;
pub(crate) mod migrate;
pub(crate) mod repair;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod users;
pub(crate) mod verify;
pub(crate) mod watch;
