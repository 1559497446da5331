//! TODO

pub(crate) mod lease;
pub(crate) mod recoverer;
