//! The calls of the store under schedules that shuttle chooses.

pub(crate) mod concurrency;
pub(crate) mod frozen;
pub(crate) mod small_store;
