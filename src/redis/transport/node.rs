//! A server that a store sends to: its connections, and the reads that share pipelines on them.

use std::sync::Arc;

use crate::redis::transport::address::Address;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::ReadBatcher;

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None`: the only server, wherever it is.
    pub(crate) address: Option<Address>,
    pub(crate) pool: Arc<Pool>,
    /// For what is large. Where one caller has a connection alone, the same.
    pub(crate) large: Arc<Pool>,
    pub(crate) reads: Arc<ReadBatcher>,
}

impl Node {
    pub(crate) fn new(address: Option<Address>, pool: Pool) -> Self {
        let pool = Arc::new(pool);
        Self { address, large: pool.for_large(), pool, reads: Arc::default() }
    }
}
