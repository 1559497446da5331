//! The traits that every store implements, and what is built on them.

pub(crate) mod call_span;
pub(crate) mod join;
pub(crate) mod modify;
pub(crate) mod session_store;
