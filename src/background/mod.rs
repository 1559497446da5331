//! TODO

pub(crate) mod reaper;
pub(crate) mod shutdown;
