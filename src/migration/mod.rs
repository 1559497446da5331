//! Sessions moved between two stores, in number, and handed over to another node of one.

pub(crate) mod builder;
pub(crate) mod drain;
pub(crate) mod lanes;
pub(crate) mod manager;
pub(crate) mod reassign;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod task;
pub(crate) mod transfer;
