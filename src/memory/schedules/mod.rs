//! The calls of the store under schedules that shuttle chooses.

mod concurrency;
mod frozen;
pub(crate) mod small_store;
