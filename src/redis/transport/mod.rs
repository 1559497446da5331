//! Connections, and what is sent over them.

pub(crate) mod connection;
pub(crate) mod gather;
pub(crate) mod pool;
pub(crate) mod read_batcher;
